"""One lock per image: threads and processes of this machine neither pull nor remove the same image at once.

The kernel releases the lock of a process that ends, also by SIGKILL.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from envs.events import Sink, Status
from envs.sandbox import SandboxUnavailable

__all__ = ["ImageLocks", "stopped_error"]

RETRY_SECONDS = 0.1


class ImageLocks:
    """The locks of one engine's images, files in `folder`. Setting `stopped` ends every wait for a lock."""

    def __init__(self, folder: Path, engine: str, stopped: threading.Event, events: Sink) -> None:
        self._folder, self._engine, self._stopped, self._events = folder, engine, stopped, events

    @contextmanager
    def locked(self, image: str, *, wait: bool = True) -> Iterator[bool]:
        """Hold the lock of `image`; without `wait`, False if somebody else holds it.

        Raises `SandboxUnavailable` if no lock file can be written, or if the wait was stopped.
        """
        path = self._folder / hashlib.sha256(f"{self._engine} {image}".encode()).hexdigest()[:24]
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise SandboxUnavailable(
                f"cannot write {path} ({error.strerror}), without which two processes may pull {image} at once; "
                "set XDG_CACHE_HOME to a folder that can be written"
            ) from None
        try:
            yield self._take(file, image, wait)
        finally:
            os.close(file)  # releases the lock

    def _take(self, file: int, image: str, wait: bool) -> bool:
        told = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except BlockingIOError:
                if not wait:
                    return False
            if not told:
                self._events(Status(f"waiting for {image}, which is being pulled already"))
                told = True
            if self._stopped.wait(RETRY_SECONDS):
                raise stopped_error(image)


def stopped_error(image: str) -> SandboxUnavailable:
    """The error of a pull that was stopped on purpose."""
    return SandboxUnavailable(f"the pull of {image} was stopped; the same command goes on with it")
