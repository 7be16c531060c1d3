"""How the attempts of a run came about, read from the run: what decides which of them count together, and how.

Reports and counts go by this alone, and never by the name of a strategy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from monkeys.store import Store, pools
from monkeys.store.checks import damaged
from monkeys.strategies import SamplingDesign
from monkeys.strategies.strategy import StrategyError

__all__ = ["arms_apart", "design_of", "oracle_note", "oracle_notes", "run_design", "run_name", "sampling_of"]


def run_design(store: Store) -> SamplingDesign:
    """The sampling design of a run. Raises `StoreError`."""
    try:
        return design_of(store.config, _has_parents(store))
    except StrategyError as error:
        damaged(f"run {store.folder}", f"its configuration says {error}")


def oracle_note(kinds: Sequence[str]) -> str:
    """What a reader must know of attempts that these kinds of feedback told what the hidden tests say."""
    return (
        f"ORACLE: the attempts were told what the hidden tests say ({', '.join(kinds)}), so this is no coverage of "
        "attempts that have to do without; report it apart"
    )


def oracle_notes(store: Store) -> tuple[str, ...]:
    """What a reader must know of a run whose attempts were told what the hidden tests say; nothing of another."""
    return (oracle_note(store.oracles),) if store.oracles else ()


def run_name(store: Store, arm: str = "") -> str:
    """The name of a run, or of one arm of it, which says where attempts were told what the hidden tests say."""
    name = f"{store.folder.name}/{arm}" if arm else store.folder.name
    return f"{name} [{', '.join(store.oracles)}]" if store.oracles else name


def arms_apart(store: Store) -> dict[str, Store]:
    """The attempts of a run that may be counted together, each as a run of its own, by a name.

    The name is "" for what is usual, or that of an arm which was told of the hidden tests. Continuations are in none.
    The first is what a report of the run is about.
    """
    found = pools(store.arms())
    return {"": store} if list(found) == [""] else {name: store.of_arms(arms) for name, arms in found.items()}


def design_of(config: Mapping[str, Any], any_parents: bool) -> SamplingDesign:
    """The design that the configuration records, or a dependent one if any attempt was made of earlier ones."""
    return SamplingDesign("dependent") if any_parents else sampling_of(config)


def sampling_of(config: Mapping[str, Any]) -> SamplingDesign:
    """The design that a run's configuration records; independent where it records none."""
    return SamplingDesign(**config.get("strategy", {}).get("sampling", {}))


def _has_parents(store: Store) -> bool:
    """Whether any attempt of the run was made of earlier ones."""
    return store.any_parents
