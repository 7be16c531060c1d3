"""The form `text`: actions as fenced blocks in plain text, for models and servers without tool calls.

    ```bash                    ```edit src/app.py
    ls src                     <<<<<<< SEARCH
    ```                        old lines
                               =======
                               new lines
                               >>>>>>> REPLACE
                               ```

The word after the fence names the action, the rest of that line is its head, the lines below are its body. Read
tolerantly: any prose around, several blocks, blocks of other languages, CRLF, tildes, indented fences, a last block
without its closing fence, fences inside here-documents, edits and files. A block that the length limit cut off is not
carried out, and neither is a block after a result that the model invented.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agent.actions.actions import CUT, Action, ActionError, Result, called, in_one_message
from agent.actions.in_text import actions_in_text, no_action
from agent.actions.lenient import read_json
from agent.actions.sanitize import sendable, spoken
from agent.prompts import form_text
from agent.tools import Tool
from agent.trajectory import Message

__all__ = ["Text"]

FENCE = re.compile(r"([ \t]*)(`{3,}|~{3,})(?!.*```)(.*)$")
ONE_LINE = re.compile(r"[ \t]*```[ \t]*([\w-]+)[ \t]*```[ \t]*$")  # a block such as ```submit```
WORD = re.compile(r"[\w-]*")
INVENTED = re.compile(r"Result of [\w-]+:$")
HEREDOC = re.compile(r"<<-?[ \t]*(['\"]?)(\w+)\1")
PATH_CHARACTERS = 4096
SEARCH, DIVIDE, REPLACE = (re.compile(mark) for mark in (r"<{5,9}( .*)?$", r"={5,9}[ \t]*$", r">{5,9}( .*)?$"))
PLACE = re.compile(r"(?P<path>.*?)(?:[ \t:]+L?(?P<start>\d{1,9})(?:[ \t]*[-,: ][ \t]*L?(?P<end>\d{1,9}))?)?[ \t]*$")


@dataclass(frozen=True, slots=True)
class _Block:
    """One fenced block. `closed`: it ended before the text did."""

    word: str
    head: str
    body: tuple[str, ...]
    closed: bool

    @property
    def text(self) -> str:
        return "\n".join(self.body)


# Reads a block: the arguments of one or several calls. Raises `ValueError` with the mistake.
Reading = Callable[[_Block], list[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Form:
    """The form of one kind of block, and the tool that it calls."""

    tool: str
    read: Reading
    about: str
    example: str


class Text:
    """Fenced blocks, any number in a turn. Tools without a form of block of their own get one with JSON."""

    name = "text"

    def __init__(self, tools: Sequence[Tool]) -> None:
        self._tools = {tool.name: tool for tool in tools}
        own = {word: form for word, form in FORMS.items() if form.tool in self._tools}
        covered = {form.tool for form in own.values()}
        self._forms = own | {tool.name: _json_form(tool) for tool in tools if tool.name not in covered}
        self.schemas: list[dict[str, Any]] = []
        self.body: dict[str, Any] = {}
        told = (f"{form.about}\n```{form.example}\n```" for form in self._forms.values() if form.about)
        self.instructions = form_text("text", "\n\n".join(told))

    def read(self, message: Message, *, cut: bool = False) -> tuple[Message, list[Action | ActionError]]:
        message = sendable({**message, "tool_calls": None})
        actions: list[Action | ActionError] = []
        others = []
        for block in _Scanner(spoken(message), self._forms, cut).blocks():
            if block.word not in self._forms:
                others += [block.word] if block.word else []
            elif cut and not block.closed:
                actions.append(ActionError("", f"{block.word}: {CUT}"))
            else:
                actions += self._carried(block)
        actions = actions or actions_in_text(message, self._tools, cut)
        return message, actions or [no_action(message, self._tools, cut, self._no_block(others))]

    def observations(self, results: Sequence[Result]) -> list[Message]:
        return in_one_message(results)

    def _carried(self, block: _Block) -> list[Action | ActionError]:
        form = self._forms[block.word]
        try:
            return [called(self._tools, form.tool, arguments) for arguments in form.read(block)]
        except (ValueError, RecursionError) as problem:
            return [ActionError("", f"{block.word}: {problem}")]

    def _no_block(self, others: Sequence[str]) -> str:
        unknown = f" ({', '.join(f'```{word[:32]}' for word in others[:3])} is not an action)" if others else ""
        words = ", ".join(f"```{word}" for word, form in self._forms.items() if form.about)
        return f"no action was found{unknown}; write a fenced block that begins with one of {words}"


class _Scanner:
    """Goes over the lines of one text once. `words` begin an action; `cut`: the end of the text is missing."""

    def __init__(self, text: str, words: Mapping[str, Any], cut: bool) -> None:
        self.lines, self.words, self.cut = text.rstrip().split("\n"), words, cut
        self.missing: set[str] = set()  # ends that do not occur below

    def blocks(self) -> Iterator[_Block]:
        """The fenced blocks in order, up to a result that the model invented."""
        at = 0
        while at < len(self.lines):
            line = self.lines[at]
            at += 1
            if INVENTED.match(line):
                return
            if short := ONE_LINE.match(line):
                yield _Block(short[1].lower(), "", (), True)
            elif fence := FENCE.match(line):
                word = _word(fence[3])
                end, resume = self.end(at, word, fence[2])
                body = tuple(_unindented(line, len(fence[1])) for line in self.lines[at:end])
                head = fence[3].strip()[len(word) :].strip(" \t:")
                yield _Block(word, head, body, end < len(self.lines))
                at = resume

    def end(self, start: int, word: str, opened: str) -> tuple[int, int]:
        """The line after a block's body, and the line at which to go on."""
        at, inner = start, 0
        while at < len(self.lines):
            line = self.lines[at]
            if past := self.guarded(word, at):
                at = past  # whatever fences lie between belong to the body
            elif (fence := FENCE.match(line)) and fence[2].startswith(opened):
                if not fence[3].strip():
                    if not inner:
                        return at, at + 1
                    inner -= 1
                elif word == "create":  # a file that holds fences of its own
                    inner += 1
                elif _word(fence[3]) in self.words:  # the closing fence was forgotten
                    return at, at
            at += 1
        return at, at

    def guarded(self, word: str, at: int) -> int:
        """The end of a part of the body that may hold anything, if one begins at this line; else 0."""
        if word == "edit":
            end = REPLACE.pattern if SEARCH.match(self.lines[at].strip()) else ""
        else:
            here = HEREDOC.search(self.lines[at]) if word != "create" else None
            end = f"{re.escape(here[2])}$" if here else ""
        if not end or end in self.missing:
            return 0
        past = _find(self.lines, at + 1, re.compile(end))
        if not past:
            self.missing.add(end)
            return len(self.lines) if self.cut else 0
        return past


def _word(info: str) -> str:
    found = WORD.match(info.strip())
    return found.group().lower() if found else ""


def _find(lines: Sequence[str], start: int, pattern: re.Pattern[str]) -> int:
    """The first line from `start` on that matches; 0 for none."""
    return next((at for at in range(start, len(lines)) if pattern.match(lines[at].strip())), 0)


def _unindented(line: str, width: int) -> str:
    return line[min(width, len(line) - len(line.lstrip(" \t"))) :]


def _bash(block: _Block) -> list[dict[str, Any]]:
    command = block.text if block.text.strip() else block.head
    if not command.strip():
        raise ValueError("the block is empty; write the command on the lines below the fence")
    return [{"command": command}]


def _view(block: _Block) -> list[dict[str, Any]]:
    found = PLACE.match((block.head or block.text.strip())[:PATH_CHARACTERS])
    path, start, end = found.group("path", "start", "end") if found else (".", None, None)
    return [{"path": _path(path) or ".", "start": int(start) if start else None, "end": int(end) if end else None}]


def _search(block: _Block) -> list[dict[str, Any]]:
    pattern = block.text.strip("\n")
    if not pattern:
        return [{"pattern": _asked(block.head, "the pattern")}]
    return [{"pattern": pattern, "path": _path(block.head) or None}]


def _create(block: _Block) -> list[dict[str, Any]]:
    path = _path(_asked(block.head, "the file's path"))
    return [{"command": "create", "path": path, "new": block.text + "\n" if block.body else ""}]


def _edit(block: _Block) -> list[dict[str, Any]]:
    lines, path = list(block.body), block.head
    while lines and not SEARCH.match(lines[0].strip()):  # the path may stand below the fence
        path = path or lines[0]
        lines.pop(0)
    path = _path(_asked(path, "the file's path"))
    if not lines:
        raise ValueError("<<<<<<< SEARCH is missing; to write a whole file use ```create")
    edits = []
    while lines:
        end = _find(lines, 0, REPLACE)
        dividers = [at for at in range(end) if DIVIDE.match(lines[at].strip())]
        if not SEARCH.match(lines[0].strip()) or len(dividers) != 1:
            raise ValueError(
                "the body must be <<<<<<< SEARCH, the old lines, one =======, the new lines, >>>>>>> REPLACE; "
                "where the lines themselves hold such marks, use bash"
            )
        old, new = lines[1 : dividers[0]], lines[dividers[0] + 1 : end]
        if not any(line.strip() for line in old):
            raise ValueError("nothing stands below SEARCH; to write a whole file use ```create")
        edits.append({"command": "replace", "path": path, "old": _whole(old), "new": _whole(new)})
        lines = lines[end + 1 :]
        while lines and not lines[0].strip():
            lines.pop(0)
    return edits


def _nothing(block: _Block) -> list[dict[str, Any]]:
    return [{}]


def _json_form(tool: Tool) -> Form:
    """A block for any other tool: its arguments as a JSON object."""
    properties = tool.parameters["properties"].items()
    example = ", ".join(f'"{name}": {wanted.get("type", "value")}' for name, wanted in properties)

    def read(block: _Block) -> list[dict[str, Any]]:
        arguments = read_json(block.text.strip() or block.head or "{}")
        if not isinstance(arguments, dict):
            raise ValueError("the body is not a JSON object")
        return [arguments]

    return Form(tool.name, read, tool.description, f"{tool.name}\n{{{example}}}")


def _asked(text: str, what: str) -> str:
    if not text.strip():
        raise ValueError(f"{what} is missing; write it behind the word that begins the block")
    return text.strip()


def _path(text: str) -> str:
    """A path without the quotes or the `path=` that some models put around it."""
    return text.strip().removeprefix("path=").removeprefix("file=").strip("\"'` \t")


def _whole(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


BASH = "Run a shell command in the repository. Each block starts a new shell there. There is no network."
EDIT_EXAMPLE = """\
edit src/app.py
<<<<<<< SEARCH
    return total
=======
    return total + 1
>>>>>>> REPLACE"""
FORMS = {
    "bash": Form("bash", _bash, BASH, "bash\nls src"),
    **{word: Form("bash", _bash, "", "") for word in ("sh", "shell", "zsh")},
    "view": Form(
        "view",
        _view,
        "Show a file with line numbers, all of it or some lines, or list the files below a folder.",
        "view src/app.py 1-80",
    ),
    "search": Form(
        "search",
        _search,
        "Find lines that match an extended regular expression, in a file or folder or everywhere.",
        "search src\ndef total",
    ),
    "edit": Form(
        "edit",
        _edit,
        "Change a file. The lines to be replaced must stand in it exactly once, white space included.",
        EDIT_EXAMPLE,
    ),
    "create": Form("edit", _create, "Write a whole file, new or in place of what it held.", "create notes.txt\nA line"),
    "run_tests": Form("run_tests", _nothing, "Run the repository's existing test suite.", "run_tests"),
    "submit": Form(
        "submit",
        _nothing,
        "Hand in the repository as it now stands. Do this once, when the issue is resolved.",
        "submit",
    ),
}
