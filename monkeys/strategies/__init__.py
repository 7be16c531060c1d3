"""Strategies: which attempt is made next, and what it is given of earlier ones.

strategy      the protocols `Strategy` and `Scheduler`, and what they exchange
registry      strategies by name
independent   the same number of attempts on every task
allocation    stop, fewest, variance: outcomes decide which task is attempted
in_order      a scheduler for attempts that learn from earlier ones
"""

from monkeys.strategies.registry import STRATEGIES, make_strategy
from monkeys.strategies.strategy import (
    Brief,
    Earlier,
    PastAttempt,
    Plan,
    SamplingDesign,
    SamplingKind,
    Scheduler,
    Slot,
    Strategy,
    StrategyError,
    strategy_config,
)

__all__ = [
    "STRATEGIES",
    "Brief",
    "Earlier",
    "PastAttempt",
    "Plan",
    "SamplingDesign",
    "SamplingKind",
    "Scheduler",
    "Slot",
    "Strategy",
    "StrategyError",
    "make_strategy",
    "strategy_config",
]
