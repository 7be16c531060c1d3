"""The mutations of the monkey: one small change to a function, of the kinds that developers get wrong.

Each kind is a function of a `MutationContext` (a unit of a source, a random stream, words of the issue). It proposes
one `Change`, or None where it finds nothing to change. Kinds have weights, large for the mistakes that are common in
real bug fixes: comparisons, off-by-one values, the wrong name, a missing guard or clause, a call too many or too few.
New text comes from the file itself, from the issue's words and from Python's built-in vocabulary; nothing here knows
any particular bug.

`mutate` draws kinds until a proposal compiles and changes the page. Only the changed segment is replaced: layout and
comments around it stay as they were.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeVar

from agent.models.monkey.source import Change, ModuleSource, Place, Site, Unit

__all__ = ["KINDS", "MutationContext", "Vocabulary", "mutate"]

T = TypeVar("T")
Kind = Callable[["MutationContext"], Change | None]

KINDS: dict[str, tuple[Kind, float]] = {}
_TRIES = 40

_COMPARISONS: Mapping[str, Mapping[str, int]] = {
    "<": {"<=": 8, ">": 4, ">=": 2, "==": 1, "!=": 1},
    "<=": {"<": 8, ">=": 4, ">": 2, "==": 1},
    ">": {">=": 8, "<": 4, "<=": 2, "==": 1, "!=": 1},
    ">=": {">": 8, "<=": 4, "<": 2, "==": 1},
    "==": {"!=": 6, "<=": 3, ">=": 3, "in": 2, "is": 1, "<": 1, ">": 1},
    "!=": {"==": 8, "<": 2, ">": 2, "not in": 1, "is not": 1},
    "is": {"is not": 6, "==": 4},
    "is not": {"is": 6, "!=": 4},
    "in": {"not in": 8, "==": 2},
    "not in": {"in": 8, "!=": 2},
}
_COMPARISON = re.compile(r"not\s+in\b|is\s+not\b|is\b|in\b|[<>!=]=|[<>]")
_ARITHMETIC: Mapping[str, Mapping[str, int]] = {
    "+": {"-": 6, "*": 1, "|": 1},
    "-": {"+": 6, "/": 1, "//": 1},
    "*": {"/": 4, "+": 3, "**": 2, "//": 1, "%": 1},
    "/": {"//": 6, "*": 3, "%": 1},
    "//": {"/": 6, "%": 4, "*": 2},
    "%": {"//": 4, "/": 2, "*": 1},
    "**": {"*": 4},
    "&": {"|": 4, "^": 1, "-": 1},
    "|": {"&": 4, "^": 1, "+": 1},
    "^": {"&": 2, "|": 2},
    "<<": {">>": 4},
    ">>": {"<<": 4},
}
_ARITHMETIC_SIGN = re.compile(r"\*\*|//|<<|>>|[-+*/%@&|^]")
_CONJUNCTIONS: Mapping[str, Mapping[str, int]] = {"and": {"or": 1}, "or": {"and": 1}}
_CONJUNCTION = re.compile(r"\b(?:and|or)\b")
_FLAGS: Mapping[str, Sequence[str]] = {
    "True": ("False", "None"),
    "False": ("True", "None"),
    "None": ("False", "0", "[]", "{}"),
    "[]": ("None", "{}", "set()"),
    "{}": ("None", "[]"),
}
_CONDITIONS = (
    "{}",
    "not {}",
    "{} is None",
    "{} is not None",
    "{} < 0",
    "{} == 0",
    "{} in {other}",
    "{} not in {other}",
)
_WRAPPERS = ("len", "sorted", "abs", "str", "int", "list", "set", "float", "round", "sum", "tuple", "reversed", "bool")
_WRAPPERS_OF_TWO = ("max", "min")
_METHODS = ("strip", "lower", "upper", "copy", "items", "keys", "values", "rstrip", "lstrip", "casefold", "split")
_EXCEPTIONS = ("ValueError", "KeyError", "TypeError", "IndexError", "AttributeError", "Exception", "ZeroDivisionError")
_ROWS_COPIED = 12


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The words of the issue that may be inserted."""

    numbers: tuple[str, ...] = ()
    strings: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    exceptions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MutationContext:
    """What one mutation is made from: a unit of a source, the issue's vocabulary, a random stream."""

    source: ModuleSource
    unit: Unit
    vocabulary: Vocabulary
    rng: Random

    def one(self, things: Iterable[T]) -> T | None:
        pool = things if isinstance(things, Sequence) else list(things)
        return self.rng.choice(pool) if pool else None

    def other(self, things: Iterable[str], than: str) -> str | None:
        return self.one([thing for thing in things if thing != than])

    def weighed(self, options: Mapping[str, float]) -> str | None:
        return self.rng.choices(list(options), list(options.values()))[0] if options else None

    def chance(self, share: float) -> bool:
        return self.rng.random() < share

    def text(self, node: ast.expr | ast.stmt) -> str:
        return self.source.text(node)

    def over(self, site: Site[ast.expr], text: str | None, *, wide: bool = False) -> Change | None:
        """Replace an expression by `text`; `wide` says that it needs brackets inside a larger one."""
        if text is None:
            return None
        return (*self.source.span(site.node), f"({text})" if wide and not site.loose else text)

    def tight(self, node: ast.expr) -> str:
        """An expression as it may stand inside a larger one."""
        return f"({self.text(node)})" if self.source.wide(node) else self.text(node)

    def copy(self, site: Site[ast.expr], node: ast.expr) -> Change | None:
        return self.over(site, self.text(node), wide=self.source.wide(node))

    def gap(self, left: ast.expr, right: ast.expr, pattern: re.Pattern[str]) -> tuple[int, int, str] | None:
        """The operator between two operands: where it stands and what it is."""
        found = pattern.search(self.source.code, self.source.span(left)[1], self.source.span(right)[0])
        return (*found.span(), " ".join(found.group().split())) if found else None

    def local(self, share: float, near: Iterable[str], far: Iterable[str], than: str = "") -> str | None:
        """A name from `near` with this probability, otherwise from `far`; never `than`."""
        first, second = (near, far) if self.chance(share) else (far, near)
        return self.other(list(first), than) or self.other(list(second), than)

    @property
    def variables(self) -> list[str]:
        """Names of the unit that are not only called."""
        return [name for name in self.unit.names if name not in self.unit.calls]

    def condition(self) -> str | None:
        """A condition that the unit or the file has somewhere, or a short one about a name."""
        if self.chance(0.5):
            near = [text for text in map(self.text, self.unit.conditions) if "\n" not in text]
            return self.local(0.6, near, self.source.conditions)
        name = self.one(self.variables)
        if name is None:
            return None
        return self.rng.choice(_CONDITIONS).format(name, other=self.other(self.variables, name) or "()")


def kind(weight: float) -> Callable[[Kind], Kind]:
    def register(function: Kind) -> Kind:
        KINDS[function.__name__.replace("_", " ")] = (function, weight)
        return function

    return register


def mutate(context: MutationContext) -> tuple[str, str] | None:
    """One random change of the unit: its kind and the page after it; None if none was found."""
    names, weights = list(KINDS), [weight for _, weight in KINDS.values()]
    for _ in range(_TRIES):
        name = context.rng.choices(names, weights)[0]
        change = KINDS[name][0](context)
        page = context.source.edited(change) if change else None
        if page is not None:
            return name, page
    return None


# Operators


@kind(30)
def comparison(context: MutationContext) -> Change | None:
    site = context.one(context.unit.sites_of(ast.Compare))
    if site is None:
        return None
    operands = [site.node.left, *site.node.comparators]
    index = context.rng.randrange(len(operands) - 1)
    return _swapped(context, operands[index], operands[index + 1], _COMPARISON, _COMPARISONS)


@kind(24)
def arithmetic(context: MutationContext) -> Change | None:
    site = context.one(context.unit.sites_of(ast.BinOp))
    return _swapped(context, site.node.left, site.node.right, _ARITHMETIC_SIGN, _ARITHMETIC) if site else None


@kind(20)
def and_or(context: MutationContext) -> Change | None:
    site = context.one(context.unit.sites_of(ast.BoolOp))
    if site is None:
        return None
    at = context.rng.randrange(len(site.node.values) - 1)
    left, right = site.node.values[at : at + 2]
    return _swapped(context, left, right, _CONJUNCTION, _CONJUNCTIONS)


def _swapped(
    context: MutationContext,
    left: ast.expr,
    right: ast.expr,
    pattern: re.Pattern[str],
    options: Mapping[str, Mapping[str, int]],
) -> Change | None:
    gap = context.gap(left, right, pattern)
    if gap is None:
        return None
    start, end, sign = gap
    other = context.weighed(options.get(sign, {}))
    return (start, end, other) if other else None


@kind(6)
def negation(context: MutationContext) -> Change | None:
    """A condition turned round, or a `not` left out."""
    node = context.one(context.unit.conditions)
    if node is None:
        return None
    site = Site(node, loose=False, called=False)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return context.copy(site, node.operand)
    return (*context.source.span(node), f"not {context.tight(node)}")


@kind(2)
def operands(context: MutationContext) -> Change | None:
    """a - b becomes b - a; a < b becomes b < a."""
    site = context.one([*context.unit.sites_of(ast.BinOp), *context.unit.sites_of(ast.Compare)])
    match site.node if site else None:
        case ast.BinOp(left=left, right=right) | ast.Compare(left=left, comparators=[right]):
            (start, left_end), (right_start, end) = context.source.span(left), context.source.span(right)
            between = context.source.code[left_end:right_start]
            return (
                None if set("()") & set(between) else (start, end, context.tight(right) + between + context.tight(left))
            )
    return None


@kind(1)
def brackets(context: MutationContext) -> Change | None:
    """a + b * c becomes (a + b) * c, or the other way round; a + b becomes a or b alone."""
    site = context.one(context.unit.sites_of(ast.BinOp))
    if site is None:
        return None
    start, end = context.source.span(site.node)
    match site.node:
        case ast.BinOp(right=ast.BinOp(left=middle)):
            inner = context.source.span(middle)[1]
            return (start, end, f"({context.source.code[start:inner]}){context.source.code[inner:end]}")
        case ast.BinOp(left=ast.BinOp(right=middle)):
            inner, opened = context.source.span(middle)[0], context.source.code[start:end]
            if opened.startswith("("):
                return (start, end, opened.replace("(", "", 1).replace(")", "", 1))
            return (start, end, f"{context.source.code[start:inner]}({context.source.code[inner:end]})")
        case ast.BinOp(left=left, right=right):
            return context.copy(site, left if context.chance(0.6) else right)
    return None


# Values


@kind(30)
def number(context: MutationContext) -> Change | None:
    sites = [site for site in context.unit.sites_of(ast.Constant) if type(site.node.value) in (int, float)]
    site = context.one(sites)
    if site is None or not isinstance(value := site.node.value, (int, float)):
        return None
    near = [repr(value + 1), repr(value - 1)]
    other = ["0", "1", repr(-value), repr(value * 10), repr(value * 2)]
    if isinstance(value, int):
        other.append(repr(value // 10))
    seen = [text for text in context.source.constants if text[0].isdigit()]
    pool = context.rng.choices([near, other, seen, list(context.vocabulary.numbers)], [10, 3, 2, 2])[0]
    return context.over(site, context.other(pool, context.text(site.node)))


@kind(20)
def flag(context: MutationContext) -> Change | None:
    """True, False, None, or an empty value, one for another."""
    site = context.one([site for site in context.unit.sites if context.text(site.node) in _FLAGS])
    return context.over(site, context.one(_FLAGS[context.text(site.node)])) if site else None


@kind(3)
def string(context: MutationContext) -> Change | None:
    """A string for another one that the file or the issue has."""
    site = context.one(_strings(context))
    if site is None:
        return None
    seen = [text for text in context.source.constants if text[-1] in "'\""]
    own = str(site.node.value)
    turned = [repr(text) for text in (own.lower(), own.upper(), own.strip(), own + " ", "", " ")]
    pool = context.rng.choices([seen, turned, [repr(text) for text in context.vocabulary.strings]], [5, 3, 3])[0]
    return context.over(site, context.other(pool, context.text(site.node)))


@kind(1)
def character(context: MutationContext) -> Change | None:
    """One character of a string left out, doubled, changed or put in."""
    site = context.one(_strings(context))
    text = context.text(site.node) if site else ""
    opening = re.match(r"[a-zA-Z]*('''|\"\"\"|'|\")", text)
    if site is None or opening is None:
        return None
    first, last = opening.end(), len(text) - len(opening.group(1))
    at = context.rng.randint(first, last)
    put = context.rng.choice(text[first:last] + "+*?.^$,:;/-_ 0")
    here = text[at : at + 1] if at < last else ""
    new = context.rng.choice(["", put, here + put, here + here])
    return context.over(site, text[:at] + new + text[at + len(here) :])


def _strings(context: MutationContext) -> list[Site[ast.Constant]]:
    return [site for site in context.unit.sites_of(ast.Constant) if isinstance(site.node.value, (str, bytes))]


@kind(4)
def off_by_one(context: MutationContext) -> Change | None:
    site = context.one([s for s in context.unit.sites if _countable(s)])
    return context.over(site, f"{context.tight(site.node)} {context.rng.choice('+-')} 1", wide=True) if site else None


def _countable(site: Site[ast.expr]) -> bool:
    if isinstance(site.node, ast.Call):
        return isinstance(site.node.func, ast.Name)
    return isinstance(site.node, (ast.Name, ast.Attribute, ast.BinOp)) and not site.called


@kind(1)
def bounds(context: MutationContext) -> Change | None:
    """Where a range or a slice starts and ends."""
    calls = [site for site in context.unit.sites_of(ast.Call) if context.text(site.node.func) == "range"]
    slices = [s for s in context.unit.sites_of(ast.Subscript) if isinstance(s.node.slice, ast.Slice)]
    site = context.one([*calls, *slices])
    match site.node if site else None:
        case ast.Call(func=function, args=[_, *_] as arguments) as call:
            start, *rest = [context.text(argument) for argument in arguments]
            options = [f"1, {start}", f"{start}, 0, -1", f"{start} - 1, -1, -1"] if not rest else [", ".join(rest)]
            return (*context.source.span(call), f"{context.text(function)}({context.rng.choice(options)})")
        case ast.Subscript(value=value, slice=ast.Slice(lower=lower, upper=upper)) as subscript:
            low, high = (context.text(bound) if bound else "" for bound in (lower, upper))
            ends = [(low, ""), ("", high), (high, low), (low or "1", high), (low, high or "-1"), (low or "-1", high)]
            low, high = context.rng.choice(ends)
            return (*context.source.span(subscript), f"{context.text(value)}[{low}:{high}]")
    return None


# Names


@kind(12)
def name(context: MutationContext) -> Change | None:
    """A name for another one in scope: variables for variables, functions for functions."""
    sites = [*context.unit.sites_of(ast.Name), *(s for s in context.unit.targets if isinstance(s.node, ast.Name))]
    site = context.one(sites)
    if site is None:
        return None
    own = context.text(site.node)
    if site.called:
        return context.over(site, context.local(0.7, context.source.functions, _WRAPPERS, own))
    return context.over(site, context.local(0.85, context.variables, context.source.globals, own))


@kind(16)
def attribute(context: MutationContext) -> Change | None:
    targets = [s for s in context.unit.targets if isinstance(s.node, ast.Attribute)]
    site = context.one([*context.unit.sites_of(ast.Attribute), *targets])
    if site is None or not isinstance(site.node, ast.Attribute):
        return None
    own, end = site.node.attr, context.source.span(site.node)[1]
    here = [other.node.attr for other in context.unit.sites_of(ast.Attribute) if other.called == site.called]
    seen = context.source.methods if site.called else context.source.attributes
    known = (*context.vocabulary.methods, *_METHODS) if site.called else ()
    other = context.local(0.5, dict.fromkeys(here), [*seen, *known], own)
    return (end - len(own), end, other) if other else None


@kind(0.5)
def owner(context: MutationContext) -> Change | None:
    """`self.` put before a name or left out."""
    if "self" not in context.unit.names:
        return None
    names = [site for site in context.unit.sites_of(ast.Name) if site.node.id != "self"]
    site = context.one([*names, *context.unit.sites_of(ast.Attribute)])
    match site.node if site else None:
        case ast.Name(id=own) as node:
            return (*context.source.span(node), f"self.{own}")
        case ast.Attribute(value=ast.Name(id="self"), attr=own) as node:
            return (*context.source.span(node), own)
    return None


@kind(1)
def transplant(context: MutationContext) -> Change | None:
    """An expression for another one that the file has somewhere."""
    site = context.one([site for site in context.unit.sites if site.loose])
    if site is None:
        return None
    own = context.text(site.node)
    units = [context.unit] if context.chance(0.7) else context.source.units
    seen = [other.node for unit in units for other in unit.sites if other.loose]
    short = [node for node in seen if node.lineno == node.end_lineno and not isinstance(node, ast.Constant)]
    fit = [node for node in short if context.text(node) != own]
    node = context.one(fit)
    return context.copy(site, node) if node is not None else None


# Calls


@kind(16)
def arguments(context: MutationContext) -> Change | None:
    """Two arguments exchanged, one left out, or one more."""
    site = context.one(context.unit.sites_of(ast.Call))
    if site is None:
        return None
    call = site.node
    given = [context.text(argument) for argument in call.args]
    given += [f"{k.arg}={context.text(k.value)}" if k.arg else f"**{context.text(k.value)}" for k in call.keywords]
    what = context.rng.choice(["exchange", "exchange", "leave out", "add"])
    if what == "exchange" and len(call.args) > 1:
        at = context.rng.randrange(len(call.args) - 1)
        given[at : at + 2] = given[at + 1], given[at]
    elif what == "leave out" and given:
        del given[context.rng.randrange(len(given))]
    elif what == "add":
        _one_more(context, given, len(call.args))
    return (*context.source.span(call), f"{context.text(call.func)}({', '.join(given)})")


def _one_more(context: MutationContext, given: list[str], positional: int) -> None:
    name = context.one(context.variables)
    keyword = context.one(context.source.keywords)
    constant = context.one(context.source.constants)
    more = [text for text in (name, constant, keyword, f"{name}={name}" if name else None, "key=str.lower") if text]
    chosen = context.rng.choice(more)
    given.insert(len(given) if "=" in chosen else context.rng.randint(0, positional), chosen)


@kind(10)
def call_added(context: MutationContext) -> Change | None:
    """x becomes f(x), x.m() or max(x, y)."""
    kinds = (ast.Name, ast.Attribute, ast.Subscript, ast.Call, ast.BinOp, ast.ListComp)
    site = context.one([site for site in context.unit.sites if isinstance(site.node, kinds) and not site.called])
    if site is None:
        return None
    text = context.text(site.node)
    if context.chance(0.4):
        method = context.local(0.5, context.source.methods, (*_METHODS, *context.vocabulary.methods * 3))
        return context.over(site, f"{context.tight(site.node)}.{method}()")
    if context.chance(0.2):
        other = context.one([*context.variables, "0", "1"])
        return context.over(site, f"{context.rng.choice(_WRAPPERS_OF_TWO)}({text}, {other})")
    return context.over(site, f"{context.local(0.5, context.source.functions, _WRAPPERS)}({text})")


@kind(3)
def call_removed(context: MutationContext) -> Change | None:
    """f(x) becomes x; x.m() becomes x."""
    site = context.one(context.unit.sites_of(ast.Call))
    match site.node if site else None:
        case ast.Call(args=[ast.expr() as inside, *_], func=ast.Name()) if site:
            return context.copy(site, inside)
        case ast.Call(func=ast.Attribute(value=inside)) if site:
            return context.copy(site, inside)
    return None


@kind(1)
def lookup(context: MutationContext) -> Change | None:
    """d[k] becomes d.get(k), with a default or without, or the other way round."""
    site = context.one([*context.unit.sites_of(ast.Subscript), *context.unit.sites_of(ast.Call)])
    default = context.rng.choice(["", ", 0", ", None", ", []", ", ''"])
    match site.node if site else None:
        case ast.Subscript(value=value, slice=key) if site and not isinstance(key, ast.Slice):
            default = context.rng.choice(["", ", 0", ", []", ", ''"])
            return context.over(site, f"{context.text(value)}.get({context.text(key)}{default})")
        case ast.Call(func=ast.Attribute(value=value, attr="get"), args=[key, *rest]) if site:
            if not rest and context.chance(0.7):
                return context.over(site, f"{context.text(value)}.get({context.text(key)}{default})")
            return context.over(site, f"{context.text(value)}[{context.text(key)}]")
    return None


# Conditions


@kind(2)
def clause_added(context: MutationContext) -> Change | None:
    """c becomes c and d, or c or d."""
    node, more = context.one(context.unit.conditions), context.condition()
    if node is None or more is None:
        return None
    plain = isinstance(node, (ast.Compare, ast.UnaryOp))
    text = context.text(node) if plain else context.tight(node)
    more = f"({more})" if re.search(r"\b(?:and|or|if|lambda)\b", more) else more
    both = [text, more] if context.chance(0.6) else [more, text]
    site = Site(node, loose=_is_test(context, node), called=False)
    return context.over(site, context.rng.choice([" and ", " or "]).join(both), wide=True)


def _is_test(context: MutationContext, node: ast.expr) -> bool:
    """True if the expression is all of what an `if` or `while` asks."""
    return any(place.node.test is node for place in context.unit.places if isinstance(place.node, (ast.If, ast.While)))


@kind(2)
def clause_removed(context: MutationContext) -> Change | None:
    site = context.one([*context.unit.sites_of(ast.BoolOp), *context.unit.sites_of(ast.IfExp)])
    match site.node if site else None:
        case ast.BoolOp(values=values) if site:
            return context.copy(site, context.rng.choice(values))
        case ast.IfExp(body=body, orelse=orelse) if site:
            return context.copy(site, body if context.chance(0.5) else orelse)
    return None


@kind(1)
def fallback(context: MutationContext) -> Change | None:
    """x becomes x or y, or x if it is there, else y."""
    site = context.one([s for s in context.unit.sites if s.loose and not isinstance(s.node, ast.Constant)])
    other = context.one([*context.variables, "0", "None", "''", "[]", "{}", "()"])
    if site is None or other is None:
        return None
    text = context.tight(site.node)
    shapes = [f"{text} or {other}", f"{text} if {text} is not None else {other}", f"{text} if {text} else {other}"]
    return context.over(site, context.rng.choices(shapes, [3, 1, 1])[0], wide=True)


@kind(1)
def filter_changed(context: MutationContext) -> Change | None:
    """A comprehension's `if` left out, or one put in."""
    node = context.one(context.unit.comprehensions)
    if node is None:
        return None
    if node.ifs:
        return (context.source.span(node.iter)[1], context.source.span(node.ifs[-1])[1], "")
    end = context.source.span(node.iter)[1]
    condition = context.text(node.target) if context.chance(0.4) else context.condition()
    return (end, end, f" if {condition}") if condition else None


@kind(3)
def guard(context: MutationContext) -> Change | None:
    """`if <condition>: <leave>` before a statement."""
    place, condition = context.one(context.unit.places), context.condition()
    if place is None or condition is None:
        return None
    plain = ["return", *(f"return {name}" for name in context.variables[:8])]
    plain += ["continue", "break"] if place.loop else []
    raised = [f"raise {exception}({condition!r})" for exception in context.vocabulary.exceptions]
    leave = context.rng.choice(context.rng.choice([pool for pool in (context.source.exits, plain, raised) if pool]))
    start, indent = context.source.rows(place.node, place.node)[0], context.source.indent(place.node)
    return (start, start, f"{indent}if {condition}:\n{indent}    {leave}\n")


# Statements


@kind(12)
def statements_exchanged(context: MutationContext) -> Change | None:
    first = context.one(context.unit.places)
    second = _next(context, first) if first else None
    if first is None or second is None:
        return None
    (start, middle), (after, end) = (context.source.rows(place.node, place.node) for place in (first, second))
    code = context.source.code
    return (start, end, code[after:end] + code[middle:after] + code[start:middle])


@kind(2)
def statement_removed(context: MutationContext) -> Change | None:
    place = context.one(context.unit.places)
    if place is None:
        return None
    start, end = context.source.rows(place.node, place.node)
    if len(place.block) == 1:
        return (start, end, f"{context.source.indent(place.node)}pass")
    return (start, min(end + 1, len(context.source.code)), "")


@kind(1.5)
def statement_copied(context: MutationContext) -> Change | None:
    """A statement once more, somewhere else; now and then one of its names is another."""
    place, where = context.one(context.unit.places), context.one(context.unit.places)
    if place is None or where is None or _rows(place) > _ROWS_COPIED:
        return None
    text = _reindented(context, place, context.source.indent(where.node))
    words = [word for word in set(re.findall(r"\b[a-z_]\w*", text)) if word in context.unit.names]
    old, new = context.one(sorted(words)), context.one(context.variables)
    if old and new and context.chance(0.3):
        text = re.sub(rf"\b{old}\b", new, text)
    start, end = context.source.rows(where.node, where.node)
    return (start, start, f"{text}\n") if context.chance(0.5) else (end, end, f"\n{text}")


@kind(1.5)
def statement_moved(context: MutationContext) -> Change | None:
    place, where = context.one(context.unit.places), context.one(context.unit.places)
    if place is None or where is None or len(place.block) == 1:
        return None
    (start, end), (target, _) = (context.source.rows(p.node, p.node) for p in (place, where))
    text, code = _reindented(context, place, context.source.indent(where.node)) + "\n", context.source.code
    if target >= end + 1:
        return (start, target, code[end + 1 : target] + text)
    return (target, end + 1, text + code[target:start]) if target < start else None


@kind(1)
def indentation(context: MutationContext) -> Change | None:
    """The last statement of a block moved out of it, or the one after a block moved into it."""
    inward = context.chance(0.4)
    place = context.one(context.unit.places)
    if place is None:
        return None
    if inward:
        before = place.block[place.index - 1] if place.index else None
        inner = _last_block(before) if before else None
        indent = context.source.indent(inner[-1]) if inner else None
    else:
        outer = place.outer.node if place.outer else None
        ends = outer is not None and outer.end_lineno == place.node.end_lineno and len(place.block) > 1
        indent = context.source.indent(outer) if outer and ends else None
    if indent is None:
        return None
    return (*context.source.rows(place.node, place.node), _reindented(context, place, indent))


@kind(1)
def assignment(context: MutationContext) -> Change | None:
    """= becomes +=, += becomes -=, and the like."""
    place = context.one([p for p in context.unit.places if isinstance(p.node, (ast.Assign, ast.AugAssign))])
    match place.node if place else None:
        case ast.Assign(targets=[target], value=value) | ast.AugAssign(target=target, value=value):
            gap = context.gap(target, value, re.compile(r"[-+*/%&|]{0,2}="))
            other = context.other(["=", "+=", "-=", "|="], gap[2]) if gap else None
            return (gap[0], gap[1], other) if gap and other else None
    return None


@kind(1)
def leaving(context: MutationContext) -> Change | None:
    """break, continue, pass and return, one for another."""
    kinds = (ast.Break, ast.Continue, ast.Pass, ast.Return)
    place = context.one([place for place in context.unit.places if isinstance(place.node, kinds)])
    if place is None:
        return None
    options = ["return", "pass", *(["continue", "break"] if place.loop else []), *context.source.exits]
    other = context.other(options, context.text(place.node))
    return (*context.source.span(place.node), other) if other else None


@kind(1.5)
def exception(context: MutationContext) -> Change | None:
    """The type that is raised or caught for another, or one more caught."""
    node = context.one(context.unit.exceptions)
    if node is None:
        return None
    own = context.text(node)
    seen = [context.text(other) for unit in context.source.units for other in unit.exceptions]
    other = context.local(0.5, [*seen, *context.vocabulary.exceptions], _EXCEPTIONS, own)
    caught = not any(isinstance(p.node, ast.Raise) and p.node.lineno == node.lineno for p in context.unit.places)
    return (*context.source.span(node), f"({own}, {other})" if caught and context.chance(0.4) else other or own)


def _next(context: MutationContext, place: Place) -> Place | None:
    same = (other for other in context.unit.places if other.block is place.block)
    return next((other for other in same if other.index == place.index + 1), None)


def _rows(place: Place) -> int:
    return (place.node.end_lineno or place.node.lineno) - place.node.lineno + 1


def _last_block(node: ast.stmt) -> list[ast.stmt] | None:
    blocks = (getattr(node, name, None) for name in ("finalbody", "orelse", "body"))
    return next((block for block in blocks if block), None)


def _reindented(context: MutationContext, place: Place, indent: str) -> str:
    """The statement's lines, moved to another indentation."""
    start, end = context.source.rows(place.node, place.node)
    own = len(context.source.indent(place.node))
    rows = context.source.code[start:end].split("\n")
    return "\n".join(indent + row[own:] if row.strip() and not row[:own].strip() else row for row in rows)
