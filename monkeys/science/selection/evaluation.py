"""Evaluation of rules over the number of candidates, beside coverage, as the Monkeys paper measures it.

For each k, `subsets` times, k of each task's candidates are drawn without replacement, the rule chooses one, and the
share of tasks with a correct choice is noted: its mean over the subsets and its standard deviation are what the paper
draws (arXiv 2407.21787, 100 subsets). Guarantees:

- Ties of a rule count by their probability and are not drawn, so that the deviation is that of the subsets alone.
- The same seed gives the same subsets for every rule; a subset of k is a part of that of the next k.
- Coverage at k is the unbiased pass@k of all candidates; `Evaluation.gap` is how far a rule stays below it.

The deviation is no interval over tasks. It is the spread of drawing subsets of one fixed sample: it is 0 at k = n, and
says nothing of other tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from monkeys.science.coverage import default_ks, pass_at_k
from monkeys.science.selection.rules import Candidates, Plurality, Rule, SelectionError

__all__ = ["Evaluation", "RuleCurve", "Share", "evaluate", "share_of_correct"]


@dataclass(frozen=True)
class RuleCurve:
    """The share of tasks on which a rule's choice is correct, at each k: mean and standard deviation over subsets."""

    rule: str
    mean: tuple[float, ...]
    deviation: tuple[float, ...]


@dataclass(frozen=True)
class Evaluation:
    """Rules beside coverage; what `evaluate` returns. All sequences run in parallel with `ks`."""

    ks: tuple[int, ...]
    coverage: tuple[float, ...]
    """The share of tasks that an oracle, a rule that knows the verdicts, would reach."""
    curves: tuple[RuleCurve, ...]
    tasks: int
    subsets: int
    seed: int

    def gap(self, curve: RuleCurve) -> tuple[float, ...]:
        """Coverage minus the rule's mean at each k: what a better rule could still gain."""
        return tuple(oracle - mean for oracle, mean in zip(self.coverage, curve.mean, strict=True))


@dataclass(frozen=True)
class Share:
    """One bar of the paper's figure: a task, its share of correct samples, and whether plurality over all finds one."""

    task: str
    share: float
    plurality: float
    """Probability that plurality over all candidates hands in a correct one: 0 or 1 but for ties and mixed classes."""


def evaluate(
    rules: Sequence[Rule],
    tasks: Sequence[Candidates],
    ks: ArrayLike | None = None,
    *,
    subsets: int = 100,
    seed: int = 0,
) -> Evaluation:
    """Evaluate rules on the same subsets of the tasks' candidates.

    Args:
        rules: the rules to evaluate.
        tasks: the candidates of each.
        ks: whole numbers from 1 to the fewest candidates of any task; the k of a coverage table when left out.
        subsets: how many subsets are drawn for each k, at least 2.
        seed: seed of the drawing, >= 0.

    Raises:
        SelectionError: nothing to evaluate, or candidates without the scores or classes that a rule needs.
        monkeys.science.coverage.CoverageError: a k below 1, or more than a task's candidates.
    """
    if not rules or not tasks:
        raise SelectionError("nothing to evaluate: give at least one rule and the candidates of at least one task")
    if subsets < 2 or seed < 0:
        raise SelectionError(f"{subsets} subsets with seed {seed}: give at least 2 subsets and a seed from 0")
    n, c = [task.n for task in tasks], [int(task.correct.sum()) for task in tasks]
    wanted = np.sort(np.atleast_1d(default_ks(min(n)) if ks is None else ks))
    coverage = [float(pass_at_k(n, c, k, names=[task.task for task in tasks]).mean()) for k in wanted]
    places = [int(k) for k in wanted]
    found = np.zeros((len(rules), len(places), subsets))
    for number, task in enumerate(tasks):
        rng = np.random.default_rng([seed, number])
        order = rng.permuted(np.broadcast_to(np.arange(task.n), (subsets, task.n)), axis=1)
        for at, k in enumerate(places):
            drawn = order[: 1 if k == task.n else subsets, :k]  # all subsets of all candidates are the same
            allowed = np.ones(drawn.shape, np.bool_)
            correct = task.correct[drawn]
            for row, rule in enumerate(rules):
                found[row, at] += (rule.weigh(task, drawn, allowed) * correct).sum(axis=1)
    found /= len(tasks)
    return Evaluation(
        ks=tuple(places),
        coverage=tuple(coverage),
        curves=tuple(
            RuleCurve(rule.name, tuple(row.mean(axis=1).tolist()), tuple(row.std(axis=1).tolist()))
            for rule, row in zip(rules, found, strict=True)
        ),
        tasks=len(tasks),
        subsets=subsets,
        seed=seed,
    )


def share_of_correct(tasks: Sequence[Candidates]) -> tuple[Share, ...]:
    """The paper's figure: each task's share of correct samples, the largest first, and whether plurality finds one.

    A task with few correct samples is solved by coverage, and not by plurality.

    Raises:
        SelectionError: no tasks, or candidates without classes.
    """
    if not tasks:
        raise SelectionError("no tasks: give the candidates of at least one")
    shares = []
    for task in tasks:
        everyone = np.arange(task.n)[None, :]
        weights = Plurality().weigh(task, everyone, np.ones(everyone.shape, np.bool_))
        chosen = weights[0] > 0  # with equal weights
        shares.append(Share(task.task, float(task.correct.mean()), float(task.correct[chosen].mean())))
    return tuple(sorted(shares, key=lambda share: -share.share))
