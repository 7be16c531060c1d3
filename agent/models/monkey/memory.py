"""The memory of the monkey, read back from the messages of a conversation: files, pages, edits, test runs.

The monkey keeps nothing between turns. `remember` goes over the messages once and pairs each tool call with its
observation, and with the feedback that is sent at the end of one. It skips whatever it does not understand, so that no
observation can make it fail.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from agent.trajectory import Message

__all__ = ["Definition", "Memory", "Page", "PastEdit", "Run", "remember"]

_ROW = re.compile(r"^ *(\d+)\t(.*)$", re.MULTILINE)
_MORE = re.compile(r"\n\[lines \d+-\d+ of (\d+)\]\s*\Z")
_DEFINITION = re.compile(r"^(?:\./)?([^:\n]+\.py):(\d+):[ \t]*(?:async +)?(?:def|class) +(\w+)", re.MULTILINE)
_FAILING = re.compile(r"^(?:FAIL|ERROR): (.+)$|^(?:FAILED|ERROR) (\S+::\S+)", re.MULTILINE)
_ENDED = re.compile(r"\[(?:exit status -?\d+|killed after .*)\]\s*\Z")
_READ = 60_000  # characters of an issue or of one observation that are read
_FEEDBACK = re.compile(r"\n\n\[feedback: ([\w-]+)\]\n")
_NAMED = re.compile(r"^- (?!and \d+ more$)(.+)$", re.MULTILINE)
_NEW, _GONE, _STILL = "did not fail before your changes:", "do not fail now:", "still fail:"
_NONE_NEW, _BROKEN = "No visible test fails", "new since your changes"
_ALL_PASS = "All hidden tests pass"


@dataclass(frozen=True, slots=True)
class Page:
    """Lines of a file as they stand now; `first` is the number of their first line when they were viewed."""

    path: str
    first: int
    text: str


@dataclass(frozen=True, slots=True)
class Definition:
    """Where a search found a function or class of this name."""

    path: str
    line: int
    name: str


@dataclass(frozen=True, slots=True)
class PastEdit:
    """One replacement that the `edit` tool was asked to make."""

    path: str
    old: str
    new: str

    @property
    def reverse(self) -> PastEdit:
        return PastEdit(self.path, self.new, self.old)


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the tests with these edits in place: the failing tests, and the end of the output."""

    edits: tuple[PastEdit, ...]
    failing: frozenset[str]
    output: str


@dataclass(slots=True)
class Memory:
    """Everything that is known. `standing` are the edits made and not reverted, `tried` all edits asked for.

    `told` is the feedback after the last turn, by kind.
    """

    issue: str = ""
    turns: int = 0
    asked: set[str] = field(default_factory=set)  # paths that it asked to view
    files: dict[str, None] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    definitions: list[Definition] = field(default_factory=list)
    pages: list[Page] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    standing: list[PastEdit] = field(default_factory=list)
    tried: set[PastEdit] = field(default_factory=set)
    told: dict[str, str] = field(default_factory=dict)

    @property
    def baseline(self) -> Run | None:
        """The last run of the tests on the repository as it was."""
        return next((run for run in reversed(self.runs) if not run.edits), None)

    @property
    def current_run(self) -> Run | None:
        """The run of the tests with the present edits, if that was the last thing done."""
        return self.runs[-1] if self.runs and self.runs[-1].edits == tuple(self.standing) else None

    @property
    def broken(self) -> bool:
        """Whether the check names something that the edits broke."""
        return _BROKEN in self.told.get("check", "")

    @property
    def hidden_tests_pass(self) -> bool | None:
        """Whether the hidden tests pass, where feedback tells it."""
        told = [text for kind, text in self.told.items() if kind.startswith("oracle-")]
        return _ALL_PASS in told[0] if told else None

    def edited(self, edit: PastEdit) -> None:
        """Note an edit that was made, or one that reverts the last one."""
        if self.standing and self.standing[-1].reverse == edit:
            self.standing.pop()
        else:
            self.standing.append(edit)
        for at, page in enumerate(self.pages):
            if page.path == edit.path and page.text.count(edit.old) == 1:
                self.pages[at] = replace(page, text=page.text.replace(edit.old, edit.new))


def remember(messages: Sequence[Message]) -> Memory:
    """Read a conversation."""
    memory = Memory(turns=sum(message.get("role") == "assistant" for message in messages))
    told = [content(message) for message in messages if message.get("role") == "user"]
    memory.issue = told[0][:_READ] if told else ""
    for name, arguments, observation in _observed(messages):
        text, *told = _FEEDBACK.split(observation)
        _note(memory, name, arguments, text)
        memory.told = dict(zip(told[::2], told[1::2], strict=True))
        if said := memory.told.get("tests"):
            _note_tests(memory, said)
    return memory


def content(message: Message) -> str:
    """The text of a message, also where it comes in parts."""
    said = message.get("content")
    if isinstance(said, list):
        return "\n".join(str(part.get("text", "")) for part in said if isinstance(part, dict))
    return said if isinstance(said, str) else ""


def _observed(messages: Sequence[Message]) -> Iterator[tuple[str, Mapping[str, Any], str]]:
    """Each tool call that has a result: name, arguments, result."""
    asked: dict[str, tuple[str, Mapping[str, Any]]] = {}
    for message in messages:
        for call in message.get("tool_calls") or ():
            try:
                name, arguments = str(call["function"]["name"]), json.loads(call["function"]["arguments"])
                asked[str(call["id"])] = (name, arguments if isinstance(arguments, dict) else {})
            except (KeyError, TypeError, ValueError):
                continue
        known = asked.get(str(message.get("tool_call_id")))
        if message.get("role") == "tool" and known:
            yield *known, content(message)


def _note(memory: Memory, name: str, arguments: Mapping[str, Any], observation: str) -> None:
    match name, arguments:
        case "view", {"path": str(path)}:
            memory.asked.add(path)
            _note_view(memory, path, observation)
        case "search", _:
            found = _DEFINITION.findall(observation[:_READ])
            memory.definitions += [Definition(path, int(line), word) for path, line, word in found]
        case "edit", {"path": str(path), "old": str(old), "new": str(new)}:
            memory.tried.add(PastEdit(path, old, new))
            if observation == f"[{path} written]":
                memory.edited(PastEdit(path, old, new))
        case "run_tests", _:
            memory.runs.append(Run(tuple(memory.standing), _failing(observation), observation[-_READ:]))


def _note_tests(memory: Memory, said: str) -> None:
    """Feedback on the visible tests is a run of them with the present edits."""
    named = frozenset(_NAMED.findall(said.partition("\n\n")[0][:_READ]))
    before = memory.baseline.failing if memory.baseline else frozenset()
    if _NEW in said:
        failing = before | named
    elif _NONE_NEW not in said:  # they did not come to their end
        failing = before | {"?"}
    else:
        before |= named
        failing = named if _STILL in said else before - named if _GONE in said else frozenset()
        if memory.baseline is None:
            memory.runs.insert(0, Run((), before, ""))
    memory.runs.append(Run(tuple(memory.standing), failing, said[-_READ:]))


def _note_view(memory: Memory, path: str, observation: str) -> None:
    if not path.endswith(".py"):
        names = (row.removeprefix("./") for row in observation[:_READ].split("\n"))
        memory.files.update((name, None) for name in names if name.endswith(".py"))
    elif rows := _ROW.findall(observation):
        more = _MORE.search(observation)
        first = int(rows[0][0])
        memory.sizes[path] = int(more.group(1)) if more else first + len(rows) - 1
        memory.pages = [page for page in memory.pages if (page.path, page.first) != (path, first)]
        memory.pages.append(Page(path, first, "\n".join(text for _, text in rows)))


def _failing(output: str) -> frozenset[str]:
    """The tests that failed, by the names that unittest and pytest give them; "?" if something else did."""
    names = frozenset(one or other for one, other in _FAILING.findall(output))
    return names or frozenset({"?"} if _ENDED.search(output) else ())
