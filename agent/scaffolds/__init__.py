"""Scaffolds: what an attempt starts with and may do. `make_scaffold` finds one by its name."""

from __future__ import annotations

from agent.scaffolds.scaffold import Opening, Scaffold, Unsuited

__all__ = ["SCAFFOLDS", "TURNS", "Opening", "Scaffold", "Unsuited", "make_scaffold", "suited"]

SCAFFOLDS = ("tools", "repair")
# The most turns of an attempt where nobody says: a small model gets no further by many.
TURNS = {"tools": 40, "repair": 4}
SMALL = ("smollm2",)


def suited(model: str) -> str:
    """The scaffold for a model where nobody says."""
    return "repair" if model in SMALL else "tools"


def make_scaffold(name: str = "tools", form: str = "native") -> Scaffold:
    """The scaffold called `name`, one of `SCAFFOLDS`; `form` is how actions are written where that can be chosen.

    Raises `ValueError` when there is none, or none with this form.
    """
    if name == "tools":
        from agent.scaffolds.tools import Tools

        return Tools(form)
    if name == "repair":
        if form != "native":
            raise ValueError(f"scaffold repair has a form of actions of its own; leave out --actions {form}")
        from agent.scaffolds.repair import Repair

        return Repair()
    raise ValueError(f"there is no scaffold {name!r}; choose one of {', '.join(SCAFFOLDS)}")
