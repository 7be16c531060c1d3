"""`monkeys images`, `monkeys images prefetch` and `monkeys images remove`: the Docker images of tasks."""

from __future__ import annotations

import argparse

from monkeys.commands.shared import add_dry_run, make_console
from monkeys.spec.command_line import Parser, add_options, read_as, spec_of
from monkeys.spec.command_specs import ImagesSpec, PrefetchSpec
from monkeys.spec.kinds import Number

__all__ = ["add_arguments", "carry_out"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what these commands take."""
    parser.description = (
        "List the Docker images that this program pulled or prepared or, with --tasks, say which images of a task set "
        "are here."
    )
    add_options(parser, ImagesSpec, file=False)
    commands = parser.add_subparsers(metavar="COMMAND", title="commands", dest="images_command", parser_class=Parser)
    add_options(
        commands.add_parser("prefetch", help="pull all images that a task set needs, before a run"), PrefetchSpec
    )
    remove = commands.add_parser(
        "remove", help="remove pulled images, the least recently used first; never an image that is in use"
    )
    add_dry_run(remove)
    down_to = remove.add_mutually_exclusive_group(required=True)
    size = read_as(Number(positive=True, zero=True, unit="gigabytes"))
    down_to.add_argument("--quota", type=size, metavar="GB", help="until the others take no more than this")
    down_to.add_argument("--all", action="store_true", help="all of them")
    down_to.add_argument(
        "--prepared", action="store_true", help="only what was prepared for runs to start from; they make it again"
    )


def carry_out(arguments: argparse.Namespace) -> int:
    """Do it. Returns the exit code."""
    if arguments.images_command == "prefetch":
        return _prefetch(arguments)
    from monkeys.commands import housekeeping

    if arguments.images_command == "remove" and arguments.prepared:
        return housekeeping.remove_prepared(arguments.dry_run, make_console())
    if arguments.images_command == "remove":
        quota = 0.0 if arguments.all else arguments.quota
        return housekeeping.remove_images(quota, arguments.dry_run, make_console())
    tasks = spec_of(ImagesSpec, arguments).tasks
    return housekeeping.show_images(housekeeping.ImageSource(tasks.set or None, tasks.ids), make_console())


def _prefetch(arguments: argparse.Namespace) -> int:
    spec = spec_of(PrefetchSpec, arguments)
    from monkeys.commands.housekeeping import ImageSource, prefetch

    images = spec.images
    source = ImageSource(spec.tasks.set, spec.tasks.ids, images.mirror, images.platform, images.quota)
    return prefetch(source, spec.prefetch.parallel, make_console())
