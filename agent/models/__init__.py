"""Models: they answer conversations. `agent.models.sources` finds one by its name."""

from __future__ import annotations

from agent.models.model import (
    ContextExceeded,
    Model,
    ModelError,
    ModelRefused,
    ModelUnavailable,
    NoMoreAnswers,
    Rejected,
    Reply,
    Tokens,
)

__all__ = [
    "ContextExceeded",
    "Model",
    "ModelError",
    "ModelRefused",
    "ModelUnavailable",
    "NoMoreAnswers",
    "Rejected",
    "Reply",
    "Tokens",
]
