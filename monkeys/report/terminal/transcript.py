"""One attempt to read: what the model was told, said, did and saw, what it handed in, and the verdict.

Long passages and long lines are abridged unless `full` is asked for. A very long text is shown without colours and
indentation, which would take minutes. Text that a model, a test or a repository wrote goes through `plain`, so that it
cannot move the cursor.
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

from monkeys.report.terminal.console import LAID_OUT, facts
from monkeys.report.terminal.tables import outcome
from monkeys.report.views import AttemptView, Call, TurnView
from monkeys.text import abridged, amount, brief, count, money, plain, span
from tasks.task import Outcome, Submission

__all__ = ["transcript"]

OPENING_LINES = 14
REASONING_LINES = 8
OBSERVATION_LINES = (10, 8)  # at the beginning and at the end
CALL_LINES = 30
PATCH_LINES = (1000, 200)
DIFF_LINES = 400  # of an edit, beyond which old and new are shown one after the other
TESTS, FAILING = 12, 200
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
        yield _submitted(submission, page)
    yield from _verdict(view, page, log)
    yield ""


class _Page:
    """Lays out passages: whole, or abridged with each line kept on one line unless it is prose."""

    def __init__(self, full: bool) -> None:
        self.full = full

    def label(self, text: str, more: str = "") -> RenderableType:
        return Padding(Text.assemble((brief(text), "bold"), (f"   {more}" if more else "", "dim")), (1, 0, 0, 1))

    def passage(self, text: str, head: int, tail: int = 0, style: str = "", prose: bool = False) -> RenderableType:
        shown = "\n".join(self.lines(text.rstrip(), head, tail))
        if len(shown) > LAID_OUT:
            return shown
        return Padding(self._text(shown, style, self.full or prose), (0, 0, 0, INDENT))

    def lines(self, text: str, head: int, tail: int = 0) -> list[str]:
        """The lines of a text as they are shown."""
        return plain(text).split("\n") if self.full and text else abridged(text, head, tail)

    def word(self, value: object) -> str:
        """An argument that belongs on one line."""
        return plain(str(value)) if self.full else brief(str(value))

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
            used = message.usage
            spent = f"{amount(used.prompt)} in, {amount(used.completion)} out" if used else ""
            yield self.label(f"feedback: {message.feedback}" if message.feedback else message.role, spent)
            yield self.passage(message.text, *OBSERVATION_LINES, style="dim")

    def call(self, call: Call) -> RenderableType:
        if call.arguments is None:
            lines = [(f"{self.word(call.tool)} {self.word(call.written)}", "cyan")]
        else:
            lines = _call(self, call.tool, call.arguments)
        if not self.full and len(lines) > CALL_LINES + 1:
            left = len(lines) - CALL_LINES
            lines = [*lines[:CALL_LINES], (f"… {left} more lines", "dim")]
        if sum(len(line) for line, _ in lines) > LAID_OUT:
            return "\n".join(line for line, _ in lines)
        block = self._text("", "", self.full)
        for number, (line, style) in enumerate(lines):
            block.append("\n" if number else "").append(line, style)
        return Padding(block, (0, 0, 0, 1))

    def _text(self, text: str, style: str, wrapped: bool) -> Text:
        return Text(text, style=style, no_wrap=not wrapped, overflow="fold" if wrapped else "ellipsis")


def _head(view: AttemptView) -> RenderableType:
    attempt, table = view.attempt, facts(fold=True)
    table.add_row("attempt", Text.assemble((brief(attempt.task), "bold"), f"  {attempt.index}"))
    table.add_row("outcome", outcome(attempt))
    table.add_row("ended", Text(brief(f"{attempt.exit}{f': {attempt.detail}' if attempt.detail else ''}")))
    tokens = f"{count(attempt.usage.prompt)} tokens in, {count(attempt.usage.completion)} out"
    dollars = "" if attempt.dollars is None else f"   {money(attempt.dollars)}"
    table.add_row("cost", f"{count(attempt.turns)} turns   {tokens}{dollars}   {span(attempt.seconds)}")
    table.add_row("seed", str(attempt.seed))
    if view.tries > 1:
        table.add_row("try", f"{attempt.try_number}, of {view.tries}; --try N shows another")
    for sign in view.signs:
        table.add_row("sign", Text(brief(f"turn {sign.turn} {sign.what}: {sign.words}"), style="yellow"))
    return Padding(table, (1, 1, 0, 1))


def _call(page: _Page, tool: str, arguments: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A call as a person would write it: lines with their styles."""
    path = page.word(arguments.get("path") or ".")
    match tool:
        case "bash":
            first, *others = page.lines(str(arguments.get("command", "")), CALL_LINES) or [""]
            return [(f"$ {first}", "cyan"), *((f"  {line}", "cyan") for line in others)]
        case "view":
            start, end = arguments.get("start"), arguments.get("end")
            lines = f":{page.word(start or 1)}-{page.word(end or '')}" if start or end else ""
            return [(f"view {path}{lines}", "cyan")]
        case "search":
            return [(f"search {page.word(arguments.get('pattern'))} in {path}", "cyan")]
        case "edit":
            return _edit(page, path, arguments)
        case _:
            written = json.dumps(arguments, ensure_ascii=False) if arguments else ""
            return [(f"{page.word(tool)} {page.word(written)}".rstrip(), "cyan")]


def _edit(page: _Page, path: str, arguments: Mapping[str, Any]) -> list[tuple[str, str]]:
    command = page.word(arguments.get("command"))
    old = str(arguments.get("old") or "") if command == "replace" else ""
    new = str(arguments.get("new") or "")
    place = f" after line {page.word(arguments.get('line'))}" if command == "insert" else ""
    if max(old.count("\n"), new.count("\n")) > DIFF_LINES:
        half = CALL_LINES // 2
        changed = [f"-{line}" for line in page.lines(old, half)] + [f"+{line}" for line in page.lines(new, half)]
    else:
        # The first two lines name files, and lines with @@ name places; neither is known here.
        before, after = (page.lines(text, DIFF_LINES) for text in (old, new))
        told = list(unified_diff(before, after, n=2, lineterm=""))[2:]
        changed = [line for line in told if not line.startswith("@@")]
    hues = {"+": "green", "-": "red"}
    return [(f"edit {path}: {command}{place}", "cyan"), *((f"  {line}", hues.get(line[:1], "")) for line in changed)]


def _submitted(submission: Submission, page: _Page) -> RenderableType:
    """A patch with its lines coloured; anything else, and a very long one, as it is."""
    text = "\n".join(page.lines(submission.body.decode("utf-8", "replace").rstrip("\n"), *PATCH_LINES))
    if len(text) > LAID_OUT:
        return text
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
    reason = f"   {brief(attempt.reason)}" if attempt.reason else ""
    yield Padding(Text.assemble(("verdict: ", "bold"), outcome(attempt), reason), (1, 0, 0, 1))
    differs = attempt.official is not None and attempt.official != (attempt.outcome is Outcome.RESOLVED)
    if attempt.official is not None and attempt.outcome and (differs or attempt.flags):
        yield page.label(f"by the harness's own score: {'resolved' if attempt.official else 'unresolved'}")
    flaky = ("another run of the tests gave a different verdict",) if attempt.flaky else ()
    for flag in (*flaky, *attempt.flags):
        yield Padding(Text(brief(flag), style="yellow"), (0, 0, 0, INDENT))
    # Tests that fail come first; of all of them only as many are shown as there is room for.
    order = sorted(view.tests.items(), key=lambda test: test[1].lower() == "passed")
    failing = sum(status.lower() != "passed" for status in view.tests.values())
    room = len(order) if page.full else max(TESTS, min(failing, FAILING))
    lines = Text(overflow="fold")
    for test, status in order[:room]:
        lines.append(f"{brief(status).lower():<8}", "green" if status.lower() == "passed" else "red")
        lines.append(f" {brief(test)}\n")
    if len(order) > room:
        lines.append(f"… {len(order) - room} more{'' if failing > room else ' that passed'}\n", "dim")
    lines.rstrip()
    if view.tests:
        yield Padding(lines, (0, 0, 0, INDENT))
    if log:
        yield page.label("verifier's log" if view.log else "verifier's log: empty")
        yield plain(view.log).rstrip("\n")
