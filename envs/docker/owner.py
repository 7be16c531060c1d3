"""The process that owns a thing which can outlive it, distinguished from all processes that had the same number.

Guarantees: `alive` never takes a living owner for a dead one. It returns None when it cannot know, as for a process on
another host or in another PID namespace.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Owner"]

PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Owner:
    """A process. `started` is its start time, in the units of its system; with `pid` it is unique within one boot.

    `host` is the host's name and, on Linux, the PID namespace in which `pid` counts. `boot` identifies the boot of the
    host; it is empty where the system does not tell.
    """

    host: str
    boot: str
    pid: int
    started: str

    @classmethod
    def me(cls) -> Owner:
        """The running process."""
        return cls(_host(), _boot(), os.getpid(), _started(os.getpid()) or "")

    @classmethod
    def parse(cls, text: str) -> Owner:
        """The owner that `str` wrote. Raises `ValueError` if it did not."""
        host, boot, pid, started = text.split(" ")
        return cls(host, boot, int(pid), started)

    def __str__(self) -> str:
        return f"{self.host} {self.boot} {self.pid} {self.started}"

    def alive(self) -> bool | None:
        """Whether it still runs; None if that cannot be known from here."""
        here = Owner.me()
        if self.host != here.host or not self.boot or not self.started:
            return None
        if self.boot != here.boot:
            return False
        started = _started(self.pid)
        return started if started is None else started == self.started


def _host() -> str:
    name = socket.gethostname().replace(" ", "-")
    try:
        return f"{name}/{os.readlink(PROC / 'self/ns/pid')}"
    except OSError:
        return name


def _boot() -> str:
    try:
        return (PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return _output("sysctl", "-n", "kern.bootsessionuuid") if sys.platform == "darwin" else ""


def _started(pid: int) -> str | None:
    """The start time of the process with this number; empty if there is none, None if it cannot be seen."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass  # it exists and belongs to another user
    if not (PROC / "self/stat").exists():
        return _output("ps", "-o", "lstart=", "-p", str(pid)) or None
    try:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:  # hidden from this user, or it has just ended
        return None
    return "" if fields[0] in "ZX" else fields[19]


def _output(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return "-".join(done.stdout.split())
