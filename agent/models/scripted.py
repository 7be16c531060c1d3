"""Models that play what is written down: `Scripted` the same lines each time, `Replay` a patch per task."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agent.models.model import Call, ModelRefused, Reply
from agent.trajectory import Message, Usage

__all__ = ["Replay", "Scripted", "say"]


def say(*calls: tuple[str, Mapping[str, Any]], text: str | None = None) -> Message:
    """An assistant message that calls tools: `say(("bash", {"command": "ls"}))`."""
    tool_calls = [
        {"id": f"call_{number}", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
        for number, (name, arguments) in enumerate(calls)
    ]
    return {"role": "assistant", "content": text, "tool_calls": tool_calls}


class Scripted:
    """Answers turn t with line t, and submits once it has run out of lines."""

    name = "scripted"

    def __init__(self, lines: Sequence[Message], usage: Usage | None = None) -> None:
        self._lines, self._usage = lines, usage or Usage()

    @classmethod
    def from_file(cls, path: Path) -> Scripted:
        """From a JSON file: a list of assistant messages. Raises `ModelRefused`."""
        try:
            lines = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise ModelRefused(f"script {path} cannot be read: {error}") from None
        if not isinstance(lines, list) or not all(isinstance(line, dict) for line in lines):
            raise ModelRefused(f"script {path} is not a JSON list of assistant messages")
        return cls(lines)

    async def reply(self, messages: Sequence[Message], tools: Sequence[dict[str, Any]], *, call: Call) -> Reply:
        turn = call.turn(messages)
        return Reply(self._lines[turn] if turn < len(self._lines) else say(("submit", {})), self._usage)

    async def check(self) -> None:
        pass

    async def close(self) -> None:
        pass


class Replay:
    """Applies a patch that is already known, through the same tools as every model, and submits.

    `patches` holds for each task the patches to play; attempt i plays the i-th, round and round.
    """

    def __init__(self, patches: Mapping[str, Sequence[str]], name: str = "replay") -> None:
        self.name = name
        self._patches = patches

    @classmethod
    def from_predictions(cls, path: Path) -> Replay:
        """From SWE-bench predictions, .jsonl or .json, several rows per instance allowed. Raises `ModelRefused`."""
        patches: dict[str, list[str]] = {}
        try:
            text = path.read_text("utf-8")
            rows = (
                [json.loads(line) for line in text.split("\n") if line.strip()]
                if path.suffix == ".jsonl"
                else json.loads(text)
            )
            for row in rows.values() if isinstance(rows, dict) else rows:
                patches.setdefault(row["instance_id"], []).append(row["model_patch"] or "")
        except FileNotFoundError:
            raise ModelRefused(
                f"predictions {path} cannot be read: there is no such file, nor a run there to replay; "
                "`monkeys runs` lists the runs"
            ) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelRefused(f"predictions {path} cannot be read: {type(error).__name__}: {error}") from None
        return cls(patches, f"replay:{path.name}")

    async def reply(self, messages: Sequence[Message], tools: Sequence[dict[str, Any]], *, call: Call) -> Reply:
        known = self._patches.get(call.task)
        patch = known[call.attempt % len(known)] if known else ""
        if not patch or call.turn(messages):
            return Reply(say(("submit", {})))
        end = "END_OF_PATCH"
        while end in patch:
            end += "_"
        text = patch if patch.endswith("\n") else f"{patch}\n"  # an empty last line belongs to a binary patch
        return Reply(say(("bash", {"command": f"git apply - <<'{end}'\n{text}{end}"})))

    async def check(self) -> None:
        pass

    async def close(self) -> None:
        pass
