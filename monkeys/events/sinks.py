"""Sinks: a log file of events, and several sinks as one.

`JsonLines` appends one JSON object a line, flushed with each event, so that the file can be followed while the run goes
on and is whole after a SIGKILL but for its last line. No line holds a secret that this process knows. Like every
sink it never raises: when the disk refuses, nothing more is written, the run goes on, and `failure` keeps the cause.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Self

from envs.errors import MonkeysError
from envs.secrets import keep_environment, redacted
from monkeys.events.events import Event, Sink, to_json

__all__ = ["EventLogError", "JsonLines", "several"]


class EventLogError(MonkeysError):
    """Events cannot be written to the file."""


class JsonLines:
    """Appends events to a file, with the time in seconds since 1970 as "t". Closed at the end of its `with` block.

    Raises `EventLogError` where the file cannot be opened.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self.failure: OSError | None = None
        self._clock, self._lock = clock, Lock()
        keep_environment()
        try:
            self._file = path.open("a+b")
            self._end_torn_line()
        except OSError as error:
            raise EventLogError(
                f"events cannot be written to {path} ({error.strerror}); name a file that can be written; "
                "nothing was changed"
            ) from None

    def __call__(self, event: Event) -> None:
        with self._lock:
            if self._file.closed or self.failure:
                return
            line = json.dumps({"t": self._clock(), **redacted(to_json(event))})
            try:
                self._file.write(f"{line}\n".encode())
                self._file.flush()
            except OSError as error:
                self.failure = error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        with self._lock:
            try:
                self._file.close()
            except OSError as error:  # what is still buffered cannot be written either
                self.failure = self.failure or error

    def _end_torn_line(self) -> None:
        """A process that was killed while it wrote leaves a part of a line. The next event begins a line of its own."""
        if self._file.tell() == 0:
            return
        self._file.seek(-1, 2)
        if self._file.read(1) != b"\n":
            self._file.write(b"\n")


def several(*sinks: Sink) -> Sink:
    """One sink that passes each event on to all of these, in order."""

    def take(event: Event) -> None:
        for sink in sinks:
            sink(event)

    return take
