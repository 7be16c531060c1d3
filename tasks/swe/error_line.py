"""The line of a log that says best why tests did not run."""

from __future__ import annotations

import re

__all__ = ["with_error_line"]

LONGEST = 200  # characters that are shown
LOOKED_AT = 1 << 20  # characters from the end of a log
TRACE = re.compile(r"\++ ")  # what a shell prints under `set -x`
ERROR = re.compile(
    r"error|exception|fatal|cannot|can't|could not|unable|not found|no such|denied|refused|failed|killed|abort"
    r"|segmentation|timed? ?out|no space|no module|undefined|unrecogni[sz]ed|invalid|panic",
    re.I,
)


# Names of tests tell of errors too.
GOOD = re.compile(r"(\bok|\bPASSED.*|\bpassed)$", re.I)


# Lines of a runner's summary that count errors and name files, and do not say what is wrong.
SUMMARY = re.compile(r"([=!_*-])\1{2,} .* \1{2,}$|(ERROR|FAILED)( collecting)? \S+$")


def with_error_line(reason: str, log: str) -> str:
    """The reason, and the last line of the log that tells of an error; the last line at all if none does.

    Lines of a shell's trace are not counted. Control characters are shown as escapes, and a long line is cut.
    """
    lines = [line for line in map(str.strip, log[-LOOKED_AT:].splitlines()) if line and not TRACE.match(line)]
    if not lines:
        return f"{reason}, and nothing was printed"
    for line in reversed(lines):
        if ERROR.search(line) and not GOOD.search(line) and not SUMMARY.match(line):
            return f"{reason}; the last error line: {_shown(line)}"
    return f"{reason}; the last line: {_shown(lines[-1])}"


def _shown(line: str) -> str:
    text = "".join(char if char.isprintable() else _escaped(char) for char in line[:LONGEST])
    return f"{text}…" if len(line) > LONGEST else text


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode()
