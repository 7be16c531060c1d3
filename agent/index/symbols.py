"""The classes and functions of a source file, and the uses of a name, read by tree-sitter.

A file with mistakes is read as far as it can be. Of a language without a grammar there are no symbols.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

from agent.index.sources import FILES, Source
from envs.errors import MonkeysError

if TYPE_CHECKING:
    from tree_sitter import Node, Parser, Tree

__all__ = ["Symbol", "ToolsMissing", "Use", "check_installed", "inside", "symbols", "uses"]

CLASS, FUNCTION = "class", "function"


@dataclass(frozen=True, slots=True)
class Grammar:
    """Where a grammar is found, and which of its nodes define something. `scopes` only hold other definitions."""

    module: str
    classes: frozenset[str]
    functions: frozenset[str]
    scopes: frozenset[str] = frozenset()
    language: str = "language"


def _grammar(module: str, classes: str, functions: str, scopes: str = "", language: str = "language") -> Grammar:
    classes_, functions_, scopes_ = (frozenset(names.split()) for names in (classes, functions, scopes))
    return Grammar(f"tree_sitter_{module}", classes_, functions_, scopes_, language)


JAVASCRIPT = "function_declaration generator_function_declaration method_definition"
TYPES = "class_declaration abstract_class_declaration interface_declaration enum_declaration"
PYTHON = _grammar("python", "class_definition", "function_definition")
GRAMMARS = {
    **dict.fromkeys(("py", "pyi"), PYTHON),
    **dict.fromkeys(("js", "jsx", "mjs", "cjs"), _grammar("javascript", "class_declaration", JAVASCRIPT)),
    "ts": _grammar("typescript", TYPES, JAVASCRIPT, language="language_typescript"),
    "tsx": _grammar("typescript", TYPES, JAVASCRIPT, language="language_tsx"),
    "java": _grammar("java", f"{TYPES} record_declaration", "method_declaration constructor_declaration"),
    "go": _grammar("go", "type_spec", "function_declaration method_declaration"),
    "rs": _grammar("rust", "struct_item enum_item trait_item", "function_item function_signature_item", "impl_item"),
}
ARROWS = ("arrow_function", "function_expression")  # functions that get their name from a variable


@dataclass(frozen=True, slots=True)
class Symbol:
    """A class or function: `kind`, its name with those of the classes and functions around it, its lines from 1."""

    kind: str
    qualname: str
    first: int
    last: int

    @property
    def name(self) -> str:
        return self.qualname.rpartition(".")[2]


@dataclass(frozen=True, slots=True)
class Use:
    """A line, from 1, in which a name stands; `defines`: as the name of a class or function."""

    line: int
    defines: bool


class ToolsMissing(MonkeysError):
    """The libraries behind a tool are not installed."""


def check_installed(tool: str, *packages: str) -> None:
    """Raise `ToolsMissing` where tree-sitter or one of these packages is not installed."""
    for package in ("tree_sitter", "tree_sitter_python", *packages):
        if find_spec(package) is None:
            raise ToolsMissing(
                f"tool {tool} needs the package {package.replace('_', '-')}, which is not installed here; "
                "install it: pip install 'coding-monkeys[tools]'"
            )


@lru_cache(maxsize=FILES)
def symbols(source: Source) -> tuple[Symbol, ...]:
    """The classes and functions of a file, outer ones first."""
    grammar = GRAMMARS.get(_suffix(source.path))
    tree = _tree(grammar, source) if grammar else None
    return tuple(_defined(tree.root_node, grammar, "")) if grammar and tree else ()


def inside(source: Source, line: int) -> str:
    """The qualified name of the innermost class or function around a line; empty if there is none."""
    around = [one for one in symbols(source) if one.first <= line <= one.last]
    return around[-1].qualname if around else ""


def uses(source: Source, name: str) -> list[Use]:
    """The lines in which a name stands as an identifier, not in texts and comments."""
    grammar = GRAMMARS.get(_suffix(source.path))
    if not name or name not in source.text or grammar is None or (tree := _tree(grammar, source)) is None:
        return []
    found = dict[int, bool]()
    for place in re.finditer(rb"(?<!\w)" + re.escape(name.encode()) + rb"(?!\w)", _encoded(source)):
        node = tree.root_node.descendant_for_byte_range(*place.span())
        if node is not None and node.type.endswith("identifier") and node.text == place[0]:
            line = node.start_point[0] + 1
            found[line] = found.get(line, False) or _defines(node, grammar)
    return [Use(line, defines) for line, defines in sorted(found.items())]


def _defines(node: Node, grammar: Grammar) -> bool:
    """Whether an identifier is the name in a definition."""
    parent = node.parent
    return parent is not None and bool(_kind(parent, grammar)[0]) and parent.child_by_field_name("name") == node


def _encoded(source: Source) -> bytes:
    return source.text.encode("utf-8", "surrogatepass")


def _suffix(path: str) -> str:
    return path.rpartition(".")[2].lower()


def _tree(grammar: Grammar, source: Source) -> Tree | None:
    parser = _parser(grammar)
    return parser.parse(_encoded(source)) if parser else None


@cache
def _parser(grammar: Grammar) -> Parser | None:
    """The parser of a language; None if its grammar is not installed."""
    from tree_sitter import Language, Parser

    try:
        return Parser(Language(getattr(import_module(grammar.module), grammar.language)()))
    except ImportError:
        return None


def _defined(node: Node, grammar: Grammar, around: str) -> Iterator[Symbol]:
    """The definitions in a node in order. An own stack, since code may be nested more deeply than Python's calls."""
    pending = [(node, around)]
    while pending:
        node, around = pending.pop()
        kind, name = _kind(node, grammar)
        if kind:
            whole = node.parent if node.parent is not None and node.parent.type == "decorated_definition" else node
            yield Symbol(kind, around + name, whole.start_point[0] + 1, node.end_point[0] + 1)
        inner = f"{around}{name}." if name else around
        pending += [(child, inner) for child in reversed(node.named_children)]


def _kind(node: Node, grammar: Grammar) -> tuple[str, str]:
    """Whether a node defines a class or a function, and the name that it gives; empty where it does not."""
    kind = CLASS if node.type in grammar.classes else FUNCTION if node.type in grammar.functions else ""
    if node.type == "variable_declarator":
        value = node.child_by_field_name("value")
        kind = FUNCTION if value is not None and value.type in ARROWS else ""
    if not kind and node.type not in grammar.scopes:
        return "", ""
    named = node.child_by_field_name("name" if kind else "type")
    name = (named.text or b"").decode("utf-8", "replace") if named is not None else ""
    return (kind, name) if name else ("", "")
