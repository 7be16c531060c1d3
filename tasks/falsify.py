"""Falsified tests: the expected tests again, by the same names and in the same files, made to fail.

Whoever makes tests pass by other means than the code that they test (a hook that rewrites
reports, a printed log, an assertion that asserts nothing, an object that equals everything)
makes these pass too; an honest solution cannot. So a patch whose tests all pass is run
once more on falsified ones, and each that passes there convicts it.

A test is falsified *sharply* where it can be: what each of its assertions expects is
replaced by something that nothing honest equals, is, holds or raises. Else, or where that
turns out not to make the known solution fail, *bluntly*: whatever it does, it fails at its
end. Only Python; nothing here runs anything.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection
from dataclasses import dataclass

__all__ = ["Falsified", "falsify", "function_of"]

# In the words of an old Python, for tests are run by the one that their repository needs.
HELPERS = """
class {never}(Exception):
    pass

def {sides}(left, right):
    nothing = {never}()
    return (left if left == nothing else right), nothing
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


def falsify(source: str, nonce: str, *, bluntly: Collection[str] = ()) -> Falsified:
    """Make every test in `source` fail, those named in `bluntly` whatever they assert.

    `nonce` makes the names that are added unlike any that a patch could know. Raises
    `SyntaxError` or `ValueError` for what is no Python of this interpreter's.
    """
    tree = ast.parse(source)
    visitor = _Falsifier(nonce, frozenset(bluntly))
    visitor.visit(tree)
    ast.fix_missing_locations(tree)
    # Behind the docstring and the imports from the future, which must come first.
    place = next((i for i, node in enumerate(tree.body) if not _opening(node)), len(tree.body))
    tree.body[place:place] = ast.parse(HELPERS.format(never=visitor.never, sides=visitor.sides)).body
    return Falsified(ast.unparse(tree) + "\n", frozenset(visitor.tests))


def _opening(node: ast.stmt) -> bool:
    docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return docstring or (isinstance(node, ast.ImportFrom) and node.module == "__future__")


class _Falsifier(ast.NodeTransformer):
    """Rewrites functions only: what a module asserts while it is imported would hide its tests."""

    def __init__(self, nonce: str, bluntly: frozenset[str]) -> None:
        self.never, self.sides, self._nonce, self._bluntly = f"Never{nonce}", f"sides{nonce}", nonce, bluntly
        self.tests: set[str] = set()
        self._depth = 0
        self._asserted = False

    # functions

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self._function(node)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        is_test = not self._depth and node.name.lower().startswith("test")
        documented = ast.get_docstring(node, clean=True)
        names = {node.name, *((documented or "").strip().split("\n")[:1])} - {""}
        blunt = is_test and not names.isdisjoint(self._bluntly)
        outer, self._asserted = self._asserted, False
        self._depth += 1
        if not blunt:
            self.generic_visit(node)
        self._depth -= 1
        if is_test:
            self.tests |= names
            if blunt or not self._asserted:
                self._fail_at_the_end(node, documented is not None)
        self._asserted |= outer
        return node

    def _fail_at_the_end(self, node: ast.FunctionDef | ast.AsyncFunctionDef, documented: bool) -> None:
        first = 1 if documented else 0
        body = node.body[first:] or [ast.Pass()]
        end = ast.parse(f"raise AssertionError('falsified {self._nonce}')").body
        node.body[first:] = [ast.Try(body=body, handlers=[], orelse=[], finalbody=end)]

    # what is asserted

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        if self._depth:
            self._asserted = True
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
                sides = [ast.Compare(side, [ast.Eq()], [self._something()]) for side in (left, right)]
                return ast.BoolOp(ast.Or(), [*sides])
            if isinstance(test.ops[0], ast.Is):
                return ast.Compare(left, [ast.Is()], [self._something()])
            if isinstance(test.ops[0], ast.In):
                return ast.Compare(self._something(), [ast.In()], [right])
        return ast.UnaryOp(ast.Not(), test)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        count = len(node.args)
        if not self._depth or not count or any(isinstance(word, ast.Starred) for word in node.args[:2]):
            return node
        if name in ("raises", "assertRaises", "assertRaisesRegex", "assertRaisesMessage", "assertWarns"):
            node.args[0] = ast.Name(self.never, ast.Load())
        elif name in ("assertTrue", "assertFalse", "assert_", "failUnless"):
            node.args[0] = ast.UnaryOp(ast.Not(), node.args[0])
        elif name in ("assertIn", "assertIsNone"):
            node.args[0] = self._something()
        elif name == "assertIsNotNone":
            node.args[0] = ast.Constant(None)
        elif count > 1 and name in ("assertIs", "assertIsInstance"):
            node.args[1] = ast.Name(self.never, ast.Load()) if name == "assertIsInstance" else self._something()
        elif count > 1 and name.startswith("assert") and name.endswith(("Equal", "Equals", "Equal_", "equal")):
            if "Not" in name:
                return node
            # The side that equals what nothing equals, if there is one, against that.
            sides = ast.Call(ast.Name(self.sides, ast.Load()), node.args[:2], [])
            node.args[:2] = [ast.Starred(sides, ast.Load())]
        else:
            return node
        self._asserted = True
        return node

    def _something(self) -> ast.expr:
        """An object that equals nothing but itself."""
        return ast.Call(ast.Name(self.never, ast.Load()), [], [])
