"""Calls as Python writes them, where the reply, a fence or what stands between marks holds nothing else."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from agent.actions.notations.call import BAR, Call, Known
from agent.actions.notations.quotes import FENCE

__all__ = ["python_calls"]

AROUND = re.compile(
    rf"<{BAR}?(?P<mark>function_calls|tool_code|tool_calls?|python)(?:_start)?{BAR}?>(?P<body>.*?)"
    rf"(?:<{BAR}?/?(?P=mark)(?:_end)?{BAR}?>|\Z)"
    rf"|<{BAR}python_tag{BAR}>(?P<tagged>[^<]*)",
    re.DOTALL,
)
ACTION = re.compile(r"(?m)^[ \t*]*Action:\**[ \t]*(?P<body>[A-Za-z_][\w.]*\([^\n]*\))[ \t]*$")
LAST = re.compile(r"(?m)^\[[ \t]*[A-Za-z_][\w.]*\(.*\)[ \t]*\]\s*\Z", re.DOTALL)
CALLS = re.compile(r"\[?\s*[A-Za-z_][\w.]*(?:\s*=\s*[A-Za-z_][\w.]*)?\(.*\)\s*\]?", re.DOTALL)
WORDS = ("tool_code", "tool_call", "python", "py")


def python_calls(text: str, cut: bool, known: Known) -> Iterator[Call]:
    """Calls with values that stand in them, by name or one by its place."""
    if cut:
        return
    places = [fence.span("body") for fence in FENCE.finditer(text) if fence["word"].lower() in WORDS]
    places += [around.span("tagged" if around["tagged"] is not None else "body") for around in AROUND.finditer(text)]
    places += [last.span() for last in LAST.finditer(text)]
    places += [action.span("body") for action in ACTION.finditer(text)]
    for start, end in places or [(0, len(text))]:
        if CALLS.fullmatch(text[start:end].strip()):
            found = list(_calls(text[start:end], start, end))
            if all(known(call.name) for call in found):
                yield from found


def _calls(text: str, start: int, end: int) -> Iterator[Call]:
    for statement in ast.parse(text.strip()).body:
        if not isinstance(statement, ast.Expr | ast.Assign):
            raise ValueError("something other than a call")
        called = statement.value
        if isinstance(called, ast.Call) and [type(one) for one in called.args] == [ast.Name]:
            continue  # the result of one of them is printed
        for one in called.elts if isinstance(called, ast.List) else [called]:
            yield _call(one, start, end)


def _call(tree: ast.expr, start: int, end: int) -> Call:
    if isinstance(tree, ast.Call) and ast.unparse(tree.func) == "print" and len(tree.args) == 1:
        tree = tree.args[0]
    if not isinstance(tree, ast.Call) or len(tree.args) > 1 or (tree.args and tree.keywords):
        raise ValueError("not a call with arguments by name")
    name = ast.unparse(tree.func).removesuffix(".call")
    if tree.args:
        return Call(name, str(ast.literal_eval(tree.args[0])), start, end)
    return Call(name, {one.arg: ast.literal_eval(one.value) for one in tree.keywords if one.arg}, start, end)
