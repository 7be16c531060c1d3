"""Calls in tags: of a notation that names the tool in an attribute or a tag, or in tags with the tool's own name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from agent.actions.lenient import read_json
from agent.actions.notations.call import BAR, NAME, Call, Known, value

__all__ = ["called_tags", "own_tags", "pair_tags"]

SPACE = rf"(?:{BAR}?DSML{BAR}?|[\w-]+:)?"  # a namespace
XML = re.compile(
    rf"<{SPACE}(?:function=|(?:invoke|function|tool|tool_call|function_call|action)\s+name\s*=\s*)"
    rf"[\"']?(?P<name>{NAME})[\"']?(?:\s[^<>]*?)?(?P<alone>/)?>(?(alone)|(?P<body>.*?)"
    rf"(?P<closed></{SPACE}(?:function|invoke|tool|function_call|action)>|</{SPACE}tool_call>(?=\s*(?:<{SPACE}tool_call|\Z))|\Z))",
    re.DOTALL,
)
PARAMETER = re.compile(
    rf"<{SPACE}(?:parameter=|(?:parameter|param|arg|argument)\s+name\s*=\s*)[\"']?(?P<key>[\w.-]+)[\"']?[^>]*>"
    rf"(?P<value>.*?)(?:</{SPACE}(?:parameter|param|arg|argument)>|(?=<(?:parameter|param)[ =])|\Z)",
    re.DOTALL,
)
LABELLED = re.compile(
    rf"<(?P<outer>{SPACE}(?:invoke|tool_use|use_mcp_tool|tool_call|function_call|tool|call|action))>\s*"
    r"(?:<(?:server_name|id|type)>[^<]*</\w+>\s*)*"
    rf"<(?P<label>tool_name|name|tool|function|function_name)>\s*(?P<name>{NAME})\s*</(?P=label)>(?P<body>.*?)"
    r"(?P<closed></(?P=outer)>|\Z)",
    re.DOTALL,
)
INNER = re.compile(
    r"\s*<(?P<tag>parameters|arguments|args|input|params|tool_input)>(?P<body>.*)</(?P=tag)>\s*", re.DOTALL
)
GLM = re.compile(
    rf"<(?:\w+_)?tool_call>\s*(?P<name>{NAME})\s*(?:<tool_sep>\s*)?"
    r"(?P<body>(?:<(?:\w+_)?arg_key>.*?</(?:\w+_)?arg_value>\s*)*)(?P<closed></(?:\w+_)?tool_call>|\Z)",
    re.DOTALL,
)
PAIR = re.compile(
    r"<(?:\w+_)?arg_key>(?P<key>.*?)</(?:\w+_)?arg_key>\s*<(?:\w+_)?arg_value>(?P<value>.*?)</(?:\w+_)?arg_value>",
    re.DOTALL,
)
OPEN = re.compile(r"(?m)^[ \t]*<(?P<name>[A-Za-z_][\w-]*)[ \t]*(?P<alone>/)?>")
CHILD = re.compile(r"\s*<(?P<key>[A-Za-z_][\w-]*)>")
NESTS = ("args", "arguments", "parameters", "params", "input", "file")


def called_tags(text: str, cut: bool, known: Known) -> Iterator[Call]:
    """`<function=NAME>`, `<invoke name="NAME">` and their like, with parameters or an object, and labelled names."""
    for found in XML.finditer(text):
        given = _parameters(found["body"] or "")
        if given is not None and (found["closed"] or found["alone"] or not cut):
            yield Call(found["name"], given, *found.span())
    for found in LABELLED.finditer(text):
        inner = INNER.fullmatch(found["body"])
        given = _children((inner or found)["body"])
        if given is not None and (found["closed"] or not cut):
            yield Call(found["name"], given, *found.span())


def pair_tags(text: str, cut: bool, known: Known) -> Iterator[Call]:
    """Names with pairs of keys and values."""
    for found in GLM.finditer(text):
        if not (cut and not found["closed"]):
            given = {one["key"].strip(): value(one["value"]) for one in PAIR.finditer(found["body"])}
            yield Call(found["name"], given, *found.span())


def own_tags(text: str, cut: bool, known: Known) -> Iterator[Call]:
    """Tags with the name of a tool, which begin a line."""
    at, unclosed = 0, set[str]()
    while opened := OPEN.search(text, at):
        at = opened.end()
        name = opened["name"]
        if not known(name):
            continue
        if opened["alone"]:
            yield Call(name, {}, *opened.span())
            continue
        closing = -1 if name in unclosed else text.find(f"</{name}>", at)
        if closing < 0 and (cut or name in unclosed or not text.startswith("\n", at)):
            unclosed.add(name)
            continue
        end = closing if closing >= 0 else len(text)
        body = text[at:end]
        given: Mapping[str, Any] | str | None = _children(body)
        if given is None and not CHILD.match(body):
            given = value(body).strip("\n")
        if given is not None:
            at = end + len(f"</{name}>") if closing >= 0 else end
            yield Call(name, given, opened.start(), at)
        elif closing < 0:
            unclosed.add(name)


def _parameters(body: str) -> dict[str, Any] | None:
    """The parameters in a body, or the object in it; None where it holds something else."""
    given: dict[str, Any] = {one["key"]: value(one["value"]) for one in PARAMETER.finditer(body)}
    return given or _children(body)


def _children(body: str) -> dict[str, Any] | None:
    """The values of the tags in a body, or the object in it; empty for an empty body, None for something else."""
    if body.strip()[:1] == "{":
        given = read_json(body)
        return given if isinstance(given, dict) else None
    found: dict[str, Any] = {}
    at = 0
    while child := CHILD.match(body, at):
        key = child["key"]
        closing = body.rfind(f"</{key}>")  # a file's content may hold such tags
        if closing < child.end():
            return None
        inner = body[child.end() : closing]
        nested = _children(inner) if key in NESTS else None
        found |= nested if nested else {key: value(inner)}
        at = closing + len(f"</{key}>")
    return None if body[at:].strip() else found
