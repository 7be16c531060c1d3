"""The limits of one attempt."""

from __future__ import annotations

from dataclasses import dataclass

from agent.agent import AttemptBudget
from agent.trajectory import Exit

__all__ = ["AttemptLimits"]


@dataclass(frozen=True, slots=True)
class AttemptLimits:
    """What one attempt may use: turns, tokens (prompt and completion, all turns), wall seconds, dollars if priced.

    `window` is how many tokens one request may have, None for what the server takes. `context` says what happens to a
    conversation that outgrows it: "stop" ends the attempt, "elide" leaves out older observations, "summarise" has the
    model write a summary that takes the place of older turns.
    """

    turns: int = 40
    tokens: int = 2_000_000
    seconds: float = 3600.0
    window: int | None = None
    context: str = "stop"
    dollars: float | None = None

    def reached(self, budget: AttemptBudget) -> Exit | None:
        """The limit that an attempt with this budget has reached; None if none."""
        if budget.used.total >= self.tokens:
            return Exit.TOKEN_LIMIT
        return Exit.COST_LIMIT if self.dollars is not None and budget.dollars >= self.dollars else None
