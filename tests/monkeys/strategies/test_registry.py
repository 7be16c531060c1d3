"""Strategies by name: which there are, what they take, and how a run records them."""

from __future__ import annotations

from typing import get_args

import pytest

from envs.errors import MonkeysError
from envs.registry import UnknownName
from monkeys.science.coverage import Sampling
from monkeys.strategies import (
    STRATEGIES,
    SamplingDesign,
    SamplingKind,
    StrategyError,
    make_strategy,
    strategy_config,
)


def test_the_built_in_strategies_go_by_the_names_that_they_record() -> None:
    assert STRATEGIES.names[:4] == ["independent", "stop", "fewest", "variance"]
    assert [make_strategy(name).name for name in STRATEGIES.names[:4]] == STRATEGIES.names[:4]


@pytest.mark.parametrize(
    ("name", "recorded"),
    [
        ("independent", {"sampling": {"kind": "independent"}}),
        ("stop", {"sampling": {"kind": "stopped"}}),
        ("fewest", {"sampling": {"kind": "adaptive", "first": 3}, "first": 3}),
        ("variance", {"sampling": {"kind": "adaptive", "first": 3}, "first": 3, "k": 10}),
    ],
)
def test_a_strategy_takes_the_parameters_that_it_has_and_records_them(name: str, recorded: dict[str, object]) -> None:
    strategy = make_strategy(name, first=3, k=None)
    assert strategy_config(strategy) == {"name": name, **recorded}
    assert make_strategy(**strategy_config(strategy)) == strategy, "the record makes the same strategy again"
    assert hash(strategy) == hash(make_strategy(name, first=3))


def test_an_unknown_strategy_names_the_nearest_one() -> None:
    with pytest.raises(UnknownName, match="no strategy 'fewst'; did you mean fewest"):
        make_strategy("fewst")
    with pytest.raises(UnknownName, match="no strategy 'uniform'; choose one of independent"):
        make_strategy("uniform")


def test_parameters_that_no_strategy_can_have_are_refused() -> None:
    with pytest.raises(StrategyError, match="strategy fewest: first = 0, and it is a whole number from 1"):
        make_strategy("fewest", first=0)
    with pytest.raises(StrategyError, match="strategy variance: k = 0"):
        make_strategy("variance", k=0)
    assert issubclass(StrategyError, MonkeysError)


def test_a_sampling_design_is_one_that_the_estimators_know() -> None:
    assert get_args(SamplingKind) == get_args(Sampling)
    with pytest.raises(StrategyError, match="sampling 'lucky' is unknown: choose one of independent, stopped"):
        SamplingDesign("lucky")  # type: ignore[arg-type]
    with pytest.raises(StrategyError, match="adaptive has a first"):
        SamplingDesign("adaptive")
    with pytest.raises(StrategyError, match="adaptive has a first"):
        SamplingDesign("stopped", 3)
