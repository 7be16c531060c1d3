"""Calls as JSON objects: between marks, or as all that there is in a reply, in a fence or at its end."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from agent.actions.lenient import read_json, read_prefix
from agent.actions.notations.call import BAR, Call, Known
from agent.actions.notations.quotes import FENCE

__all__ = ["bare_objects", "marked_objects"]

NAMES = ("name", "tool", "tool_name", "function_name", "function", "action", "recipient_name")
ARGUMENTS = ("arguments", "parameters", "args", "input", "params", "action_input", "tool_input", "kwargs")
ASIDE = ("id", "type", "thought", "thoughts", "reasoning", "tool_call_id")
WITHIN = (
    "function_call",
    "tool_call",
    "function",
)  # keys of the object that is the call, from the outer one to the inner
# Marks with one object behind them, a list of objects, or one object after another.
MARK = re.compile(
    rf"<{BAR}?/?(?:\w+[:_])?(?:tool_?calls?|function_?calls?|python_tag|python_start|START_ACTION|tools?|tool_?use|action|"
    rf"plugin|tools_prefix|tool_?calls?_(?:start|begin)){BAR}?>"
    r"|\[TOOL_CALLS\]|\bfunctools(?=\[)|(?m:^Action:[ \t]*```(?:json)?[ \t]*\n)",
    re.IGNORECASE,
)
BETWEEN = re.compile(r"\s*[;,]?\s*")
WORDS = ("json", "tool_call", "tool_code", "tool_use", "tool", "action", "python", "xml", "")


def marked_objects(text: str, cut: bool, known: Known) -> Iterator[Call]:
    """Objects behind the marks of a notation."""
    end = 0
    for mark in MARK.finditer(text):
        at = mark.end() + len(text[mark.end() :]) - len(text[mark.end() :].lstrip())
        if mark.start() < end or text[at : at + 1] not in ("{", "[") or MARK.match(text, at):
            continue
        for found, end in _several(text, at, cut):
            yield from _calls(found, mark.start(), end, known)


def bare_objects(text: str, cut: bool, known: Known) -> Iterator[Call]:
    """Objects that are the whole reply, or in fences of their own, or its end."""
    start = len(text) - len(text.lstrip())
    if text[start : start + 1] in ("{", "["):
        for found, end in _several(text, start, cut):
            yield from _calls(found, start, end, known)
        return
    for fence in FENCE.finditer(text):
        at = fence.start("body") + len(fence["body"]) - len(fence["body"].lstrip())
        if fence["word"].lower() in WORDS and text[at : at + 1] in ("{", "["):
            found, end = read_prefix(text[at:], closed=cut)
            yield from _calls(found, at, at + end, known)
    for line in re.finditer(r"(?m)^[{\[]", text):
        objects = list(_several(text, line.start(), cut))
        if not text[objects[-1][1] :].strip():
            for found, end in objects:
                yield from _calls(found, line.start(), end, known)
            return


def _several(text: str, at: int, cut: bool) -> Iterator[tuple[Any, int]]:
    """The objects and lists that follow one another from a place on, each with its end. Raises `ValueError`."""
    while text[at : at + 1] in ("{", "["):
        found, length = read_prefix(text[at:], closed=cut)
        at += length
        yield found, at
        between = BETWEEN.match(text, at)
        at = between.end() if between else at


def _calls(found: Any, start: int, end: int, known: Known) -> Iterator[Call]:
    """The calls in an object or in a list of objects."""
    if isinstance(found, list):
        for one in found:
            yield from _calls(one, start, end, known)
    elif isinstance(found, dict):
        for key in ("tool_calls", "tool_uses", "calls"):
            if isinstance(found.get(key), list):
                yield from _calls(found[key], start, end, known)
                return
        for key in WITHIN:
            if isinstance(found.get(key), dict):
                found = found[key]
        yield from _one(found, start, end, known)


def _one(found: Mapping[str, Any], start: int, end: int, known: Known) -> Iterator[Call]:
    name = next((found[key] for key in NAMES if isinstance(found.get(key), str)), "")
    if not name and len(found) == 1:  # {NAME: {...}}
        [(key, inner)] = found.items()
        if known(key) and isinstance(inner, dict):
            yield Call(key, inner, start, end)
        return
    rest = {key: one for key, one in found.items() if one != name and key not in ASIDE}
    arguments = next((found[key] for key in ARGUMENTS if key in found), rest)
    if isinstance(arguments, str):
        try:
            arguments = read_json(arguments)
        except ValueError:
            arguments = str(arguments)
    if name and isinstance(arguments, dict | str):
        yield Call(name, arguments, start, end)
