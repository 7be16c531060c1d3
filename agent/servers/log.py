"""A server's log: one file in the run's folder, to which every start adds; and the line that matters in it.

`cause` finds the line that a person would look for when the server has died: the last error that is the server's own
and not a report of another one's, or else the last line.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from pathlib import Path

__all__ = ["Log"]

LOOKED_AT = 1 << 18  # bytes at its end
LINE_CHARS = 300
COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# The head of a line with process, level, time and place: of vLLM, and of llama.cpp.
HEADINGS = re.compile(
    r"^(?:\([A-Za-z_]+\d*(?:[ _]\w+)* pid=\d+\)\s*|(?:DEBUG|INFO|WARNING|ERROR|CRITICAL) [\d-]+ [\d:.,]+ \[[^\]]*\]\s*"
    r"|\d+\.\d\d\.\d{3}\.\d{3} [A-Z] )+"
)
RAISED = re.compile(r"^(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Exit|NotFound)(?::\s*\S|$)")
COMPLAINT = re.compile(r"\berror: |out of memory|address already in use|no space left|failed to |cannot |^E ", re.I)
SECOND_HAND = re.compile(r"root cause above|engine core initialization failed|CancelledError", re.I)
HALF = re.compile(r"validation errors? for \w+$")  # the rest is on the next line


class Log:
    """The file at `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._began = 0

    def begin(self, command: Sequence[str]) -> int:
        """Begin a new part of the log. Returns a descriptor to write to, which the caller closes. Raises `OSError`."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        os.write(fd, f"==== {time.strftime('%Y-%m-%d %H:%M:%S')} {' '.join(command)}\n".encode())
        self._began = os.fstat(fd).st_size
        return fd

    @property
    def last(self) -> str:
        """The last line; empty if there is none yet."""
        lines = self._lines()
        return lines[-1] if lines else ""

    @property
    def cause(self) -> str:
        """Why the server died, as far as the log tells."""
        lines = self._lines()
        for pattern in (RAISED, COMPLAINT):
            for number in range(len(lines) - 1, -1, -1):
                line = lines[number]
                if pattern.search(line) and not SECOND_HAND.search(line):
                    return " ".join(lines[number : number + 2]) if HALF.search(line) else line
        return lines[-1] if lines else "it wrote nothing"

    def _lines(self) -> list[str]:
        try:
            with self.path.open("rb") as file:
                file.seek(max(self._began, file.seek(0, os.SEEK_END) - LOOKED_AT))
                text = file.read().decode("utf-8", "replace")
        except OSError:
            return []
        cleaned = (HEADINGS.sub("", COLOURS.sub("", line).strip()).strip() for line in re.split(r"[\r\n]+", text))
        return [line[:LINE_CHARS] for line in cleaned if line]
