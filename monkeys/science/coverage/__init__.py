"""Estimators of coverage and reliability from counts.

A task was attempted n times and c of the attempts resolved it. From n and c alone this package estimates

- pass@k, *coverage*, the probability that at least one of k attempts resolves the task (`pass_at_k`), and its mean over
  tasks at every k (`pass_at_every_k`);
- pass^k, *reliability*, that all of them do (`pass_hat_k`), and G-Pass@k, that a share of them does (`g_pass_at_k`);
- curves over k with an interval at each k: of all tasks (`coverage_curve`), by group (`coverage_by_group`), against
  cost (`coverage_against_cost`), of attempts stopped on success (`stopped_curve`);
- coverage over attempts x turns from one run, and the best pair for each budget (`coverage_surface`, `best_cells`), and
  the probability that an attempt is resolved given its first turns (`turn_value`);
- the difference between two arms on the same tasks (`paired_difference`), and one task's own interval
  (`task_interval`).

`counts` sums a table of outcomes. An estimate that the data do not allow is refused with a `CoverageError` that names
the tasks, the cause and the remedy. The package takes plain arrays.
"""

from __future__ import annotations

from monkeys.science.coverage.comparison import Difference, holm, paired_difference
from monkeys.science.coverage.counts import CoverageError, Names, Sampling, check_order, counts, until_success
from monkeys.science.coverage.curve import (
    Bootstrap,
    Curve,
    Estimate,
    coverage_by_group,
    coverage_curve,
    default_ks,
    stopped_curve,
)
from monkeys.science.coverage.estimators import (
    g_pass_at_k,
    pass_at_every_k,
    pass_at_k,
    pass_at_k_stopped,
    pass_hat_k,
    task_interval,
)
from monkeys.science.coverage.intervals import Method
from monkeys.science.coverage.spending import CostCurve, CostPoint, coverage_against_cost
from monkeys.science.coverage.surface import (
    BestCell,
    CellDifference,
    Surface,
    TurnCounts,
    best_cells,
    compare_cells,
    coverage_surface,
    default_turns,
    mean_costs,
    surface_values,
    turn_counts,
)
from monkeys.science.coverage.turn_value import TurnValues, ValueMethod, turn_value

__all__ = [
    "BestCell",
    "Bootstrap",
    "CellDifference",
    "CostCurve",
    "CostPoint",
    "CoverageError",
    "Curve",
    "Difference",
    "Estimate",
    "Method",
    "Names",
    "Sampling",
    "Surface",
    "TurnCounts",
    "TurnValues",
    "ValueMethod",
    "best_cells",
    "check_order",
    "compare_cells",
    "counts",
    "coverage_against_cost",
    "coverage_by_group",
    "coverage_curve",
    "coverage_surface",
    "default_ks",
    "default_turns",
    "g_pass_at_k",
    "holm",
    "mean_costs",
    "paired_difference",
    "pass_at_every_k",
    "pass_at_k",
    "pass_at_k_stopped",
    "pass_hat_k",
    "stopped_curve",
    "surface_values",
    "task_interval",
    "turn_counts",
    "turn_value",
    "until_success",
]
