"""The typewriter monkey: what repeated sampling finds when the policy is chance and knows nothing.

A policy without any language model, behind the same interface as every other model. It
sees the messages and the tool results that a model would see, and nothing else:

    look      list the files, search for definitions of names in the issue, perhaps run the tests
    open      view two to five source files, chosen by how much the issue and tracebacks
              speak of them (`suspicion`)
    type      one random change, of the kinds developers get wrong (`slips`), in a function
              chosen the same way; perhaps run the tests
    judge     fewer failures than before: keep it, and submit or go on. New failures, or the
              old ones still there: take the change back and type another, or give up.
              Nothing failed before or after: nearly always submit.

How long it goes on is a matter of its patience, which each attempt draws once from its
seed, and of what it has seen: tests that failed before it changed anything will tell when
the fault is gone, so then it perseveres. Limits on turns cut it off from outside.

It is a pure function of the conversation and the attempt's seed: the stream of chance of
a turn comes from the seed and the number of turns so far, and all that it remembers it
reads back from the messages (`recollection`). A monkey has no tokens; its usage counts
a token for every four characters read or typed, as a rule of thumb.

It never edits tests, every edit compiles, and an observation that it does not understand
(another language, an empty repository, a tool that is missing) makes it shrug and submit.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from random import Random
from typing import Any, TypeVar

from agent.models.model import Call, Reply
from agent.models.monkey.localization import places_in, suspected_files, suspected_units, vocabulary, wanted_names
from agent.models.monkey.memory import Memory, Page, PastEdit, content, recollect
from agent.models.monkey.mutations import Bench, type_something
from agent.trajectory import Message, Usage

__all__ = ["Monkey", "smallest_edit"]

K = TypeVar("K")

# A tool and its arguments.
Action = tuple[str, dict[str, Any]]

LOOK_AT_TESTS = 0.3  # how often the tests are run before anything is changed
TYPE_TWICE = 0.05  # how often two changes are typed at once
LOOK_ELSEWHERE = 0.15  # how often more files are opened after a failure
STRAY = 0.05  # how often a change stands although it did not help, for another one on top
_TYPING_TRIES = 6  # changes thought of before something else is done
_FRUITLESS_TURNS = 4  # after so many without a file seen, it gives up
_PAGE = 400  # lines that `view` shows at once
_MARGIN = 2  # lines quoted around a change in a file that was seen only in part


class Monkey:
    """The policy as a `Model`. It holds no state."""

    name = "monkey"

    async def reply(self, messages: Sequence[Message], tools: Sequence[dict[str, Any]], *, call: Call) -> Reply:
        memory = recollect(messages)
        thought, actions = _Turn(memory, call.seed).decide()
        offered = {(tool.get("function") or {}).get("name") for tool in tools}
        message = _message(memory.turns, thought, [action for action in actions if action[0] in offered])
        reason = "tool_calls" if "tool_calls" in message else "stop"
        return Reply(message, Usage(_tokens(messages), _tokens([message])), reason)

    async def check(self) -> None:
        pass

    async def close(self) -> None:
        pass


class _Turn:
    """One turn: what is known, a stream of chance, and the attempt's patience."""

    def __init__(self, memory: Memory, seed: int) -> None:
        self.memory = memory
        self.rng = Random(f"turn {memory.turns} of monkey {seed}")
        self.patience = Random(f"patience of monkey {seed}").betavariate(1.2, 1.5)

    def decide(self) -> tuple[str, list[Action]]:
        memory = self.memory
        if not memory.turns:
            return self.look()
        if not memory.pages:
            return self.open() if memory.turns < _FRUITLESS_TURNS else self.submit()
        if not memory.standing:
            return self.type()
        if memory.verdict is None:
            return self.type() if self.chance(STRAY) else self.submit()
        return self.judge()

    def look(self) -> tuple[str, list[Action]]:
        actions: list[Action] = [("view", {"path": "."})]
        if names := wanted_names(self.memory.issue):
            actions.append(("search", {"pattern": rf"(def|class) +\w*({'|'.join(names)})\w*", "path": "."}))
        if self.chance(LOOK_AT_TESTS):
            actions.append(("run_tests", {}))
        return "look around", actions

    def open(self) -> tuple[str, list[Action]]:
        """View some of what was not seen yet."""
        chosen = [self.page(path) for path in self.several(self.unseen(), self.rng.randint(2, 5))]
        return ("open", chosen) if chosen else self.submit()

    def unseen(self) -> dict[str, float]:
        """Files not viewed yet, or only in part, by weight."""
        seen, sizes = self.memory.asked, self.memory.sizes
        files = suspected_files(self.memory).items()
        return {path: weight for path, weight in files if path not in seen or sizes.get(path, 0) > _PAGE}

    def page(self, path: str) -> Action:
        """A view of a file: of its beginning, unless something points further down or that was seen."""
        far = [line for line in places_in(path, self.memory) if line > _PAGE - 100]
        if far:
            return "view", {"path": path, "start": max(1, self.rng.choice(far) - self.rng.randint(0, 60))}
        if path in self.memory.sizes:
            return "view", {"path": path, "start": self.rng.randint(1, self.memory.sizes[path])}
        return "view", {"path": path}

    def type(self) -> tuple[str, list[Action]]:
        """One change, now and then two, and perhaps a look at what the tests say to it."""
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
            typed = type_something(Bench(source, unit, vocabulary(self.memory.issue), self.rng))
            edit = smallest_edit(page.path, page.text, typed[1], self.margin(page)) if typed else None
            if typed and edit and edit not in self.memory.tried:
                return f"{typed[0]} in {unit.name or page.path}", edit
        return None

    def margin(self, page: Page) -> int:
        """Lines to quote around a change: some if the rest of the file may hold the like of it."""
        return 0 if page.first == 1 and self.memory.sizes.get(page.path, 0) <= _PAGE else _MARGIN

    def judge(self) -> tuple[str, list[Action]]:
        """Compare what the tests say with what they said before the change."""
        assert self.memory.verdict is not None
        now, before = self.memory.verdict.failing, self.known_failures()
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

    def retry(self) -> tuple[str, list[Action]]:
        """Take back what did not help, then go on as if it had never been."""
        undone: list[Action] = []
        while len(self.memory.standing) > self.proven():
            back = self.memory.standing[-1].reverse
            self.memory.edited(back)
            undone.append(_replace(back))
        thought, actions = self.open() if self.chance(LOOK_ELSEWHERE) and self.unseen() else self.type()
        return f"undo, {thought}", [*undone, *actions]

    def proven(self) -> int:
        """How many of the changes that stand made, as a run of the tests showed, some failures go away."""
        before, standing = self.known_failures(), tuple(self.memory.standing)
        better = (run.edits for run in self.memory.runs if run.failing < before)
        return max((len(edits) for edits in better if edits == standing[: len(edits)]), default=0)

    def submit(self) -> tuple[str, list[Action]]:
        return "submit", [("submit", {})]

    def chance(self, share: float) -> bool:
        return self.rng.random() < share

    def several(self, options: Mapping[K, float], count: int) -> list[K]:
        """So many different options, the heavier the likelier."""
        left = dict(options)
        chosen: list[K] = []
        while left and len(chosen) < count:
            chosen.append(self.rng.choices(list(left), list(left.values()))[0])
            del left[chosen[-1]]
        return chosen


def smallest_edit(path: str, before: str, after: str, margin: int = 0) -> PastEdit | None:
    """The fewest whole lines whose replacement turns one text into the other, and that can be taken back.

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


def _replace(edit: PastEdit) -> Action:
    return "edit", {"command": "replace", "path": edit.path, "old": edit.old, "new": edit.new}


def _message(turn: int, thought: str, actions: Sequence[Action]) -> Message:
    message: Message = {"role": "assistant", "content": thought}
    calls = [
        {"id": f"call_{turn}_{number}", "type": "function", "function": {"name": tool, "arguments": json.dumps(given)}}
        for number, (tool, given) in enumerate(actions)
    ]
    return message | {"tool_calls": calls} if calls else message


def _tokens(messages: Iterable[Message]) -> int:
    """Characters said, by four."""
    said = 0
    for message in messages:
        said += len(content(message))
        said += sum(len(str(call)) for call in message.get("tool_calls") or ())
    return said // 4
