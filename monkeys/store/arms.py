"""Arms that are never counted together with others.

An arm is a named configuration. One whose name begins with `oracle-` was told something of the hidden tests.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["ORACLE", "is_oracle", "pools"]

ORACLE = "oracle-"


def is_oracle(arm: str) -> bool:
    """Whether attempts of this arm were told something of the hidden tests."""
    return arm.startswith(ORACLE)


def pools(arms: Iterable[str]) -> dict[str, list[str]]:
    """The arms that may be counted together, by a name: "" for all that are not apart, else the arm itself.

    An arm that was told of the hidden tests is named "" too where it is the only one.
    """
    every = list(arms)
    plain, apart = [arm for arm in every if not is_oracle(arm)], [arm for arm in every if is_oracle(arm)]
    if not plain and len(apart) <= 1:
        return {"": apart}
    return {**({"": plain} if plain else {}), **{arm: [arm] for arm in apart}}
