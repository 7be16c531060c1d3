"""Options: how a field of the configuration is documented, and how the options of a tree are found.

A section is a frozen dataclass whose fields are made by `option`. A configuration is a frozen dataclass whose fields
are made by `section`; it may take a section whole or in part. `places` lists the options of a configuration, each with
its path such as "limits.turns". Everything else (command line, environment, file, saved identity) is made from that
list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any

from monkeys.spec.kinds import Flag, Kind

__all__ = ["PREFIX", "Option", "Place", "Section", "option", "places", "section", "sections"]

PREFIX = "MONKEYS_"


@dataclass(frozen=True, slots=True)
class Option:
    """What is documented at a field.

    `name` is the option without its dashes; with `negative` it denies the field, as --no-verify does. `saved` is the
    path in the configuration that is saved with a run; it is empty for what may change between sessions. With
    `resolved` the runner saves there what it has found, since the option alone does not say it. `shown` is what the
    help says of a default that depends on something else. `other` are further names with kinds of their own.
    """

    name: str
    kind: Kind
    help: str
    metavar: str
    saved: str = ""
    resolved: bool = False
    shown: str = ""
    negative: bool = False
    other: tuple[tuple[str, Kind], ...] = ()

    @property
    def flag(self) -> bool:
        """Whether it takes no value on the command line."""
        return isinstance(self.kind, Flag)

    @property
    def opposite(self) -> str:
        """The name that says the opposite of a flag."""
        return self.name.removeprefix("no-") if self.negative else f"no-{self.name}"


@dataclass(frozen=True, slots=True)
class Section:
    """How a configuration takes a section: its heading in the help, and which of its options."""

    name: str
    kind: type
    title: str
    about: str
    only: tuple[str, ...]
    required: tuple[str, ...]
    positional: tuple[str, ...]
    defaults: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """One option of one configuration."""

    section: Section
    key: str
    option: Option
    standard: Any
    """Its value where nobody gives one."""

    @property
    def path(self) -> str:
        return f"{self.section.name}.{self.key}"

    @property
    def required(self) -> bool:
        return self.key in (*self.section.required, *self.section.positional)

    @property
    def positional(self) -> bool:
        return self.key in self.section.positional

    @property
    def label(self) -> str:
        """How a message names it."""
        return self.option.name.upper() if self.positional else f"--{self.option.name}"

    @property
    def variables(self) -> dict[str, Kind]:
        """The environment variables that set it, each with the kind of its text."""
        names = {self.option.name: self.option.kind, **dict(self.option.other)}
        if self.option.flag:
            names[self.option.opposite] = self.option.kind
        return {_variable(name): kind for name, kind in names.items()}

    def denied_by(self, variable: str) -> bool:
        """Whether this one of its variables says the opposite of its value."""
        return self.option.negative == (variable != _variable(self.option.opposite)) and self.option.flag


def _variable(name: str) -> str:
    return PREFIX + name.upper().replace("-", "_")


def option(
    default: Any,
    name: str,
    kind: Kind,
    help: str,
    metavar: str = "N",
    *,
    saved: str = "",
    resolved: bool = False,
    shown: str = "",
    negative: bool = False,
    other: tuple[tuple[str, Kind], ...] = (),
) -> Any:
    """A field of a section, documented as in `Option`."""
    about = Option(name, kind, help, metavar, saved, resolved, shown, negative, other)
    return field(metadata={"option": about}, **({"default_factory": dict} if default == {} else {"default": default}))


def section(
    kind: type,
    title: str,
    about: str = "",
    *,
    only: Sequence[str] = (),
    required: Sequence[str] = (),
    positional: Sequence[str] = (),
    **defaults: Any,
) -> Any:
    """A field of a configuration: the section `kind`, or `only` some of its options.

    Those in `required` and `positional` must be given. `defaults` are other defaults than the section's own.
    """
    taken = Section("", kind, title, about, tuple(only), tuple(required), tuple(positional), defaults)
    return field(default_factory=partial(kind, **defaults), metadata={"section": taken})


def sections(kind: type) -> tuple[Section, ...]:
    """The sections of a configuration, in order."""
    return tuple(
        replace(each.metadata["section"], name=each.name) for each in fields(kind) if "section" in each.metadata
    )


def places(kind: type) -> tuple[Place, ...]:
    """The options of a configuration, in order."""
    found = []
    for taken in sections(kind):
        usual = taken.kind(**taken.defaults)
        found += [
            Place(taken, each.name, each.metadata["option"], getattr(usual, each.name))
            for each in fields(taken.kind)
            if not taken.only or each.name in taken.only
        ]
    return tuple(found)
