"""The front door of the main job: `python -m agent.swe --attempts 250`. Argument parsing only."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from monkeys.spec.command_line import Parser, add_options, spec_of
from monkeys.spec.run import RunSpec

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, then sample. Returns the exit code; --help and a mistake on the command line raise `SystemExit`."""
    parser = Parser(
        prog="python -m agent.swe",
        description="Sample many agent trajectories per task, verify them with the task's hidden tests, and measure "
        "coverage.",
        epilog="Give the same command again to go on with a run. A larger --attempts adds attempts to it.",
    )
    add_options(parser, RunSpec)
    arguments = parser.parse_args(argv)
    # Imported after parsing, so that --help and a mistyped option answer at once.
    from envs.errors import MonkeysError
    from monkeys.commands.sample import sample

    try:
        spec = spec_of(RunSpec, arguments)
    except MonkeysError as error:
        print("error:", error, file=sys.stderr)
        return 2
    return sample(spec)


if __name__ == "__main__":
    raise SystemExit(main())
