"""Falsified tests: the expected tests, with the same names and in the same files, changed so that they must fail.

A patch may make tests pass by other means than the code that they test: a hook that rewrites reports, a printed log, an
assertion that asserts nothing, an object that equals everything. Such a patch makes falsified tests pass too, and an
honest solution does not. So a patch whose tests all pass is run once more with falsified ones, and is unresolved if any
of these passes.

A test is falsified *sharply* if the known solution then fails it: the value that an assertion expects, in the test or
in another function of its file, is replaced by one of the same type that no honest value equals, is, holds or raises.
Otherwise it is falsified *bluntly*: whatever it does, it fails at its end. Only Python is falsified, and nothing in
this module runs code.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection
from dataclasses import dataclass

__all__ = ["Falsified", "falsify", "function_of"]

# This source must run on old versions of Python, since tests run with the version that their repository needs.
# An object that equals every text may differ from objects of other types, so a value is replaced by one of its type.
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
    """A falsified test file. `tests` are the names of its tests: functions, and first lines of their docstrings."""

    source: str
    tests: frozenset[str]


def function_of(test: str) -> str:
    """The function's name in a test id of pytest, unittest, Django or SymPy."""
    head = re.split(r"\[| \(", test, maxsplit=1)[0]
    return re.split(r"::|\.", head)[-1].strip()


def falsify(source: str, nonce: str, *, bluntly: Collection[str] = (), spared: Collection[str] = ()) -> Falsified:
    """Make every test in `source` fail: those named in `bluntly` at their end, and none of those in `spared`.

    `nonce` makes the added names different from any that a patch could know. Raises `SyntaxError` or `ValueError` for
    a source that is not Python of this interpreter's version.
    """
    tree = ast.parse(source)
    visitor = _Falsifier(nonce, frozenset(bluntly), frozenset(spared))
    visitor.visit(tree)
    ast.fix_missing_locations(tree)
    # After the docstring and the imports from __future__, which must come first.
    place = next((i for i, node in enumerate(tree.body) if not _opening(node)), len(tree.body))
    tree.body[place:place] = ast.parse(HELPERS.format(nonce=nonce, **visitor.names)).body
    return Falsified(ast.unparse(tree) + "\n", frozenset(visitor.tests))


def _opening(node: ast.stmt) -> bool:
    docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return docstring or (isinstance(node, ast.ImportFrom) and node.module == "__future__")


class _Falsifier(ast.NodeTransformer):
    """Rewrites functions only: an assertion that fails while the module is imported would hide its tests."""

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
        """An expression that is false where `test` is true."""
        if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And):
            test.values[0] = self._denied(test.values[0])
            return test
        if isinstance(test, ast.Compare) and len(test.ops) == 1:
            left, right = test.left, test.comparators[0]
            if isinstance(test.ops[0], ast.Eq):  # either side may be the value from the code under test
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
        """Replace the first two arguments of a call by the two that `helper` makes of them."""
        node.args[:2] = [ast.Starred(self._call(helper, *node.args[:2]), ast.Load())]

    def _call(self, helper: str, *args: ast.expr) -> ast.expr:
        return ast.Call(self._name(helper), list(args), [])

    def _name(self, helper: str) -> ast.expr:
        return ast.Name(self.names[helper], ast.Load())
