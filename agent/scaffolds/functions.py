"""The functions of a Python source file: found as text, and replaced as text.

Guarantees: a function is offered only if its text can be put back to the byte. A replacement keeps the file's line
ends, the function's place and indentation, and the decorators that the new text leaves out. Everything outside the
function stays as it was. A replacement is refused if the file would no longer be Python, or no longer define a function
of that name. The text is never run.
"""

from __future__ import annotations

import ast
import textwrap
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Function", "FunctionNode", "definitions", "find_functions", "parsed", "same_code", "with_function"]

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef
BROKEN = (SyntaxError, ValueError, RecursionError, MemoryError)  # what parsing a text that is not Python may raise


@dataclass(frozen=True, slots=True)
class Function:
    """One function or method: where it stands, and its text, with decorators, from the left margin."""

    path: str
    qualname: str
    text: str
    first: int = 0  # its lines in the file, from 1
    last: int = 0
    body: int = 0  # the first line of its first statement

    @property
    def name(self) -> str:
        return self.qualname.rpartition(".")[2]


def find_functions(path: str, source: bytes) -> list[Function]:
    """The functions of modules and classes in the order of the file; none of a file that cannot be parsed.

    Functions within functions are part of these. Names that a file defines twice (such as a property and its setter)
    are left out, because they are ambiguous.
    """
    try:
        lines = _lines(source)
        tree = parsed("".join(lines))
    except BROKEN:
        return []
    found = list(_named(tree.body))
    times = Counter(qualname for qualname, _ in found)
    functions = []
    for qualname, node in found:
        block = _block(lines, node)
        text = textwrap.dedent("".join(block))
        if times[qualname] == 1 and _stripped(_indented(text, _margin(lines, node))) == _stripped("".join(block)):
            functions.append(
                Function(path, qualname, text, _start(node) + 1, node.end_lineno or 0, node.body[0].lineno)
            )
    return functions


def with_function(source: bytes, qualname: str, text: str) -> bytes:
    """The file with the function `qualname` replaced by `text`. Raises `ValueError`."""
    try:
        lines = _lines(source)
        nodes = [node for name, node in _named(parsed("".join(lines)).body) if name == qualname]
    except BROKEN as error:
        raise ValueError(f"the file cannot be read as Python: {error}") from None
    if len(nodes) != 1:
        raise ValueError(f"the file does not define {qualname} once")
    node = nodes[0]
    start = _start(node) if _decorated(text) else node.lineno - 1
    end = node.end_lineno or node.lineno
    put = _indented(text.strip("\n") + "\n", _margin(lines, node))
    whole = "".join([*lines[:start], put, *lines[end:]])
    try:
        if [name for name, _ in _named(parsed(whole).body)].count(qualname) != 1:
            raise ValueError(f"the file would not define {qualname} once")
    except BROKEN as error:
        raise ValueError(f"the file would no longer be Python: {error}") from None
    ending = b"\r\n" if b"\r\n" in source else b"\n"
    mark = b"\xef\xbb\xbf" if source.startswith(b"\xef\xbb\xbf") else b""
    return mark + whole.encode().replace(b"\n", ending)


def parsed(text: str) -> ast.Module:
    """The text as Python. Raises one of the errors in `BROKEN`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings about the repository's code are of no interest
        return ast.parse(text)


def definitions(tree: ast.AST) -> list[FunctionNode]:
    """All functions in a tree, outer ones first."""
    return [node for node in ast.walk(tree) if isinstance(node, FunctionNode)]


def same_code(one: str, other: str) -> bool:
    """Whether two functions differ in no more than comments, layout and docstrings."""
    return _code(one) == _code(other)


def _code(text: str) -> list[str]:
    tree = parsed(text)
    for node in definitions(tree):
        if ast.get_docstring(node, clean=False) is not None and len(node.body) > 1:
            node.body.pop(0)
    return [ast.dump(node) for node in tree.body]


def _lines(source: bytes) -> list[str]:
    """The lines as Python counts them, ended by line feeds. Raises `ValueError` for what could not be put back."""
    text = source.decode("utf-8-sig")
    if "\r" in text:
        if text.count("\r") != text.count("\r\n") or text.count("\n") != text.count("\r\n"):
            raise ValueError("mixed line ends")
        text = text.replace("\r\n", "\n")

    parts = text.split("\n")
    return [f"{part}\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])


def _named(body: list[ast.stmt], inside: str = "") -> Iterator[tuple[str, FunctionNode]]:
    for node in body:
        if isinstance(node, FunctionNode):
            yield inside + node.name, node
        elif isinstance(node, ast.ClassDef):
            yield from _named(node.body, f"{inside}{node.name}.")


def _start(node: FunctionNode) -> int:
    return min([node.lineno, *(one.lineno for one in node.decorator_list)]) - 1


def _block(lines: list[str], node: FunctionNode) -> list[str]:
    return lines[_start(node) : node.end_lineno]


def _decorated(text: str) -> bool:
    return text.lstrip().startswith("@")


def _margin(lines: list[str], node: FunctionNode) -> str:
    line = lines[node.lineno - 1]
    return line[: len(line) - len(line.lstrip())]


def _indented(text: str, margin: str) -> str:
    return textwrap.indent(text, margin)


def _stripped(text: str) -> list[str]:
    return [line.rstrip() for line in text.strip("\n").split("\n")]
