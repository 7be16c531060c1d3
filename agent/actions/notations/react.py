"""Calls as ReAct writes them: an action, and its input as JSON or as a text."""

from __future__ import annotations

import re
from collections.abc import Iterator

from agent.actions.lenient import read_prefix
from agent.actions.notations.call import NAME, Call, Known

__all__ = ["react_calls"]

ACTION = re.compile(rf"(?mi)^[ \t*#]*Action(?:[ \t]*\d+)?[ \t]*:\**:?[ \t]*[`\"']?(?P<name>{NAME})[`\"']?")
INPUT = re.compile(r"\**[ \t]*\n*[ \t*#]*Action[ \t_]*Input(?:[ \t]*\d+)?[ \t]*:\**:?[ \t]*\n?", re.IGNORECASE)
BRACKET = re.compile(r"\[(?P<text>[^\n]*)\][ \t]*(?=\n|\Z)")
STOP = re.compile(r"\n[ \t*]*(?:Observation|Thought|Action|PAUSE|Final Answer)\b[^\n]*|\Z", re.IGNORECASE)
PARAGRAPH = re.compile(rf"\n[ \t]*\n|{STOP.pattern}", re.IGNORECASE)
ALONE = re.compile(r"[ \t*]*(?:\n\s*Observation|\s*\Z)", re.IGNORECASE)
QUOTED = re.compile(r"\A(?:```\w*\n(?P<fence>.*?)\n?```|`(?P<code>[^`\n]*)`|\"(?P<text>[^\"\n]*)\")\Z", re.DOTALL)


def react_calls(text: str, cut: bool, known: Known) -> Iterator[Call]:
    """`Action: NAME` with `Action Input: ...`, with `[...]` behind it, or alone at the end."""
    for found in ACTION.finditer(text):
        if not known(found["name"]):
            continue
        if given := INPUT.match(text, found.end()):
            yield from _with_input(text, found, given.end(), cut)
        elif bracket := BRACKET.match(text, found.end()):
            if not (cut and bracket.end() == len(text)):
                yield Call(found["name"], bracket["text"], found.start(), bracket.end())
        elif not cut and ALONE.match(text, found.end()):
            yield Call(found["name"], {}, *found.span())


def _with_input(text: str, found: re.Match[str], at: int, cut: bool) -> Iterator[Call]:
    if text[at:].lstrip()[:1] == "{":
        at += len(text[at:]) - len(text[at:].lstrip())
        arguments, end = read_prefix(text[at:], closed=cut)
        if isinstance(arguments, dict):
            yield Call(found["name"], arguments, found.start(), at + end)
        return
    stop = (STOP if "<<" in text[at:].partition("\n")[0] else PARAGRAPH).search(text, at)
    end = stop.start() if stop else len(text)
    if cut and end == len(text):
        return
    said = text[at:end].strip()
    quoted = QUOTED.match(said)
    inner = next((one for one in quoted.groups() if one is not None), said) if quoted else said
    if inner.lstrip()[:1] == "{":
        given, _ = read_prefix(inner, closed=cut)
        yield Call(found["name"], given, found.start(), end)
    else:
        yield Call(found["name"], inner if inner.lower() not in ("", "none", "n/a") else {}, found.start(), end)
