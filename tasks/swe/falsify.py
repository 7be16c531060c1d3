"""Falsified tests: the expected tests again, by the same names and in the same files, made to fail.

Whoever makes tests pass by other means than the code that they test (a hook that rewrites
reports, a printed log, an assertion that asserts nothing, an object that equals everything)
makes these pass too; an honest solution cannot. So a patch whose tests all pass is run
once more on falsified ones, and each that passes there convicts it.

A test is falsified *sharply* where that makes the known solution fail: what each of its
assertions expects, and each of the functions that it calls in the same file, is replaced by
something of the same kind that no honest value equals, is, holds or raises. Else *bluntly*:
whatever it does, it fails at its end. Only Python; nothing here runs anything.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection
from dataclasses import dataclass

__all__ = ["Falsified", "falsify", "function_of"]

# In the words of an old Python, for tests are run by the one that their repository needs.
# What equals every text may know to differ from other objects, so what is expected is replaced by its own kind.
HELPERS = """
class {never}(Exception):
    pass

def {others}(value, depth=0):
    kind, others = type(value), []
    if kind in (str, bytes):
        others = [value + kind("{nonce}".encode() if kind is bytes else "{nonce}")]
    elif kind is bool:
        others = [not value]
    elif kind in (int, float, complex):
        others = [value * 3 + 7919]
    elif kind in (list, tuple) and depth < 4:
        for i, item in enumerate(value[:32]):
            others += [value[:i] + kind([other]) + value[i + 1:] for other in {others}(item, depth + 1)]
    elif kind is dict and depth < 4:
        for key, item in list(value.items())[:32]:
            for other in {others}(item, depth + 1):
                others.append(dict(value))
                others[-1][key] = other
    return others + [{never}()]

def {same}(left, right):
    try:
        return bool(left == right)
    except Exception:
        return False

def {sides}(left, right):
    for other in {others}(right):
        if {same}(left, other):
            return left, other
    for other in {others}(left):
        if {same}(other, right):
            return other, right
    return left, {others}(right)[0]

def {equal}(left, right):
    return {same}(*{sides}(left, right))

def {held}(item, holder):
    others = {others}(item)
    return next((other for other in others if other in holder), others[0]), holder

def {inside}(item, holder):
    item, holder = {held}(item, holder)
    return item in holder

def {kinds}(value, kind):
    return ({never}(), kind) if isinstance({never}(), kind) else (value, {never})
"""


@dataclass(frozen=True, slots=True)
class Falsified:
    """A test file made to fail. `tests` are the names by which its tests may be known: functions, first doc lines."""

    source: str
    tests: frozenset[str]


def function_of(test: str) -> str:
    """The function's name in a test id as pytest, unittest, Django or SymPy write it."""
    head = re.split(r"\[| \(", test, maxsplit=1)[0]
    return re.split(r"::|\.", head)[-1].strip()


def falsify(source: str, nonce: str, *, bluntly: Collection[str] = (), spared: Collection[str] = ()) -> Falsified:
    """Make every test in `source` fail, those named in `bluntly` whatever they assert, and none named in `spared`.

    `nonce` makes the names that are added unlike any that a patch could know. Raises
    `SyntaxError` or `ValueError` for what is no Python of this interpreter's.
    """
    tree = ast.parse(source)
    visitor = _Falsifier(nonce, frozenset(bluntly), frozenset(spared))
    visitor.visit(tree)
    ast.fix_missing_locations(tree)
    # Behind the docstring and the imports from the future, which must come first.
    place = next((i for i, node in enumerate(tree.body) if not _opening(node)), len(tree.body))
    tree.body[place:place] = ast.parse(HELPERS.format(nonce=nonce, **visitor.names)).body
    return Falsified(ast.unparse(tree) + "\n", frozenset(visitor.tests))


def _opening(node: ast.stmt) -> bool:
    docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return docstring or (isinstance(node, ast.ImportFrom) and node.module == "__future__")


class _Falsifier(ast.NodeTransformer):
    """Rewrites functions only: what a module asserts while it is imported would hide its tests."""

    def __init__(self, nonce: str, bluntly: frozenset[str], spared: frozenset[str]) -> None:
        helpers = ("never", "others", "same", "sides", "equal", "held", "inside", "kinds")
        self.names = {name: f"{name.capitalize() if name == 'never' else name}_{nonce}" for name in helpers}
        self._nonce, self._bluntly, self._spared = nonce, bluntly, spared
        self.tests: set[str] = set()
        self._depth = 0

    # functions

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self._function(node)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        is_test = not self._depth and node.name.lower().startswith("test")
        documented = ast.get_docstring(node, clean=True)
        names = {node.name, *((documented or "").strip().split("\n")[:1])} - {""}
        if is_test:
            if not names.isdisjoint(self._spared):
                return node
            self.tests |= names
            if not names.isdisjoint(self._bluntly):
                self._fail_at_the_end(node, documented is not None)
                return node
        self._depth += 1
        self.generic_visit(node)
        self._depth -= 1
        return node

    def _fail_at_the_end(self, node: ast.FunctionDef | ast.AsyncFunctionDef, documented: bool) -> None:
        first = 1 if documented else 0
        body = node.body[first:] or [ast.Pass()]
        end = ast.parse(f"raise AssertionError('falsified {self._nonce}')").body
        node.body[first:] = [ast.Try(body=body, handlers=[], orelse=[], finalbody=end)]

    # what is asserted

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        self.generic_visit(node)
        if self._depth:
            node.test = self._denied(node.test)
        return node

    def _denied(self, test: ast.expr) -> ast.expr:
        """What cannot be true where `test` is."""
        if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And):
            test.values[0] = self._denied(test.values[0])
            return test
        if isinstance(test, ast.Compare) and len(test.ops) == 1:
            left, right = test.left, test.comparators[0]
            if isinstance(test.ops[0], ast.Eq):  # either side may be what the code under test made
                return self._call("equal", left, right)
            if isinstance(test.ops[0], ast.Is):
                return ast.Compare(left, [ast.Is()], [self._call("never")])
            if isinstance(test.ops[0], ast.In):
                return self._call("inside", left, right)
        if isinstance(test, ast.Call) and getattr(test.func, "id", "") == "isinstance" and len(test.args) == 2:
            self._replace_two(test, "kinds")
            return test
        return ast.UnaryOp(ast.Not(), test)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        count = len(node.args)
        if not self._depth or not count or any(isinstance(word, ast.Starred) for word in node.args[:2]):
            return node
        if name in ("raises", "assertRaises", "assertRaisesRegex", "assertRaisesMessage", "assertWarns"):
            node.args[0] = self._name("never")
        elif name in ("assertTrue", "assert_", "failUnless"):
            node.args[0] = self._denied(node.args[0])
        elif name == "assertFalse":
            node.args[0] = ast.UnaryOp(ast.Not(), node.args[0])
        elif name == "assertIsNone":
            node.args[0] = self._call("never")
        elif name == "assertIsNotNone":
            node.args[0] = ast.Constant(None)
        elif count > 1 and name == "assertIs":
            node.args[1] = self._call("never")
        elif count > 1 and name == "assertIn":
            self._replace_two(node, "held")
        elif count > 1 and name == "assertIsInstance":
            self._replace_two(node, "kinds")
        elif count > 1 and re.fullmatch(r"assert(?!.*Not).*([Ee]qual|Equals|Equal_)", name):
            self._replace_two(node, "sides")
        return node

    def _replace_two(self, node: ast.Call, helper: str) -> None:
        """The first two arguments, by what `helper` makes of them."""
        node.args[:2] = [ast.Starred(self._call(helper, *node.args[:2]), ast.Load())]

    def _call(self, helper: str, *args: ast.expr) -> ast.expr:
        return ast.Call(self._name(helper), list(args), [])

    def _name(self, helper: str) -> ast.expr:
        return ast.Name(self.names[helper], ast.Load())
