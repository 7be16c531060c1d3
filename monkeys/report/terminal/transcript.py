"""One attempt to read: what the model was told, said, did and saw, its patch, and what the verifier made of that.

Long passages are abridged unless asked for `full`. Everything a model, a test or a
repository wrote goes through `plain`: it cannot move the cursor.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from difflib import unified_diff
from itertools import pairwise
from typing import Any

from rich.console import RenderableType
from rich.padding import Padding
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from agent.scan import scan
from agent.trajectory import Message, Turn
from monkeys.pricing.cost_report import attempt_dollars, quotes_of
from monkeys.report.terminal.tables import outcome
from monkeys.store import AttemptRow, Store
from monkeys.text import abridged, amount, count, money, plain, span
from tasks.task import Outcome

__all__ = ["transcript"]

OPENING_LINES = 14
REASONING_LINES = 8
OBSERVATION_LINES = (10, 8)  # of the beginning and of the end
CALL_LINES = 30
TESTS = 12
INDENT = 3


def transcript(store: Store, row: AttemptRow, *, full: bool, log: bool) -> Iterator[RenderableType]:
    """The attempt from top to bottom."""
    yield _head(store, row)
    page = _Page(full)
    costs = store.turns(row)
    opening, turns = _split(store.conversation(row), costs)
    for message in opening:
        yield page.label(str(message.get("role")))
        yield page.passage(_content(message), OPENING_LINES, prose=True)
    for number, messages in enumerate(turns):
        yield from page.turn(number, messages, costs[number] if number < len(costs) else None)
    patch = store.patch(row)
    yield page.label("patch" if patch else "patch: empty")
    if patch:
        yield _highlighted(patch)
    yield from _verdict(store, row, patch, page, log)
    yield ""


class _Page:
    """How passages are laid out: whole, or abridged, and then a line that is no prose stays one line."""

    def __init__(self, full: bool) -> None:
        self.full = full

    def label(self, text: str, more: str = "") -> RenderableType:
        return Padding(Text.assemble((text, "bold"), (f"   {more}" if more else "", "dim")), (1, 0, 0, 1))

    def passage(self, text: str, head: int, tail: int = 0, style: str = "", prose: bool = False) -> RenderableType:
        shown = plain(text).rstrip()
        if not self.full:
            shown = "\n".join(abridged(shown, head, tail))
        return Padding(self._text(shown, style, self.full or prose), (0, 0, 0, INDENT))

    def turn(self, number: int, messages: Sequence[Message], cost: Turn | None) -> Iterator[RenderableType]:
        said, *rest = messages
        spent = ""
        if cost:
            spent = f"{amount(cost.usage.prompt)} in, {amount(cost.usage.completion)} out"
            spent += f", {cost.model_seconds:.1f} s model, {cost.tool_seconds:.1f} s tools"
        yield self.label(f"turn {number}", spent)
        if reasoning := said.get("reasoning_content") or said.get("reasoning"):
            yield self.passage(str(reasoning), REASONING_LINES, style="dim italic", prose=True)
        if text := _content(said).strip():
            yield self.passage(text, CALL_LINES, prose=True)
        seen = {message.get("tool_call_id"): message for message in rest if message.get("role") == "tool"}
        for call in said.get("tool_calls") or ():
            yield self.call(call)
            if (answer := seen.pop(call.get("id"), None)) is not None:
                yield self.passage(_content(answer), *OBSERVATION_LINES, style="dim")
            else:
                yield self.passage("no observation: the attempt ended here", 1, style="yellow")
        for message in rest:
            if message.get("role") != "tool" or message.get("tool_call_id") in seen:
                yield self.label(str(message.get("role")))
                yield self.passage(_content(message), *OBSERVATION_LINES, style="dim")

    def call(self, call: Mapping[str, Any]) -> RenderableType:
        function = call.get("function") or {}
        tool, written = str(function.get("name")), function.get("arguments")
        arguments = _arguments(written)
        if arguments is None:
            lines = [(f"{tool} {written}", "cyan")]
        else:
            lines = _call(tool, arguments)
        if not self.full and len(lines) > CALL_LINES:
            left = len(lines) - CALL_LINES
            lines = [*lines[:CALL_LINES], (f"… {left} more lines", "dim")]
        block = self._text("", "", self.full)
        for number, (line, style) in enumerate(lines):
            block.append("\n" if number else "").append(plain(line), style)
        return Padding(block, (0, 0, 0, 1))

    def _text(self, text: str, style: str, wrapped: bool) -> Text:
        return Text(text, style=style, no_wrap=not wrapped, overflow="fold" if wrapped else "ellipsis")


def _head(store: Store, row: AttemptRow) -> RenderableType:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("attempt", Text.assemble((plain(row.task), "bold"), f"  {row.index}"))
    table.add_row("outcome", outcome(row))
    table.add_row("ended", Text(plain(f"{row.exit}{f': {row.detail}' if row.detail else ''}")))
    tokens = f"{count(row.usage.prompt)} tokens in, {count(row.usage.completion)} out"
    dollars = attempt_dollars(store, row, quotes_of(store))
    paid = "" if dollars is None else f"   {money(dollars)}"
    table.add_row("cost", f"{count(row.turns)} turns   {tokens}{paid}   {span(row.seconds)}")
    table.add_row("seed", str(row.seed))
    others = sum(other.index == row.index for other in store.attempts(row.task)) - 1
    if others:
        table.add_row("try", f"{row.tries}, of {others + 1}; --try N shows another")
    for sign in scan(store.conversation(row)):
        table.add_row("sign", Text(plain(f"turn {sign.turn} {sign.what}: {sign.words}"), style="yellow"))
    return Padding(table, (1, 1, 0, 1))


def _split(messages: Sequence[Message], costs: Sequence[Turn]) -> tuple[list[Message], list[list[Message]]]:
    """What came before the model's first word, answers given as examples included, and its turns."""
    said = [at for at, message in enumerate(messages) if message.get("role") == "assistant"]
    examples = sum(at < costs[0].end for at in said) - 1 if costs else len(said)
    bounds = [*said[max(0, examples) :], len(messages)]
    return list(messages[: bounds[0]]), [list(messages[start:end]) for start, end in pairwise(bounds)]


def _content(message: Message) -> str:
    content = message.get("content")
    if isinstance(content, list):  # parts, as some servers have it
        return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return str(content or "")


def _arguments(written: Any) -> dict[str, Any] | None:
    try:
        arguments = json.loads(written or "{}")
    except (TypeError, ValueError):
        return None
    return arguments if isinstance(arguments, dict) else None


def _call(tool: str, arguments: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A call as a person would write it: lines with their styles."""
    path = str(arguments.get("path") or ".")
    match tool:
        case "bash":
            first, *others = str(arguments.get("command", "")).splitlines() or [""]
            return [(f"$ {first}", "cyan"), *((f"  {line}", "cyan") for line in others)]
        case "view":
            start, end = arguments.get("start"), arguments.get("end")
            span = f":{start or 1}-{end or ''}" if start or end else ""
            return [(f"view {path}{span}", "cyan")]
        case "search":
            return [(f"search {arguments.get('pattern')} in {path}", "cyan")]
        case "edit":
            return _edit(path, arguments)
        case _:
            said = json.dumps(arguments, ensure_ascii=False) if arguments else ""
            return [(f"{tool} {said}".rstrip(), "cyan")]


def _edit(path: str, arguments: Mapping[str, Any]) -> list[tuple[str, str]]:
    command = str(arguments.get("command"))
    old = str(arguments.get("old") or "").splitlines() if command == "replace" else []
    new = str(arguments.get("new") or "").splitlines()
    place = f" after line {arguments.get('line')}" if command == "insert" else ""
    # The first two lines name files and those with @@ places, neither of which are known here.
    changed = [line for line in list(unified_diff(old, new, n=2, lineterm=""))[2:] if not line.startswith("@@")]
    hues = {"+": "green", "-": "red"}
    return [(f"edit {path}: {command}{place}", "cyan"), *((f"  {line}", hues.get(line[0], "")) for line in changed)]


def _highlighted(patch: bytes) -> Text:
    text = plain(patch.decode("utf-8", "replace")).rstrip("\n")
    shown = Syntax("", "diff", theme="ansi_dark").highlight(text)
    shown.rstrip()
    return shown


def _verdict(store: Store, row: AttemptRow, patch: bytes, page: _Page, log: bool) -> Iterator[RenderableType]:
    if row.exit.infra:
        yield page.label("verdict: none", "an infra error is not verified")
        return
    tests, written = store.verdict_detail(row.task, patch)
    shown = outcome(row)
    yield Padding(
        Text.assemble(("verdict: ", "bold"), shown, f"   {plain(row.reason)}" if row.reason else ""), (1, 0, 0, 1)
    )
    differs = row.official is not None and row.official != (row.outcome is Outcome.RESOLVED)
    if row.official is not None and row.outcome and (differs or row.flags):
        yield page.label(f"by the harness's own score: {'resolved' if row.official else 'unresolved'}")
    for flag in (*(("another run said otherwise",) if row.flaky else ()), *row.flags):
        yield Padding(Text(plain(flag), style="yellow"), (0, 0, 0, INDENT))
    # Those that fail are why one looks; the others only fill the screen.
    order = sorted(tests.items(), key=lambda test: test[1].lower() == "passed")
    failing = sum(status.lower() != "passed" for status in tests.values())
    room = len(order) if page.full else max(TESTS, failing)
    lines = Text(overflow="fold")
    for test, status in order[:room]:
        lines.append(f"{plain(status).lower():<8}", "green" if status.lower() == "passed" else "red")
        lines.append(f" {plain(test)}\n")
    if len(order) > room:
        lines.append(f"… {len(order) - room} more that passed\n", "dim")
    lines.rstrip()
    if tests:
        yield Padding(lines, (0, 0, 0, INDENT))
    if log:
        yield page.label("verifier's log" if written else "verifier's log: empty")
        yield plain(written).rstrip("\n")
