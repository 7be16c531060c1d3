"""The curve and the law of a set of counts, by the estimator that holds for how its attempts came about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from monkeys.formats.counts import Counts, CountsError
from monkeys.formats.counts.records import DEPENDENT
from monkeys.science.coverage import Curve, coverage_curve, pass_at_k_stopped, stopped_curve
from monkeys.science.scaling import PowerLaw, fit_coverage, fit_power_law, log_spaced_ks

__all__ = ["curve_of", "groups_of", "law_of"]


def curve_of(one: Counts, ks: Sequence[int] | None = None, **options: Any) -> Curve:
    """Coverage with its interval: of attempts fixed beforehand, stopped on success, or dependent on one another.

    Args:
        ks: as for `coverage_curve`; at most `one.attempts`.
        options: those of `coverage_curve`; only those that `stopped_curve` has unless attempts were fixed beforehand.

    Raises:
        CountsError: reliability, or the interval of running it all again, of attempts not fixed beforehand.
        monkeys.science.coverage.CoverageError: as `coverage_curve` and `stopped_curve`.
    """
    if one.stopped_at is None:
        fixed = one.fixed()
        return coverage_curve(fixed.n, fixed.correct, ks, names=fixed.task_ids, sampling=fixed.sampling, **options)
    if options.pop("bootstrap", "tasks") != "tasks" or options.pop("estimate", "pass@k") != "pass@k":
        why = DEPENDENT if one.dependent else "attempts ended with a task's first success"
        raise CountsError(
            f"{one.name}: {why}: that gives pass@k with its interval over tasks, and neither reliability nor the "
            "interval of running it all again; for these make a fixed number of independent attempts on each task"
        )
    return stopped_curve(one.n, one.correct, ks, cap=one.stopped_at, names=one.task_ids, **options)


def groups_of(one: Counts, ks: Sequence[int], **options: Any) -> dict[str, Curve]:
    """The curve of each repository's tasks, in the order of their names."""
    repos = one.repositories
    if repos is None:
        raise CountsError(f"{one.name} does not say its tasks' repositories: add a column repo")
    labels = np.array(repos)
    return {str(label): curve_of(one.only(labels == label), ks, **options) for label in np.unique(labels)}


def law_of(one: Counts) -> PowerLaw:
    """The paper's law of the curve. Raises `monkeys.science.scaling.FitError` where there is none."""
    if one.stopped_at is None:
        fixed = one.fixed()
        return fit_coverage(fixed.n, fixed.correct)
    ks = log_spaced_ks(one.stopped_at)
    shares = pass_at_k_stopped(one.n, one.correct, ks[:, None], cap=one.stopped_at).mean(axis=1)
    return fit_power_law(ks, shares)
