"""What a package needs: a name, and bounds on its version."""

from __future__ import annotations

from dataclasses import dataclass

from stackup.names import release

SIGNS = (">=", "<=", "==", "!=", ">", "<")


@dataclass(frozen=True)
class Requirement:
    name: str
    bounds: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Requirement:
        """Read `name`, `name>=1.2` or `name>=1.2,<2`."""
        end = min((text.find(sign) for sign in SIGNS if sign in text), default=len(text))
        name = text[:end].strip()
        if not name:
            raise ValueError(f"the name is missing: {text!r}")
        bounds = [_bound(part.strip()) for part in text[end:].split(",") if part.strip()]
        return cls(name, tuple(bounds))

    def allows(self, version: str) -> bool:
        return all(_holds(release(version), sign, release(bound)) for sign, bound in self.bounds)


def _bound(text: str) -> tuple[str, str]:
    for sign in SIGNS:
        if text.startswith(sign):
            return sign, text[len(sign) :].strip()
    raise ValueError(f"a bound begins with one of {' '.join(SIGNS)}: {text!r}")


def _holds(version: tuple[int, ...], sign: str, bound: tuple[int, ...]) -> bool:
    if sign == "==":
        return version == bound
    if sign == "!=":
        return version != bound
    if sign == ">":
        return version > bound
    if sign == "<":
        return version < bound
    return version >= bound if sign == ">=" else version <= bound
