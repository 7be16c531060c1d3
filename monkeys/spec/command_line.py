"""The command line of a configuration: its options in groups, their help, and the values that were given.

Whether an option was given is known from one parse: an option that is absent leaves nothing behind. A mistake is one
line on standard error that says where help is, and exit code 2.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeVar

from envs.messages import complain
from monkeys.spec.kinds import PATH, Kind, Many, Words
from monkeys.spec.option import Place, places, sections

__all__ = ["Parser", "add_options", "read_as", "spec_of"]

Spec = TypeVar("Spec")


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` that says a mistake in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        complain(f"{message}; `{self.prog} --help` lists the options")
        raise SystemExit(2)


def add_options(parser: argparse.ArgumentParser, kind: type, *, file: bool = True) -> None:
    """Add the options of a configuration; with `file` also those that read and print a file."""
    for taken in sections(kind):
        group = parser.add_argument_group(taken.title, taken.about or None)
        for place in places(kind):
            if place.section.name == taken.name:
                _add(group, place)
    if file:
        group = parser.add_argument_group("configuration")
        group.add_argument(
            "--config",
            type=read_as(PATH),
            default=argparse.SUPPRESS,
            metavar="FILE",
            help="read options from this TOML file; the command line and MONKEYS_... variables are over it",
        )
        group.add_argument(
            "--print-config",
            action="store_true",
            default=argparse.SUPPRESS,
            help="print the configuration as a TOML file and do nothing else",
        )


def spec_of(
    kind: type[Spec],
    arguments: argparse.Namespace,
    environment: Mapping[str, str] = os.environ,
    *,
    warn: bool = True,
) -> Spec:
    """The configuration: the command line over the environment over the file over the defaults.

    With --print-config it is printed, and the program ends. With `warn`, environment variables that set no option of
    any command get a line on standard error. Raises `ConfigError`.
    """
    # Imported now, so that --help and a mistyped option answer at once.
    from monkeys.spec.build import build
    from monkeys.spec.environment import read_environment, unknown_variables
    from monkeys.spec.errors import ConfigError
    from monkeys.spec.toml_file import read_toml, to_toml

    told = vars(arguments)
    typed = {place.path: _frozen(told[place.path]) for place in places(kind) if place.path in told}
    values = {
        **(read_toml(kind, told["config"]) if "config" in told else {}),
        **read_environment(kind, environment),
        **typed,
    }
    spec = build(kind, values, typed)
    if warn and not values.get("session.quiet"):
        for line in unknown_variables(environment):
            complain(line, "warning")
    if told.get("print_config"):
        print(to_toml(spec), end="")
        raise SystemExit(0)
    if missing := [place.label for place in places(kind) if place.required and place.path not in values]:
        raise ConfigError(f"{' and '.join(missing)} must be given; --help describes it")
    return spec


def read_as(kind: Kind) -> Callable[[str], Any]:
    """The kind as a `type` for argparse, which then says what is wrong with a text."""

    def read(text: str) -> Any:
        try:
            return kind.read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read


def _unless_absent(read: Callable[[str], Any], text: str) -> Any:
    """What argparse hands to a type for a positional argument that is absent stays as it is."""
    return text if text is argparse.SUPPRESS else read(text)


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _add(group: argparse._ArgumentGroup, place: Place) -> None:
    option = place.option
    told: dict[str, Any] = {"default": argparse.SUPPRESS, "help": _help(place)}
    if place.positional:
        read = read_as(option.kind)
        group.add_argument(
            place.path, nargs="?", metavar=place.label, type=lambda text: _unless_absent(read, text), **told
        )
        return
    told["dest"] = place.path
    if option.flag:
        group.add_argument(place.label, action="store_const", const=not option.negative, **told)
        told["help"] = argparse.SUPPRESS
        group.add_argument(f"--{option.opposite}", action="store_const", const=option.negative, **told)
        return
    for name, kind in ((option.name, option.kind), *option.other):
        many = isinstance(kind, Many) and not isinstance(kind, Words)
        one = kind.one if isinstance(kind, Many) and many else kind
        names = getattr(one, "names", ())
        metavar = f"{{{','.join(names)}}}" if names else option.metavar
        group.add_argument(f"--{name}", type=read_as(one), metavar=metavar, nargs="+" if many else None, **told)
        told["help"] = argparse.SUPPRESS


def _help(place: Place) -> str:
    option = place.option
    text = option.help
    if place.required:
        text += " (required)"
    elif option.flag:
        pass
    elif option.shown:
        text += f" (default: {option.shown})"
    elif place.standard not in (None, "", (), {}):
        text += f" (default {option.kind.show(place.standard)})"
    return text.replace("%", "%%")
