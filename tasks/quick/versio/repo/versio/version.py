"""One version: MAJOR.MINOR.PATCH with an optional pre-release."""

from __future__ import annotations

from dataclasses import dataclass
from functools import total_ordering

from versio.errors import BadVersion


@total_ordering
@dataclass(frozen=True, eq=True)
class Version:
    major: int
    minor: int
    patch: int
    pre: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Version:
        core, dash, pre = text.strip().partition("-")
        numbers = core.split(".")
        if len(numbers) != 3 or not all(number.isdigit() for number in numbers):
            raise BadVersion(f"expected MAJOR.MINOR.PATCH: {text!r}")
        if dash and not all(pre.split(".")):
            raise BadVersion(f"empty pre-release identifier: {text!r}")
        major, minor, patch = map(int, numbers)
        return cls(major, minor, patch, tuple(pre.split(".")) if dash else ())

    def __str__(self) -> str:
        core = f"{self.major}.{self.minor}.{self.patch}"
        return f"{core}-{'.'.join(self.pre)}" if self.pre else core

    def __lt__(self, other: Version) -> bool:
        return self._rank() < other._rank()

    def _rank(self) -> tuple[object, ...]:
        """A release comes after its pre-releases; numbers come before words."""
        parts = tuple((0, int(p), "") if p.isdigit() else (1, 0, p) for p in self.pre)
        return (self.major, self.minor, self.patch, not self.pre, parts)
