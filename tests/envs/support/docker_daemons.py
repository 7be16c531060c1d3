"""Engines that a test starts in a folder of its own and may stop without effect on other engines."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from tests.envs.support.docker_image import connected

__all__ = ["Daemon", "docker_daemon", "podman_service"]

# Podman asks for more open files and processes than a machine without CAP_SYS_RESOURCE may give; our limits stay.
RUNTIME = """#!{python}
import json, os, sys
for word, next in zip(sys.argv, sys.argv[1:]):
    if word in ("--bundle", "--process"):
        path = os.path.join(next, "config.json") if word == "--bundle" else next
        config = json.load(open(path))
        process = config.get("process", config)
        kept = [one for one in process.get("rlimits", []) if one["type"] not in ("RLIMIT_NOFILE", "RLIMIT_NPROC")]
        process["rlimits"] = kept
        json.dump(config, open(path, "w"))
os.execv("{runc}", ["runc", *sys.argv[1:]])
"""


class Daemon:
    """A process that serves the Docker API at `address`."""

    def __init__(self, folder: Path, command: list[str]) -> None:
        self.folder, self.command = folder, command
        self.address = f"unix://{folder}/docker.sock"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, seconds: float = 30.0) -> docker.DockerClient:
        """A client of it, once it answers. Skips the test if it does not."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.folder
            )
        deadline = time.monotonic() + seconds
        while not self._listens():
            if self._process.poll() is not None or time.monotonic() > deadline:
                words = (self.folder / "log").read_text(errors="replace").splitlines()[-1:]
                pytest.skip(f"{self.command[0]} does not start here: {' '.join(words)}")
            time.sleep(0.02)
        client = connected(self.address)
        assert not isinstance(client, str), (self.folder / "log").read_text()[-2000:]
        return client

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(f"{self.folder}/docker.sock") == 0

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(60)
            self._process = None
            # Its containerd dies with it, but a next one would go by the number for a while.
            (self.folder / "exec/containerd/containerd.pid").unlink(missing_ok=True)


@contextlib.contextmanager
def docker_daemon() -> Iterator[Daemon]:
    with _daemon("dockerd") as folder:
        places = [f"--data-root={folder}/data", f"--exec-root={folder}/exec", f"--pidfile={folder}/pid"]
        host = f"--host=unix://{folder}/docker.sock"
        alone = ["--bridge=none", "--iptables=false", "--ip6tables=false", f"--config-file={folder}/daemon.json"]
        (folder / "daemon.json").write_text("{}")
        daemon = Daemon(folder, ["dockerd", *places, host, *alone])
        try:
            yield daemon
        finally:
            daemon.stop()


@contextlib.contextmanager
def podman_service() -> Iterator[Daemon]:
    with _daemon("podman") as folder:
        runc = shutil.which("runc")  # crun refuses a machine with both versions of cgroups
        if runc is None:
            pytest.skip("runc is not installed, which podman is to use here")
        runtime = folder / "runtime"
        runtime.write_text(RUNTIME.format(python=sys.executable, runc=runc))
        runtime.chmod(0o755)
        places = [f"--root={folder}/root", f"--runroot={folder}/run", f"--tmpdir={folder}/tmp"]
        choices = ["--cgroup-manager=cgroupfs", "--events-backend=file", f"--runtime={runtime}"]
        words = ["system", "service", "--time=0", f"unix://{folder}/docker.sock"]
        daemon = Daemon(folder, ["podman", *places, *choices, *words])
        try:
            yield daemon
        finally:
            daemon.stop()


@contextlib.contextmanager
def _daemon(program: str) -> Iterator[Path]:
    """A folder for it, which is gone afterwards with all that was mounted there. Skips the test without the program."""
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    if os.geteuid() != 0:
        pytest.skip(f"a {program} of the test's own needs root")
    folder = Path(tempfile.mkdtemp(prefix="docker-", dir="/tmp"))  # short, as the path of a socket must be
    try:
        yield folder
    finally:
        for pid in _below(folder):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        mounts = Path("/proc/self/mounts").read_text().splitlines()
        below = [line.split()[1] for line in mounts if line.split()[1].startswith(f"{folder}/")]
        for place in reversed(below):
            subprocess.run(["umount", "-l", place], check=False)
        shutil.rmtree(folder, ignore_errors=True)


def _below(folder: Path) -> list[int]:
    """The processes that have this folder in their command line, and their children."""
    parents, found = {}, set()
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            if f"{folder}/".encode() in (path / "cmdline").read_bytes():
                found.add(int(path.name))
    found |= {pid for pid, parent in parents.items() if parent in found}
    return list(found - {os.getpid()})
