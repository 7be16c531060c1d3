"""The functions in a model's reply.

Read tolerantly: with or without fences, fences left open or never opened, prose around, several blocks, a class around
a method, a method still indented, and a body without its head. A function with a mistake in it is never cut down to the
part that is right.
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

from agent.scaffolds.functions import BROKEN, definitions, parsed

__all__ = ["Written", "written_code", "written_functions"]

FENCE = re.compile(r"[ \t]*(?:`{3,}|~{3,})[ \t]*([\w+-]*)(.*)$")
HEAD = re.compile(r"(?:async[ \t]+)?def[ \t]|@\w|class[ \t]")
INDENTED_HEAD = re.compile(rf"[ \t]*(?:{HEAD.pattern})")
PYTHON = ("", "py", "python", "python3")


@dataclass(frozen=True, slots=True)
class Written:
    """One function as a model wrote it, from the left margin; `problem` says why it is not Python, if it is not."""

    name: str
    text: str
    problem: str = ""


def written_code(text: str, *, cut: bool = False) -> str:
    """The code in a reply without prose and fences; empty if there is none. `cut`: the end of the reply is missing."""
    blocks, closed = _fenced(text.split("\n"))
    if cut and not closed:
        blocks[-1] = _without_last(blocks[-1])
    return "\n\n".join(block for block in blocks if block.strip())


def written_functions(code: str, head: str = "") -> list[Written]:
    """The functions in the code, in order. Code that can only be the body of a function gets this `head`."""
    try:
        return _functions(code) or _bodies(code, head)
    except BROKEN:
        pass  # one part is not Python; the others may be
    found: list[Written] = []
    for part in _parts(code):
        if not HEAD.match(part):
            continue
        try:
            found += _functions(part)
        except BROKEN as error:
            name = re.search(r"def[ \t]+(\w+)", part)
            found.append(Written(name[1] if name else "", part, _told(error)))
    return found or _bodies(code, head)


def _fenced(lines: list[str]) -> tuple[list[str], bool]:
    """The Python blocks, or all from the first head on where none is fenced; and whether the last was closed."""
    blocks: list[str] = []
    block: list[str] | None = None
    for line in lines:
        fence = FENCE.match(line)
        if fence is None:
            if block is not None:
                block.append(line)
        elif block is None or (fence[1] and not fence[2]):
            if block is not None:
                blocks.append(_margined(block))
            block = [] if fence[1].lower() in PYTHON else None
        else:
            blocks.append(_margined(block))
            block = None
    if block is not None:
        return [*blocks, _margined(block)], False
    if blocks:
        return blocks, True
    start = next((at for at, line in enumerate(lines) if INDENTED_HEAD.match(line)), None)
    return ([_margined(lines[start:])], False) if start is not None else ([""], True)


def _margined(lines: list[str]) -> str:
    """The lines, moved to the left so that the first one stands at the margin."""
    lines = [line.rstrip() for line in lines]
    first = next((line for line in lines if line), "")
    width = len(first) - len(first.lstrip())
    return "\n".join(line[min(width, len(line) - len(line.lstrip())) :] for line in lines).strip("\n")


def _without_last(block: str) -> str:
    return "\n".join(list(_parts(block))[:-1])


def _parts(code: str) -> Iterator[str]:
    """The parts between lines at the margin, each with its decorators."""
    part: list[str] = []
    for line in code.split("\n"):
        begins = bool(line) and not line[0].isspace() and line[0] not in ")]}"
        if begins and part and not part[-1].startswith("@"):
            yield "\n".join(part)
            part = []
        part.append(line)
    yield "\n".join(part)


def _functions(code: str) -> list[Written]:
    tree, lines = parsed(code), code.split("\n")
    found = []
    for node in sorted(definitions(tree), key=lambda node: node.lineno):
        start = min([node.lineno, *(one.lineno for one in node.decorator_list)]) - 1
        found.append(Written(node.name, textwrap.dedent("\n".join(lines[start : node.end_lineno])) + "\n"))
    return found


def _bodies(code: str, head: str) -> list[Written]:
    """The code as the body of a function with this head, if it can be nothing else: it returns or yields."""
    try:
        tree = parsed(whole := f"{head}\n{textwrap.indent(textwrap.dedent(code), '    ')}\n")
        returns = any(isinstance(node, ast.Return | ast.Yield | ast.YieldFrom) for node in ast.walk(tree))
    except BROKEN:
        return []
    return [Written(definitions(tree)[0].name, whole)] if returns and len(definitions(tree)) == 1 else []


def _told(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return f"{error.msg} in its line {error.lineno}"
    return str(error) or type(error).__name__
