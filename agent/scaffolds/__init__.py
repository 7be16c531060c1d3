"""Scaffolds: what an attempt starts with and may do. `make_scaffold` makes one by its name."""

from __future__ import annotations

from agent.scaffolds.scaffold import Opening, Scaffold, Unsuited

__all__ = ["SCAFFOLDS", "TURNS", "Opening", "Scaffold", "Unsuited", "make_scaffold"]

SCAFFOLDS = ("tools", "repair")
# The limit of turns where the run sets none: more turns do not help a small model.
TURNS = {"tools": 40, "repair": 4}


def make_scaffold(name: str = "tools", form: str = "native") -> Scaffold:
    """The scaffold called `name`, one of `SCAFFOLDS`; `form` is how actions are written where that can be chosen.

    Raises `Unsuited` when there is none, or none with this form.
    """
    if name == "tools":
        from agent.scaffolds.tools import Tools

        try:
            return Tools(form)
        except ValueError as error:
            raise Unsuited(str(error)) from None
    if name == "repair":
        if form != "native":
            raise Unsuited(f"scaffold repair has a form of actions of its own; leave out --actions {form}")
        from agent.scaffolds.repair import Repair

        return Repair()
    raise Unsuited(f"there is no scaffold {name!r}; choose one of {', '.join(SCAFFOLDS)}")
