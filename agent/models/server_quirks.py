"""What one server does not accept, learnt from what it refuses, and requests written as it wants them.

Guarantees: a change (`agent.models.adaptations`) is kept only after the server has accepted a request with it, or
refused that for another reason. Fields that the user chose are never taken away. What was accepted as it stood is not
suspected any more. Reasoning goes back in the field in which it came: llama.cpp, SGLang, Moonshot, DeepSeek
(`reasoning_content`), vLLM (`reasoning`) and OpenRouter (`reasoning_details`) want it there; some servers that answer
with such a field do not accept it (Mistral), and DeepSeek wants it in all messages once one has it. What was learnt
holds for all later requests.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from agent.actions.sanitize import REASONING
from agent.models.adaptations import ADAPTATIONS, LIMITS, Adaptation, drop_reasoning, fill_reasoning

__all__ = ["ServerQuirks", "signature"]

# Reasoning that is missing is filled in before any is dropped.
EVERY = (
    *(fill_reasoning(name) for name, kind in REASONING.items() if kind is str),
    *(drop_reasoning(name) for name in REASONING),
    *ADAPTATIONS,
)


class ServerQuirks:
    """What is known about one server. `drop` leaves reasoning out from the start; `chosen` are fields of the user."""

    def __init__(self, drop: bool = False, chosen: Collection[str] = ()) -> None:
        self._known = [one for one in EVERY if not (one.field and one.field in chosen)]
        self._active = {one.name for one in self._known if drop and one.name.startswith("drop ")}
        self._accepted: set[str] = set()
        self._in_vain: set[tuple[str, str]] = set()

    def written(self, body: Mapping[str, Any], *more: Adaptation) -> dict[str, Any]:
        """The body as the server wants it, and with `more` changed; the argument is not changed."""
        limit = next((body[name] for name in reversed(LIMITS) if name in body), None)
        written: Mapping[str, Any] = {name: value for name, value in body.items() if name not in LIMITS}
        if limit is not None:
            written = {**written, LIMITS[0]: limit}
        if self._active or more:
            for one in self._known:
                if one.name in self._active or one in more:
                    written = one.rewrite(written)
        return dict(written)

    def accepted(self, written: Mapping[str, Any]) -> None:
        """Note that the server has accepted this body."""
        for one in self._known:
            if one.name not in self._accepted and one.blind and one.touches(written):
                self._accepted.add(one.name)

    def named(self, written: Mapping[str, Any], said: str) -> list[Adaptation]:
        """The changes that the server's words ask for."""
        return [one for one in self._open(written) if one.hint.search(said)]

    def suspected(self, written: Mapping[str, Any], said: str) -> list[Adaptation]:
        """The changes of what the server has never yet accepted, whatever its words; none that was tried in vain."""
        return [
            one
            for one in self._open(written)
            if one.blind and one.name not in self._accepted and (one.name, signature(said)) not in self._in_vain
        ]

    def keep(self, *some: Adaptation) -> None:
        """Make these changes from now on."""
        self._active |= {one.name for one in some}

    def in_vain(self, some: Collection[Adaptation], said: str) -> None:
        """Note that these changes do not help against a refusal in these words."""
        self._in_vain |= {(one.name, signature(said)) for one in some}

    def _open(self, written: Mapping[str, Any]) -> list[Adaptation]:
        return [one for one in self._known if one.name not in self._active and one.touches(written)]


def signature(said: str) -> str:
    """The words of a refusal without numbers, ids and addresses: the same for the same cause."""
    return " ".join(word for word in re.findall(r"[^\W_]+", said.lower()) if not re.search(r"\d", word))[:400]
