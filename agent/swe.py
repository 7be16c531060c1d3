"""The front door of the main job: `python -m agent.swe --attempts 250`, which is `monkeys sample`. Parsing only."""

from __future__ import annotations

from collections.abc import Sequence

from monkeys.commands.ending import finished
from monkeys.commands.sample import add_arguments, carry_out
from monkeys.spec.command_line import Parser

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, then sample. Returns the exit code; --help and a mistake on the command line raise `SystemExit`."""
    parser = Parser(
        prog="python -m agent.swe",
        description="Sample many agent trajectories per task, verify them with the task's hidden tests, and measure "
        "coverage.",
    )
    add_arguments(parser)
    arguments = parser.parse_args(argv)
    return finished(lambda: carry_out(arguments))


if __name__ == "__main__":
    raise SystemExit(main())
