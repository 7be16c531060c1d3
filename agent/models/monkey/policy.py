"""The typewriter monkey: what repeated sampling finds with a random policy that knows nothing.

A policy without a language model, with the same interface as every other model. It sees the messages and tool results
that a model would see, and nothing else:

    look      list the files, search for definitions of names in the issue, perhaps run the tests
    open      view two to five source files, chosen by how often issue and tracebacks name them (`localization`)
    type      make one random change, of the kinds that developers get wrong (`mutations`), in a function chosen in the
              same way; perhaps run the tests
    assess    fewer failures than before: keep the change, and submit or go on. New failures, or the old ones still
              there: revert the change and make another, or give up. Nothing failed before or after: nearly always
              submit.
    hear      where there is feedback: a run of the visible tests is assessed as its own runs are; a change that broke
              something by the check is reverted; where the hidden tests are told, it submits once they pass

How long it goes on depends on its patience, which each attempt draws once from its seed (a continuation has that of the
attempt that it continues), and on what it has seen: tests
that failed before any change will tell when the fault is gone, so it goes on longer then. Limits on turns end it from
outside.

It is a pure function of the conversation and the attempt's seed: the random stream of a turn follows from the seed and
the number of turns so far, and its memory is read back from the messages (`memory`). A monkey has no tokens; its usage
counts one token for four characters read or written.

It never edits tests, and every edit compiles. Where it understands nothing (another language, an empty repository, a
missing tool) it submits.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from random import Random
from typing import Any, TypeVar

from agent.agent import AttemptScope
from agent.models.model import Reply
from agent.models.monkey.localization import places_in, suspected_files, suspected_units, vocabulary, wanted_names
from agent.models.monkey.memory import Memory, Page, PastEdit, content, remember
from agent.models.monkey.mutations import MutationContext, mutate
from agent.trajectory import Message, Usage

__all__ = ["Monkey", "smallest_edit"]

K = TypeVar("K")

# A tool and its arguments.
ToolCall = tuple[str, dict[str, Any]]

LOOK_AT_TESTS = 0.3  # how often the tests are run before anything is changed
TYPE_TWICE = 0.05  # how often two changes are typed at once
LOOK_ELSEWHERE = 0.15  # how often more files are opened after a failure
STRAY = 0.05  # how often a change that did not help is kept and another one made
_TYPING_TRIES = 6  # changes drawn before something else is done
_FRUITLESS_TURNS = 4  # after as many turns without a file it gives up
_PAGE = 400  # lines that `view` shows at once
_MARGIN = 2  # lines quoted around a change in a file that was seen only in part


class Monkey:
    """The policy as a `Model`. It holds no state."""

    name = "monkey"

    async def reply(
        self, messages: Sequence[Message], tools: Sequence[dict[str, Any]], *, scope: AttemptScope
    ) -> Reply:
        memory = remember(messages)
        thought, actions = _Turn(memory, scope.spec.seed, scope.spec.first_seed).decide()
        offered = {(tool.get("function") or {}).get("name") for tool in tools}
        message = _message(memory.turns, thought, [action for action in actions if action[0] in offered])
        reason = "tool_calls" if "tool_calls" in message else "stop"
        return Reply(message, Usage(_tokens(messages), _tokens([message])), reason)

    async def check(self) -> None:
        pass

    async def close(self) -> None:
        pass


class _Turn:
    """One turn: what is known, a random stream, and the attempt's patience."""

    def __init__(self, memory: Memory, seed: int, first_seed: int) -> None:
        self.memory = memory
        self.rng = Random(f"turn {memory.turns} of monkey {seed}")
        self.patience = Random(f"patience of monkey {first_seed}").betavariate(1.2, 1.5)

    def decide(self) -> tuple[str, list[ToolCall]]:
        memory = self.memory
        if not memory.turns:
            return self.look()
        if not memory.pages:
            return self.open() if memory.turns < _FRUITLESS_TURNS else self.submit()
        if not memory.standing:
            return self.type()
        if memory.told and (heard := self.hear()):
            return heard
        if memory.current_run is None:
            return self.type() if self.chance(STRAY) else self.submit()
        return self.assess()

    def hear(self) -> tuple[str, list[ToolCall]] | None:
        """What feedback calls for; None if nothing."""
        passing = self.memory.hidden_tests_pass
        if passing is not None:
            return self.submit() if passing or not self.chance(0.65 + 0.35 * self.patience) else self.retry()
        return self.retry() if self.memory.broken else None

    def look(self) -> tuple[str, list[ToolCall]]:
        actions: list[ToolCall] = [("view", {"path": "."})]
        if names := wanted_names(self.memory.issue):
            actions.append(("search", {"pattern": rf"(def|class) +\w*({'|'.join(names)})\w*", "path": "."}))
        if self.chance(LOOK_AT_TESTS):
            actions.append(("run_tests", {}))
        return "look around", actions

    def open(self) -> tuple[str, list[ToolCall]]:
        """View some files that were not seen yet."""
        chosen = [self.page(path) for path in self.several(self.unseen(), self.rng.randint(2, 5))]
        return ("open", chosen) if chosen else self.submit()

    def unseen(self) -> dict[str, float]:
        """Files not viewed yet, or only in part, by weight."""
        seen, sizes = self.memory.asked, self.memory.sizes
        files = suspected_files(self.memory).items()
        return {path: weight for path, weight in files if path not in seen or sizes.get(path, 0) > _PAGE}

    def page(self, path: str) -> ToolCall:
        """A view of a file: of its beginning, unless a line further down is named or the beginning was seen."""
        far = [line for line in places_in(path, self.memory) if line > _PAGE - 100]
        if far:
            return "view", {"path": path, "start": max(1, self.rng.choice(far) - self.rng.randint(0, 60))}
        if path in self.memory.sizes:
            return "view", {"path": path, "start": self.rng.randint(1, self.memory.sizes[path])}
        return "view", {"path": path}

    def type(self) -> tuple[str, list[ToolCall]]:
        """One change, sometimes two, and perhaps a run of the tests."""
        thoughts, actions = [], []
        for _ in range(2 if self.chance(TYPE_TWICE) else 1):
            if typed := self.change():
                thought, edit = typed
                self.memory.edited(edit)
                thoughts.append(thought)
                actions.append(_replace(edit))
        if not actions:
            return self.open()
        if self.chance(0.95 if self.known_failures() else 0.05 + 0.2 * self.patience):
            actions.append(("run_tests", {}))
        return ", ".join(thoughts), actions

    def change(self) -> tuple[str, PastEdit] | None:
        """A change that was not tried yet, with its name and place."""
        units = suspected_units(self.memory)
        for _ in range(_TYPING_TRIES if units else 0):
            page, source, unit = self.rng.choices(list(units), list(units.values()))[0]
            typed = mutate(MutationContext(source, unit, vocabulary(self.memory.issue), self.rng))
            edit = smallest_edit(page.path, page.text, typed[1], self.margin(page)) if typed else None
            if typed and edit and edit not in self.memory.tried:
                return f"{typed[0]} in {unit.name or page.path}", edit
        return None

    def margin(self, page: Page) -> int:
        """The number of lines to quote around a change: some if the rest of the file may hold the same text."""
        return 0 if page.first == 1 and self.memory.sizes.get(page.path, 0) <= _PAGE else _MARGIN

    def assess(self) -> tuple[str, list[ToolCall]]:
        """Compare the failing tests with those before the change."""
        assert self.memory.current_run is not None
        now, before = self.memory.current_run.failing, self.known_failures()
        if now < before:
            return self.submit() if not now or self.chance(0.4) else self.type()
        if not now and not self.chance(0.1 * self.patience):
            return self.submit()
        if self.chance(STRAY):
            return self.type()
        go_on = 0.65 + 0.35 * self.patience if before else 0.3 + 0.5 * self.patience
        return self.retry() if self.chance(go_on) else self.submit()

    def known_failures(self) -> frozenset[str]:
        baseline = self.memory.baseline
        return baseline.failing if baseline else frozenset()

    def retry(self) -> tuple[str, list[ToolCall]]:
        """Revert what did not help, then go on as before it."""
        undone: list[ToolCall] = []
        while len(self.memory.standing) > self.proven():
            back = self.memory.standing[-1].reverse
            self.memory.edited(back)
            undone.append(_replace(back))
        thought, actions = self.open() if self.chance(LOOK_ELSEWHERE) and self.unseen() else self.type()
        return f"undo, {thought}", [*undone, *actions]

    def proven(self) -> int:
        """How many of the present changes have, in a run of the tests, removed some failures."""
        before, standing = self.known_failures(), tuple(self.memory.standing)
        better = (run.edits for run in self.memory.runs if run.failing < before)
        return max((len(edits) for edits in better if edits == standing[: len(edits)]), default=0)

    def submit(self) -> tuple[str, list[ToolCall]]:
        return "submit", [("submit", {})]

    def chance(self, share: float) -> bool:
        return self.rng.random() < share

    def several(self, options: Mapping[K, float], count: int) -> list[K]:
        """Draw as many different options, in proportion to their weights."""
        left = dict(options)
        chosen: list[K] = []
        while left and len(chosen) < count:
            chosen.append(self.rng.choices(list(left), list(left.values()))[0])
            del left[chosen[-1]]
        return chosen


def smallest_edit(path: str, before: str, after: str, margin: int = 0) -> PastEdit | None:
    """The fewest whole lines whose replacement turns one text into the other, and that can be reverted.

    Both the old and the new lines occur exactly once in their text; `margin` lines around them come
    along in any case. None if that cannot be had.
    """
    old, new = before.split("\n"), after.split("\n")
    if old == new:
        return None
    head = _common(zip(old, new, strict=False))
    tail = min(_common(zip(reversed(old), reversed(new), strict=False)), len(old) - head, len(new) - head)
    head, tail = max(head - margin, 0), max(tail - margin, 0)
    while True:
        edit = PastEdit(path, "\n".join(old[head : len(old) - tail]), "\n".join(new[head : len(new) - tail]))
        if edit.old and edit.new and before.count(edit.old) == 1 and after.count(edit.new) == 1:
            return edit
        if not head and not tail:
            return None
        head, tail = max(head - 1, 0), max(tail - 1, 0)


def _common(pairs: Iterable[tuple[str, str]]) -> int:
    """How many pairs at the beginning are equal."""
    count = 0
    for one, other in pairs:
        if one != other:
            break
        count += 1
    return count


def _replace(edit: PastEdit) -> ToolCall:
    return "edit", {"command": "replace", "path": edit.path, "old": edit.old, "new": edit.new}


def _message(turn: int, thought: str, actions: Sequence[ToolCall]) -> Message:
    message: Message = {"role": "assistant", "content": thought}
    calls = [
        {"id": f"call_{turn}_{number}", "type": "function", "function": {"name": tool, "arguments": json.dumps(given)}}
        for number, (tool, given) in enumerate(actions)
    ]
    return message | {"tool_calls": calls} if calls else message


def _tokens(messages: Iterable[Message]) -> int:
    """The number of characters in the messages, divided by four."""
    said = 0
    for message in messages:
        said += len(content(message))
        said += sum(len(str(call)) for call in message.get("tool_calls") or ())
    return said // 4
