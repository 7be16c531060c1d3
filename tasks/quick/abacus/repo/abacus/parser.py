"""From tokens to a tree.

A tree is a tuple of the column, the kind and the parts: a number's text, a variable's name,
an operator and its operands, or a function and its arguments.
"""

from __future__ import annotations

from typing import Any

from abacus.errors import FormulaError
from abacus.lexer import Token, tokens

LEVELS = [("+", "-"), ("*", "/", "//", "%")]

Tree = tuple[Any, ...]


def parse(text: str) -> Tree:
    reader = _Reader(tokens(text))
    tree = reader.binary(0)
    reader.expect("end")
    return tree


class _Reader:
    def __init__(self, found: list[Token]) -> None:
        self._tokens = found
        self._place = 0

    def take(self, *kinds: str) -> Token | None:
        """The next token, if it is of one of these kinds."""
        token = self._tokens[self._place]
        if token.kind not in kinds:
            return None
        self._place += 1
        return token

    def expect(self, kind: str) -> None:
        token = self._tokens[self._place]
        if self.take(kind) is None:
            raise FormulaError(token.column, f"unexpected {token.text or 'end'!r}")

    def binary(self, level: int) -> Tree:
        if level == len(LEVELS):
            return self.unary()
        left = self.binary(level + 1)
        while token := self.take(*LEVELS[level]):
            left = (token.column, "binary", token.kind, left, self.binary(level + 1))
        return left

    def unary(self) -> Tree:
        if token := self.take("-"):
            return (token.column, "negate", self.unary())
        return self.power()

    def power(self) -> Tree:
        base = self.atom()
        if token := self.take("**"):
            return (token.column, "binary", "**", base, self.unary())
        return base

    def atom(self) -> Tree:
        if token := self.take("number"):
            return (token.column, "number", token.text)
        if token := self.take("name"):
            if self.take("("):
                return (token.column, "call", token.text, self.arguments())
            return (token.column, "variable", token.text)
        self.expect("(")
        tree = self.binary(0)
        self.expect(")")
        return tree

    def arguments(self) -> list[Tree]:
        found = [self.binary(0)]
        while self.take(","):
            found.append(self.binary(0))
        self.expect(")")
        return found
