"""A page of Python as the monkey reads it: its functions, and the places that could be changed.

A page is what `view` showed: a whole file, or some lines from the middle of one. Such lines seldom parse as they stand,
so `read` looks for a part of whole definitions in them and adds the headers that its indentation needs (`prefix`). All
positions are offsets in `ModuleSource.code`, which is the prefix and that part. `ModuleSource.edited` puts a change of
the code back into the page and leaves every other character as it was.

Reading is a pure function of the text and is cached, because the attempts at one issue read the same few files again
and again.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Generic, TypeVar, cast

__all__ = ["Change", "ModuleSource", "Place", "Site", "Unit", "read"]

# One edit of the code: from, to, the text that comes there instead.
Change = tuple[int, int, str]

E_co = TypeVar("E_co", bound=ast.expr, covariant=True)
E = TypeVar("E", bound=ast.expr)

_OPENING = re.compile(r" *(?:async def |def |class |@)")
_TRIES = 8
_COPIED = 80  # characters: longer expressions are not copied elsewhere
_WIDE = (ast.BoolOp, ast.Compare, ast.BinOp, ast.UnaryOp, ast.IfExp, ast.Lambda, ast.Await, ast.NamedExpr)
_NOT_MOVED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)
_EXITS = (ast.Return, ast.Raise, ast.Continue, ast.Break)


@dataclass(frozen=True, slots=True, eq=False)
class Site(Generic[E_co]):
    """An expression that could be replaced. `loose`: anything may stand there without brackets."""

    node: E_co
    loose: bool
    called: bool


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """A statement on lines of its own, in a block; `outer` is the statement that the block belongs to, if any."""

    node: ast.stmt
    block: Sequence[ast.stmt]
    index: int
    outer: Place | None
    loop: bool


@dataclass(eq=False)
class Unit:
    """One function or method, or (with an empty name) what a module has outside of them."""

    name: str
    first: int
    last: int
    sites: list[Site[ast.expr]] = field(default_factory=list)
    targets: list[Site[ast.expr]] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    names: dict[str, None] = field(default_factory=dict)
    calls: dict[str, None] = field(default_factory=dict)
    comprehensions: list[ast.comprehension] = field(default_factory=list)
    exceptions: list[ast.expr] = field(default_factory=list)
    conditions: list[ast.expr] = field(default_factory=list)

    @cached_property
    def identifiers(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.names, *self.calls)))

    def sites_of(self, kind: type[E]) -> list[Site[E]]:
        return [cast("Site[E]", site) for site in self.sites if isinstance(site.node, kind)]


class ModuleSource:
    """A page that parses: its units, and what may be copied from one place to another."""

    def __init__(self, before: str, prefix: str, body: str, after: str) -> None:
        """Raises SyntaxError (or its like) if prefix and body are not Python."""
        self.before, self.prefix, self.body, self.after = before, prefix, body, after
        self.code = prefix + body
        self.lines = self.code.split("\n")
        self.starts = [0]
        for line in self.lines:
            self.starts.append(self.starts[-1] + len(line) + 1)
        # A line of the code is this many lines further down in the page.
        self.skipped = before.count("\n") - prefix.count("\n")
        self.units = _ModuleReader(self).units(_parsed(self.code))

    @property
    def page(self) -> str:
        return self.before + self.body + self.after

    def edited(self, change: Change) -> str | None:
        """The page after the change; None if it would say the same or would no longer compile."""
        start, end, text = change
        code = self.code[:start] + text + self.code[end:]
        if start < len(self.prefix) or code == self.code or not _compiles(code):
            return None
        return self.before + code[len(self.prefix) :] + self.after

    def offset(self, line: int, column: int) -> int:
        """An offset in the code, of a line from 1 and a column in UTF-8 bytes, as `ast` counts them."""
        text = self.lines[line - 1]
        return self.starts[line - 1] + (column if text.isascii() else len(text.encode()[:column].decode()))

    def span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        last, column = node.end_lineno or node.lineno, node.end_col_offset or 0
        return self.offset(node.lineno, node.col_offset), self.offset(last, column)

    def text(self, node: ast.expr | ast.stmt) -> str:
        start, end = self.span(node)
        return self.code[start:end]

    def rows(self, first: ast.stmt, last: ast.stmt) -> tuple[int, int]:
        """The span of the whole lines from one statement to another, without the last one's line end."""
        return self.starts[first.lineno - 1], self.starts[last.end_lineno or last.lineno] - 1

    def indent(self, node: ast.stmt) -> str:
        return self.lines[node.lineno - 1][: node.col_offset]

    def wide(self, node: ast.expr) -> bool:
        """True if the expression needs brackets inside a larger one."""
        return isinstance(node, _WIDE) or (isinstance(node, ast.Tuple) and not self.text(node).startswith("("))

    def sites_of(self, kind: type[E]) -> list[Site[E]]:
        return [site for unit in self.units for site in unit.sites_of(kind)]

    @cached_property
    def attributes(self) -> list[str]:
        return _short(site.node.attr for site in self.sites_of(ast.Attribute) if not site.called)

    @cached_property
    def methods(self) -> list[str]:
        return _short(site.node.attr for site in self.sites_of(ast.Attribute) if site.called)

    @cached_property
    def functions(self) -> list[str]:
        """Plain names that are called, and functions that are defined."""
        called = [site.node.id for site in self.sites_of(ast.Name) if site.called]
        return _short([*called, *(unit.name for unit in self.units if unit.name and "." not in unit.name)])

    @cached_property
    def globals(self) -> list[str]:
        return _short(name for unit in self.units if not unit.name for name in unit.names)

    @cached_property
    def constants(self) -> list[str]:
        return _short(self.text(site.node) for site in self.sites_of(ast.Constant))

    @cached_property
    def conditions(self) -> list[str]:
        return _short(self.text(node) for unit in self.units for node in unit.conditions)

    @cached_property
    def exits(self) -> list[str]:
        """The statements that leave a function or a loop, as written."""
        places = [place for unit in self.units for place in unit.places if isinstance(place.node, _EXITS)]
        return _short(self.text(place.node) for place in places)

    @cached_property
    def keywords(self) -> list[str]:
        """Keyword arguments, as written in calls."""
        given = (keyword for site in self.sites_of(ast.Call) for keyword in site.node.keywords)
        return _short(f"{keyword.arg}={self.text(keyword.value)}" for keyword in given if keyword.arg)


@lru_cache(maxsize=64)
def read(page: str) -> ModuleSource | None:
    """The page, or a large part of whole definitions in it; None if none is found."""
    if "\r" in page:  # Python would count lines that the tools do not
        return None
    rows = page.split("\n")
    openings = [number for number, row in enumerate(rows) if _OPENING.match(row)]
    stretches = [(0, len(rows))]
    for head in [0, *openings[:3]]:
        stretches += [(head, tail) for tail in [len(rows), *openings[:-4:-1]] if tail > head]
    for head, tail in list(dict.fromkeys(stretches))[:_TRIES]:
        before = "".join(row + "\n" for row in rows[:head])
        after = "".join("\n" + row for row in rows[tail:])
        try:
            return ModuleSource(before, _headers(rows[head]), "\n".join(rows[head:tail]), after)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
    return None


def _headers(row: str) -> str:
    """The headers that a line with this indentation needs before it."""
    depth = len(row) - len(row.lstrip(" "))
    return "".join(" " * level + "if 1:\n" for level in range(0, depth, 4)) if row.strip() else ""


def _short(texts: Iterable[str]) -> list[str]:
    return [text for text in dict.fromkeys(texts) if "\n" not in text and len(text) <= _COPIED]


def _parsed(code: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(code)


def _compiles(code: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(code, "page", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


class _ModuleReader:
    """Walks a module once and sorts everything into the units."""

    def __init__(self, source: ModuleSource) -> None:
        self.source = source
        self.done: list[Unit] = []

    def units(self, tree: ast.Module) -> tuple[Unit, ...]:
        module = Unit("", 1, len(self.source.lines))
        self.done.append(module)
        self.block(tree.body, module, "", None, False)
        return tuple(unit for unit in self.done if unit.sites or unit.places)

    def block(self, block: list[ast.stmt], unit: Unit, owner: str, outer: Place | None, loop: bool) -> None:
        for index, node in enumerate(block):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                continue  # a docstring, or the like
            place = Place(node, block, index, outer, loop)
            if self.movable(place):
                unit.places.append(place)
            self.statement(place, unit, owner)

    def movable(self, place: Place) -> bool:
        node, lines = place.node, self.source.lines
        if isinstance(node, _NOT_MOVED) or self.source.indent(node).strip():
            return False
        rest = lines[(node.end_lineno or 1) - 1].encode()[node.end_col_offset or 0 :].strip()
        return not rest or rest.startswith(b"#")

    def statement(self, place: Place, unit: Unit, owner: str) -> None:
        node = place.node
        match node:
            case ast.ClassDef():
                unit.names[node.name] = None
                self.block(node.body, unit, f"{owner}{node.name}.", None, False)
                return
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                unit.names[node.name] = None
                if not unit.name:  # a function inside a function belongs to the outer one
                    unit = Unit(owner + node.name, node.lineno, node.end_lineno or node.lineno)
                    self.done.append(unit)
                self.arguments(node.args, unit)
                self.block(node.body, unit, owner, None, False)
                return
            case ast.If() | ast.While():
                unit.conditions.append(node.test)
            case ast.Raise(exc=ast.expr() as raised):
                unit.exceptions.append(raised.func if isinstance(raised, ast.Call) else raised)
        loop = place.loop or isinstance(node, (ast.For, ast.AsyncFor, ast.While))
        for name, value in ast.iter_fields(node):
            match value:
                case [ast.stmt(), *_]:
                    self.block(value, unit, owner, place, loop)
                case [ast.ExceptHandler(), *_]:
                    for handler in value:
                        self.handler(handler, unit, owner, place, loop)
                case [ast.AST(), *_]:
                    for item in value:
                        self.other(item, unit, owner, place, loop)
                case ast.expr() if name != "annotation":
                    self.expression(value, unit, loose=True)

    def handler(self, node: ast.ExceptHandler, unit: Unit, owner: str, place: Place, loop: bool) -> None:
        if node.type is not None:
            unit.exceptions.append(node.type)
        self.block(node.body, unit, owner, place, loop)

    def other(self, node: ast.AST, unit: Unit, owner: str, place: Place, loop: bool) -> None:
        match node:
            case ast.expr():
                self.expression(node, unit, loose=True)
            case ast.withitem():
                self.expression(node.context_expr, unit, loose=False)
                if node.optional_vars is not None:
                    self.expression(node.optional_vars, unit, loose=False)
            case ast.match_case():
                if node.guard is not None:
                    self.expression(node.guard, unit, loose=True)
                self.block(node.body, unit, owner, place, loop)

    def arguments(self, node: ast.arguments, unit: Unit) -> None:
        for argument in (*node.posonlyargs, *node.args, node.vararg, *node.kwonlyargs, node.kwarg):
            if argument is not None:
                unit.names[argument.arg] = None
        for default in (*node.defaults, *node.kw_defaults):
            if default is not None:
                self.expression(default, unit, loose=True)

    def expression(self, node: ast.expr, unit: Unit, *, loose: bool, called: bool = False) -> None:
        match node:
            case ast.JoinedStr() | ast.Starred(value=ast.JoinedStr()):
                return  # expressions in an f-string have no reliable position before Python 3.12
            case ast.Name():
                unit.names[node.id] = None
            case ast.Lambda():
                self.arguments(node.args, unit)
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
                unit.calls[name] = None
            case ast.IfExp():
                unit.conditions.append(node.test)
            case ast.BoolOp():
                unit.conditions += node.values
        self.note(node, unit, loose, called)
        if isinstance(node, ast.Call):
            self.expression(node.func, unit, loose=False, called=True)
        inside = isinstance(node, (ast.Call, ast.List, ast.Set, ast.Dict, ast.Subscript, ast.Slice))
        for name, value in ast.iter_fields(node):
            for child in value if isinstance(value, list) else (value,):
                match child:
                    case ast.expr() if not (isinstance(node, ast.Call) and name == "func"):
                        self.expression(child, unit, loose=inside and name != "value")
                    case ast.keyword():
                        self.expression(child.value, unit, loose=True)
                    case ast.comprehension():
                        self.comprehension(child, unit)

    def comprehension(self, node: ast.comprehension, unit: Unit) -> None:
        unit.comprehensions.append(node)
        unit.conditions += node.ifs
        for part in (node.target, node.iter, *node.ifs):
            self.expression(part, unit, loose=False)

    def note(self, node: ast.expr, unit: Unit, loose: bool, called: bool) -> None:
        if isinstance(node, (ast.Starred, ast.Slice, ast.GeneratorExp, ast.Yield, ast.YieldFrom)):
            return  # never replaced as a whole: they are not expressions of their own, or share their brackets
        if isinstance(getattr(node, "ctx", None), (ast.Store, ast.Del)):
            unit.targets.append(Site(node, loose, called))
        else:
            unit.sites.append(Site(node, loose, called))
