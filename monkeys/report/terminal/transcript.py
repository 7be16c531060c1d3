"""One attempt to read: what the model was told, said, did and saw, what it handed in, and the verdict.

Long passages are abridged unless `full` is asked for. Text that a model, a test or a repository wrote goes through
`plain`, so that it cannot move the cursor.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from difflib import unified_diff
from typing import Any

from rich.console import RenderableType
from rich.padding import Padding
from rich.syntax import Syntax
from rich.text import Text

from monkeys.report.terminal.console import facts
from monkeys.report.terminal.tables import outcome
from monkeys.report.views import AttemptView, Call, TurnView
from monkeys.text import abridged, amount, count, money, plain, span
from tasks.task import Outcome, Submission

__all__ = ["transcript"]

OPENING_LINES = 14
REASONING_LINES = 8
OBSERVATION_LINES = (10, 8)  # at the beginning and at the end
CALL_LINES = 30
TESTS = 12
INDENT = 3


def transcript(view: AttemptView, *, full: bool, log: bool) -> Iterator[RenderableType]:
    """The attempt from top to bottom, with the verifier's log if asked for."""
    yield _head(view)
    page = _Page(full)
    for message in view.opening:
        yield page.label(message.role)
        yield page.passage(message.text, OPENING_LINES, prose=True)
    for turn in view.turns:
        yield from page.turn(turn)
    submission = view.submission
    yield page.label(submission.kind if submission.body else f"{submission.kind}: empty")
    if submission.body:
        yield _submitted(submission)
    yield from _verdict(view, page, log)
    yield ""


class _Page:
    """Lays out passages: whole, or abridged with each line kept on one line unless it is prose."""

    def __init__(self, full: bool) -> None:
        self.full = full

    def label(self, text: str, more: str = "") -> RenderableType:
        return Padding(Text.assemble((text, "bold"), (f"   {more}" if more else "", "dim")), (1, 0, 0, 1))

    def passage(self, text: str, head: int, tail: int = 0, style: str = "", prose: bool = False) -> RenderableType:
        shown = plain(text).rstrip()
        if not self.full:
            shown = "\n".join(abridged(shown, head, tail))
        return Padding(self._text(shown, style, self.full or prose), (0, 0, 0, INDENT))

    def turn(self, turn: TurnView) -> Iterator[RenderableType]:
        spent = ""
        if turn.usage is not None:
            spent = f"{amount(turn.usage.prompt)} in, {amount(turn.usage.completion)} out"
            spent += f", {turn.model_seconds:.1f} s model, {turn.tool_seconds:.1f} s tools"
        yield self.label(f"turn {turn.number}", spent)
        if turn.reasoning:
            yield self.passage(turn.reasoning, REASONING_LINES, style="dim italic", prose=True)
        if text := turn.text.strip():
            yield self.passage(text, CALL_LINES, prose=True)
        for call in turn.calls:
            yield self.call(call)
            if call.observation is not None:
                yield self.passage(call.observation, *OBSERVATION_LINES, style="dim")
            else:
                yield self.passage("no observation: the attempt ended here", 1, style="yellow")
        for message in turn.messages:
            yield self.label(message.role)
            yield self.passage(message.text, *OBSERVATION_LINES, style="dim")

    def call(self, call: Call) -> RenderableType:
        if call.arguments is None:
            lines = [(f"{call.tool} {call.written}", "cyan")]
        else:
            lines = _call(call.tool, call.arguments)
        if not self.full and len(lines) > CALL_LINES:
            left = len(lines) - CALL_LINES
            lines = [*lines[:CALL_LINES], (f"… {left} more lines", "dim")]
        block = self._text("", "", self.full)
        for number, (line, style) in enumerate(lines):
            block.append("\n" if number else "").append(plain(line), style)
        return Padding(block, (0, 0, 0, 1))

    def _text(self, text: str, style: str, wrapped: bool) -> Text:
        return Text(text, style=style, no_wrap=not wrapped, overflow="fold" if wrapped else "ellipsis")


def _head(view: AttemptView) -> RenderableType:
    attempt, table = view.attempt, facts(fold=True)
    table.add_row("attempt", Text.assemble((plain(attempt.task), "bold"), f"  {attempt.index}"))
    table.add_row("outcome", outcome(attempt))
    table.add_row("ended", Text(plain(f"{attempt.exit}{f': {attempt.detail}' if attempt.detail else ''}")))
    tokens = f"{count(attempt.usage.prompt)} tokens in, {count(attempt.usage.completion)} out"
    dollars = "" if attempt.dollars is None else f"   {money(attempt.dollars)}"
    table.add_row("cost", f"{count(attempt.turns)} turns   {tokens}{dollars}   {span(attempt.seconds)}")
    table.add_row("seed", str(attempt.seed))
    if view.tries > 1:
        table.add_row("try", f"{attempt.try_number}, of {view.tries}; --try N shows another")
    for sign in view.signs:
        table.add_row("sign", Text(plain(f"turn {sign.turn} {sign.what}: {sign.words}"), style="yellow"))
    return Padding(table, (1, 1, 0, 1))


def _call(tool: str, arguments: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A call as a person would write it: lines with their styles."""
    path = str(arguments.get("path") or ".")
    match tool:
        case "bash":
            first, *others = str(arguments.get("command", "")).splitlines() or [""]
            return [(f"$ {first}", "cyan"), *((f"  {line}", "cyan") for line in others)]
        case "view":
            start, end = arguments.get("start"), arguments.get("end")
            lines = f":{start or 1}-{end or ''}" if start or end else ""
            return [(f"view {path}{lines}", "cyan")]
        case "search":
            return [(f"search {arguments.get('pattern')} in {path}", "cyan")]
        case "edit":
            return _edit(path, arguments)
        case _:
            written = json.dumps(arguments, ensure_ascii=False) if arguments else ""
            return [(f"{tool} {written}".rstrip(), "cyan")]


def _edit(path: str, arguments: Mapping[str, Any]) -> list[tuple[str, str]]:
    command = str(arguments.get("command"))
    old = str(arguments.get("old") or "").splitlines() if command == "replace" else []
    new = str(arguments.get("new") or "").splitlines()
    place = f" after line {arguments.get('line')}" if command == "insert" else ""
    # The first two lines name files, and lines with @@ name places; neither is known here.
    changed = [line for line in list(unified_diff(old, new, n=2, lineterm=""))[2:] if not line.startswith("@@")]
    hues = {"+": "green", "-": "red"}
    return [(f"edit {path}: {command}{place}", "cyan"), *((f"  {line}", hues.get(line[0], "")) for line in changed)]


def _submitted(submission: Submission) -> RenderableType:
    """A patch with its lines coloured; anything else as it is."""
    text = plain(submission.body.decode("utf-8", "replace")).rstrip("\n")
    if submission.kind != "patch":
        return Padding(Text(text, overflow="fold"), (0, 0, 0, INDENT))
    shown = Syntax("", "diff", theme="ansi_dark").highlight(text)
    shown.rstrip()
    return shown


def _verdict(view: AttemptView, page: _Page, log: bool) -> Iterator[RenderableType]:
    attempt = view.attempt
    if not attempt.counts:
        yield page.label("verdict: none", "an infra error is not verified")
        return
    reason = f"   {plain(attempt.reason)}" if attempt.reason else ""
    yield Padding(Text.assemble(("verdict: ", "bold"), outcome(attempt), reason), (1, 0, 0, 1))
    differs = attempt.official is not None and attempt.official != (attempt.outcome is Outcome.RESOLVED)
    if attempt.official is not None and attempt.outcome and (differs or attempt.flags):
        yield page.label(f"by the harness's own score: {'resolved' if attempt.official else 'unresolved'}")
    flaky = ("another run of the tests gave a different verdict",) if attempt.flaky else ()
    for flag in (*flaky, *attempt.flags):
        yield Padding(Text(plain(flag), style="yellow"), (0, 0, 0, INDENT))
    # Tests that fail come first and are all shown; of the others only as many as there is room for.
    order = sorted(view.tests.items(), key=lambda test: test[1].lower() == "passed")
    failing = sum(status.lower() != "passed" for status in view.tests.values())
    room = len(order) if page.full else max(TESTS, failing)
    lines = Text(overflow="fold")
    for test, status in order[:room]:
        lines.append(f"{plain(status).lower():<8}", "green" if status.lower() == "passed" else "red")
        lines.append(f" {plain(test)}\n")
    if len(order) > room:
        lines.append(f"… {len(order) - room} more that passed\n", "dim")
    lines.rstrip()
    if view.tests:
        yield Padding(lines, (0, 0, 0, INDENT))
    if log:
        yield page.label("verifier's log" if view.log else "verifier's log: empty")
        yield plain(view.log).rstrip("\n")
