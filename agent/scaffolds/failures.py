"""The first failure in the output of tests, in a few lines, for a model that can read no more.

Reads the output of unittest and pytest; of any other output it gives the end.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["Failure", "first_failure"]

FRAME = re.compile(r'^ *File "([^"\n]+)", line (\d+), in \S+\n +(\S.*)$', re.MULTILINE)
TRACEBACK = re.compile(r"^Traceback \(most recent call last\):\n(?P<body>(?:[ \t].*\n)+)(?P<error>\S.*)", re.MULTILINE)
PYTEST = re.compile(r"^(?P<path>[^\s:]+\.py):(?P<line>\d+): ", re.MULTILINE)
MARKED = re.compile(r"^(?:>|E) +(.*)$", re.MULTILINE)
MARKED_LINES, END_CHARACTERS = 6, 400


@dataclass(frozen=True, slots=True)
class Failure:
    """The first failure in an output: its message, short and in full, and its place in the tests, if that is given."""

    said: str
    full: str
    path: str = ""
    line: int = 0


def first_failure(output: str) -> Failure:
    if found := TRACEBACK.search(output):
        frames = FRAME.findall(found["body"])
        if not frames:
            return Failure(found["error"], found[0])
        path, line, code = frames[0]
        return Failure(f"{code}\n{found['error']}", found[0], path, int(line))
    if marked := MARKED.findall(output):
        said = "\n".join(marked[:MARKED_LINES])
        where = PYTEST.search(output)
        return Failure(said, said, where["path"], int(where["line"])) if where else Failure(said, said)
    end = output.strip()[-END_CHARACTERS:]
    return Failure(end, end)
