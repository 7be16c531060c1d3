"""Attempts until an imperfect verifier accepts one: the share of correct submissions over k, and the best k.

An attempt at a task is correct with probability p; the verifier accepts a correct one with probability `tpr` and a
wrong one with `fpr`. Up to k attempts are made, the first that is accepted is handed in. Then, with
`a = p tpr + (1 - p) fpr`:

    accepted within k    1 - (1 - a)^k              attempts made    (1 - (1 - a)^k) / a
    correct if accepted  p tpr / a

The average over tasks of different p has a turning point: easy tasks are accepted early, and further attempts add
hard tasks, where most of what is accepted is wrong. If a wrong submission costs anything, the best k is finite
("Inference Scaling fLaws", arXiv 2411.17501). This module computes the average at each k, and that k.

When it is wrong: p, tpr and fpr are taken as known and attempts as independent. With p = c/n from few attempts, a task
that was not solved by chance has p = 0: pass the distribution that was fitted to the counts instead, its points as `p`
and their mass as `weights`. Where the verifier is worse on some tasks than on others, pass one `fpr` for each.
With tests as the verifier, 7.8 % of the patches that pass fail the developers' whole suite
(arXiv 2503.15223).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from monkeys.science.selection.rules import SelectionError

__all__ = ["Stopping", "Verified", "best_stop", "verified", "verifier_rates"]

FloatArray: TypeAlias = NDArray[np.float64]

_CELLS = 2**21  # numbers held at once


@dataclass(frozen=True)
class Verified:
    """The outcome at each k, as shares of the tasks: correct, wrong and nothing add up to 1."""

    ks: tuple[int, ...]
    correct: tuple[float, ...]
    wrong: tuple[float, ...]
    """False positives: accepted, and wrong."""
    nothing: tuple[float, ...]
    attempts: tuple[float, ...]
    """Attempts made on a task, on average."""


@dataclass(frozen=True)
class Stopping:
    """The best k and its worth."""

    k: int
    """0 where it is best to make no attempt."""
    worth: float
    """Correct minus `wrong_costs` times wrong minus `attempt_costs` times attempts, a task."""
    at_limit: bool
    """Whether the best k is the largest one considered, so that a larger one may be better."""


def verified(
    p: ArrayLike, ks: ArrayLike, *, fpr: ArrayLike, tpr: ArrayLike = 1.0, weights: ArrayLike | None = None
) -> Verified:
    """The outcome of up to k attempts on each task with this verifier.

    Args:
        p: probability that an attempt is correct, shape (tasks,); in [0, 1].
        ks: whole numbers from 0.
        fpr, tpr: probabilities that the verifier accepts a wrong and a correct attempt, for all tasks or for each.
        weights: the mass of each p, where they are points of a distribution; all alike when left out.

    Raises:
        SelectionError: a probability outside of [0, 1], no tasks, weights that are no mass.
    """
    share, mass = _distribution(p, weights)
    accept, right = _rates(share, fpr, tpr)
    k = np.atleast_1d(np.asarray(ks, dtype=np.float64))
    if k.ndim != 1 or not k.size or not ((k >= 0) & (np.floor(k) == k) & (k < np.inf)).all():
        raise SelectionError("ks must be whole numbers from 0: leave the others out")
    precision = np.divide(right, accept, out=np.zeros_like(accept), where=accept > 0)
    reached, correct, tries = _reached(accept, k, mass, mass * precision)
    return Verified(
        ks=tuple(int(one) for one in k),
        correct=tuple(correct.tolist()),
        wrong=tuple(np.maximum(reached - correct, 0.0).tolist()),
        nothing=tuple((1 - reached).tolist()),
        attempts=tuple(tries.tolist()),
    )


def best_stop(
    p: ArrayLike,
    *,
    fpr: ArrayLike,
    tpr: ArrayLike = 1.0,
    wrong_costs: float = 1.0,
    attempt_costs: float = 0.0,
    weights: ArrayLike | None = None,
    largest: int = 10_000,
) -> Stopping:
    """The k from 0 to `largest` with the greatest worth: correct - `wrong_costs` wrong - `attempt_costs` attempts.

    It is the smallest such k. All k are considered, for the worth may have several maxima. Costs are in units of the
    worth of a correct submission. With both costs 0, more attempts never hurt.

    Raises:
        SelectionError: as `verified`; costs below 0; `largest` < 1.
    """
    if not (0 <= wrong_costs < np.inf and 0 <= attempt_costs < np.inf) or largest < 1:
        raise SelectionError("costs start at 0 and the largest k at 1: give such ones")
    found = verified(p, np.arange(largest + 1), fpr=fpr, tpr=tpr, weights=weights)
    worth = np.array(found.correct) - wrong_costs * np.array(found.wrong) - attempt_costs * np.array(found.attempts)
    best = int(np.argmax(worth >= worth.max() - 1e-15))
    return Stopping(best, float(worth[best]), best == largest)


def verifier_rates(accepted: ArrayLike, correct: ArrayLike) -> tuple[float, float]:
    """A verifier's (true-positive, false-positive) rates from attempts whose verdict is known; NaN where none is there.

    Raises:
        SelectionError: the two are not equally long.
    """
    said, known = np.asarray(accepted, dtype=np.bool_), np.asarray(correct, dtype=np.bool_)
    if said.shape != known.shape:
        raise SelectionError(f"accepted has shape {said.shape} and correct {known.shape}: one of each per attempt")

    def rate(of: Any) -> float:
        return float(said[of].mean()) if of.any() else float("nan")

    return rate(known), rate(~known)


def _distribution(p: ArrayLike, weights: ArrayLike | None) -> tuple[FloatArray, FloatArray]:
    share = np.atleast_1d(np.asarray(p, dtype=np.float64))
    if share.ndim != 1 or not share.size or not ((share >= 0) & (share <= 1)).all():
        raise SelectionError("p must be probabilities in [0, 1], one for each task: divide per cents by 100")
    mass = np.ones_like(share) if weights is None else np.asarray(weights, dtype=np.float64)
    if mass.shape != share.shape or not ((mass >= 0) & (mass < np.inf)).all() or not mass.sum() > 0:
        raise SelectionError("weights must be one mass from 0 for each p, not all of them 0")
    return share, mass / mass.sum()


def _rates(share: FloatArray, fpr: ArrayLike, tpr: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """The probabilities that an attempt is accepted, and that it is accepted and right."""
    wrong, right = np.asarray(fpr, dtype=np.float64), np.asarray(tpr, dtype=np.float64)
    for name, rate in (("fpr", wrong), ("tpr", right)):
        if rate.shape not in ((), share.shape) or not ((rate >= 0) & (rate <= 1)).all():
            raise SelectionError(f"{name} must be a rate in [0, 1], or one for each p; divide per cents by 100")
    return share * right + (1 - share) * wrong, share * right


def _reached(accept: FloatArray, ks: FloatArray, mass: FloatArray, right: FloatArray) -> FloatArray:
    """At each k the mass that is accepted, the part of it that is correct, and the attempts made; three rows."""
    never = accept == 0
    log = np.log1p(-np.where(accept < 1, accept, 0.0))
    found = np.empty((3, ks.size))
    rows = max(1, _CELLS // accept.size)
    for start in range(0, ks.size, rows):
        part = slice(start, start + rows)
        k = ks[part, None]
        within = np.where(accept < 1, -np.expm1(k * log), k > 0)
        found[0, part], found[1, part] = within @ mass, within @ right
        found[2, part] = np.where(never, k, within / np.where(never, 1.0, accept)) @ mass
    return found
