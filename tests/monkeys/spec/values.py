"""Strategies of Hypothesis for the values of options, and for whole configurations."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from monkeys.spec.build import build
from monkeys.spec.kinds import (
    Choice,
    Commas,
    Flag,
    Kind,
    Many,
    Name,
    Number,
    Object,
    PathKind,
    RunName,
    Share,
    Text,
    Time,
    Whole,
)
from monkeys.spec.option import places

__all__ = ["specs", "values_of"]

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


def values_of(kind: Kind) -> st.SearchStrategy[Any]:
    """Every value that is of this kind."""
    match kind:
        case Many():
            return st.lists(values_of(kind.one), max_size=3).map(tuple)
        case Commas():
            names = st.text("abcdef-:", min_size=1, max_size=6)
            return st.lists(names, max_size=3).map(lambda given: kind.take(given))
        case Choice():
            return st.sampled_from([name for name in kind.names if name not in kind.meaning])
        case Flag():
            return st.booleans()
        case Whole():
            return st.integers(kind.least)
        case Share():
            return st.floats(0, 1)
        case Number():
            return st.floats(1e-9, 1e12) if kind.positive else NUMBERS
        case Time():
            return st.floats(1e-9, 1e12)
        case Object():
            return st.dictionaries(TEXTS, JSON, max_size=4)
        case PathKind():
            return TEXTS.filter(lambda text: "\0" not in text).map(kind.read)
        case RunName():
            return st.from_regex(r"[\w-][\w.-]{,99}", fullmatch=True)
        case Name():
            return TEXTS.filter(lambda text: bool(text.strip()))
        case Text():
            return TEXTS
    raise AssertionError(f"no values for {kind}")


def specs(kind: type) -> st.SearchStrategy[Any]:
    """Every configuration of this class, of which any options are given."""
    values = {place.path: values_of(place.option.kind) for place in places(kind)}
    return st.fixed_dictionaries({}, optional=values).map(lambda given: build(kind, given))
