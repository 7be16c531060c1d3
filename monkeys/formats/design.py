"""How the attempts of a run came about, read from the run: what decides which estimators hold.

Reports and counts go by this alone, and never by the name of a strategy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monkeys.store import Store
from monkeys.store.checks import damaged
from monkeys.strategies import SamplingDesign
from monkeys.strategies.strategy import StrategyError

__all__ = ["design_of", "run_design", "sampling_of"]


def run_design(store: Store) -> SamplingDesign:
    """The sampling design of a run. Raises `StoreError`."""
    try:
        return design_of(store.config, _has_parents(store))
    except StrategyError as error:
        damaged(f"run {store.folder}", f"its configuration says {error}")


def design_of(config: Mapping[str, Any], any_parents: bool) -> SamplingDesign:
    """The design that the configuration records, or a dependent one if any attempt was made of earlier ones."""
    return SamplingDesign("dependent") if any_parents else sampling_of(config)


def sampling_of(config: Mapping[str, Any]) -> SamplingDesign:
    """The design that a run's configuration records; independent where it records none."""
    return SamplingDesign(**config.get("strategy", {}).get("sampling", {}))


def _has_parents(store: Store) -> bool:
    """Whether any attempt of the run was made of earlier ones."""
    return store.any_parents
