"""Calls that are a name with its arguments as JSON behind it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from agent.actions.lenient import read_prefix
from agent.actions.notations.call import BAR, NAME, Call, Known

__all__ = ["named_calls", "trailing_call"]

NAMED = re.compile(
    rf"<{BAR}tool[_▁]call[_▁]begin{BAR}>\s*(?:function<{BAR}tool[_▁]sep{BAR}>)?\s*(?P<kimi>{NAME})\s*"
    rf"(?:<{BAR}(?:tool[_▁]call[_▁]argument[_▁]begin|tool[_▁]sep){BAR}>)?"
    rf"|\[TOOL_CALLS\]\s*(?P<mistral>{NAME})\s*(?:(?:\[CALL_ID\][\w-]*)?\[ARGS\]|(?=\{{))"
    rf"|(?m:^>>>(?P<functionary>{NAME})\n(?=\{{))"
    rf"|<{BAR}recipient{BAR}>\s*(?P<recipient>{NAME})\s*<{BAR}content{BAR}>"
    rf"|<{BAR}channel{BAR}>[^<{{]{{0,60}}?\bto=(?P<harmony>{NAME})[^{{]{{0,80}}?<{BAR}message{BAR}>"
    rf"|\bto=(?P<to>{NAME})\s*(?:<{BAR}channel{BAR}>\w+)?[^{{<]{{0,60}}(?:<{BAR}constrain{BAR}>\w*)?\s{{0,8}}<{BAR}message{BAR}>"
    rf"|(?:\b|(?<=assistant))(?:commentary|analysis)?\s{{1,8}}to=(?P<plain>functions\.{NAME}|{NAME})\s*(?:json|code)?\s*(?=\{{)"
    rf"|<(?:\w+[:_])?tool_call>\s*(?P<hunyuan>{NAME})\s*(?=```(?:json)?\s*\{{|\{{)"
    rf"|<(?:start_function_call|\|tool_call)>\s*call:(?P<gemma>{NAME})"
)
ESCAPED = re.compile(r"(<escape>.*?<escape>|<\|\"\|>.*?<\|\"\|>)", re.DOTALL)  # Gemma's texts, with its marks around
MARK = re.compile(r"<escape>|<\|\"\|>")
FENCED = re.compile(r"\s*(?:```(?:json)?\s*)?")
TRAILING = re.compile(rf"(?m)^[ \t]*(?P<name>{NAME})[ \t]*(?:\[CALL_ID\][\w-]*)?(?:\[ARGS\])?[ \t]*\n?[ \t]*(?=\{{)")


def named_calls(text: str, cut: bool, known: Known) -> Iterator[Call]:
    """Names between marks."""
    for found in NAMED.finditer(text):
        name = next(one for one in found.groups() if one)
        opening = FENCED.match(text, found.end())
        at = opening.end() if opening else found.end()
        if not text.startswith("{", at):
            if not cut:
                yield Call(name, {}, *found.span())
            continue
        rest = text[at:]
        arguments, end = read_prefix("".join(map(_quoted, ESCAPED.split(rest))) if found["gemma"] else rest, closed=cut)
        end = _place(rest, end) if found["gemma"] else end
        if isinstance(arguments, dict):
            yield Call(name, arguments, found.start(), at + end)


def trailing_call(text: str, cut: bool, known: Known) -> Iterator[Call]:
    """Names at the beginning of a line, where their arguments end the reply: what is left when marks are removed."""
    for found in TRAILING.finditer(text):
        if known(found["name"]):
            arguments, end = read_prefix(text[found.end() :], closed=cut)
            if isinstance(arguments, dict) and not text[found.end() + end :].strip():
                yield Call(found["name"], arguments, found.start(), found.end() + end)
                return


def _quoted(part: str) -> str:
    """A part of a text, with quotation marks where it is in Gemma's."""
    return json.dumps(MARK.sub("", part)) if ESCAPED.fullmatch(part) else part


def _place(text: str, end: int) -> int:
    """The place in a text of one in the text with quotation marks for Gemma's."""
    place = 0
    for part in ESCAPED.split(text):
        length = len(_quoted(part))
        if length >= end:
            return place + (len(part) if ESCAPED.fullmatch(part) else end)
        end -= length
        place += len(part)
    return place
