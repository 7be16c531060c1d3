"""Strategies by name: the built-in ones, and those that an installed package offers.

A name stands for a class, or any function, that makes a strategy from keyword parameters.
"""

from __future__ import annotations

from typing import Any

from envs.registry import Registry
from monkeys.strategies.strategy import Strategy

__all__ = ["STRATEGIES", "make_strategy"]

STRATEGIES = Registry(
    "strategies",
    "strategy",
    Strategy,
    {
        "independent": "monkeys.strategies.independent:Independent",
        "stop": "monkeys.strategies.allocation:Stop",
        "fewest": "monkeys.strategies.allocation:Fewest",
        "variance": "monkeys.strategies.allocation:Variance",
    },
)


def make_strategy(name: str, **parameters: Any) -> Strategy:
    """The strategy called `name`.

    A strategy takes those of the parameters that it has, and the default of each that is None, so that a caller may
    pass everything that a person can set.

    Raises:
        UnknownName: there is no such strategy; the message lists what there is.
        StrategyError: a parameter that the strategy cannot work with.
    """
    known = STRATEGIES.parameters(name)
    taken = {key: value for key, value in parameters.items() if value is not None and (known is None or key in known)}
    strategy: Strategy = STRATEGIES.make(name, **taken)
    return strategy
