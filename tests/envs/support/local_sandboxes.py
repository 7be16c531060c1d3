"""Shared by the tests of local sandboxes: a back end with its event loop, repositories, the state of the machine."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import random
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

import envs.local.backend
from envs import Command, Completed, Limits, Origin, Sandbox, SandboxUnavailable
from envs.events import Event
from envs.local.backend import LocalBackend, LocalSandbox, adopt
from envs.local.namespace_client import NamespaceClient

T = TypeVar("T")

PROJECT = Path(envs.local.backend.__file__).resolve().parents[2]
FILES = {
    ".gitignore": b"*.log\nbuild/\n",
    "a.txt": b"one\ntwo\nthree\n",
    "crlf.txt": b"one\r\ntwo\r\n",
    "data.bin": bytes(range(256)),
    "deep/er/module.py": b"x = 1\n",
    "run.sh": b"#!/bin/sh\necho ran\n",
    "unended": b"no newline",
}


class LocalHarness:
    """A local back end with its event loop, shared by the tests of a module."""

    def __init__(self, isolation: str | None = None) -> None:
        self.loop = asyncio.Runner()
        self.events: list[Event] = []
        self.backend = LocalBackend(isolation, events=self.events.append)

    def __call__(self, story: Coroutine[Any, Any, T]) -> T:
        return self.loop.run(story)

    async def open(self, origin: Origin, limits: Limits | None = None) -> LocalSandbox:
        return await self.backend.open(origin, limits or Limits(), label="test")

    @property
    def server_pid(self) -> int:
        """The process that forks the guests, the namespace server proper."""
        assert isinstance(self.backend._isolation, NamespaceClient)
        (inner,) = children(self.backend._isolation.process.pid)
        return inner

    def guests(self) -> list[int]:
        return children(self.server_pid)

    def close(self) -> None:
        self(self.backend.close())
        self.loop.close()


def git(folder: Path, *words: str, given: bytes = b"") -> bytes:
    identity = ("-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "core.autocrlf=false")
    nowhere = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(
        ["git", *identity, *words], cwd=folder, input=given, capture_output=True, env={**os.environ, **nowhere}
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def make(folder: Path, files: dict[str, bytes]) -> Origin:
    """A repository at `folder`, as sandboxes are opened from, and a copy at `folder`.checkout to apply patches to."""
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    if "run.sh" in files:
        (folder / "run.sh").chmod(0o755)
        (folder / "link").symlink_to("a.txt")
    git(folder, "init", "-q")
    git(folder, "config", "core.logAllRefUpdates", "false")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "base", "--allow-empty")
    shutil.copytree(folder, f"{folder}.checkout", symlinks=True)
    commit = git(folder, "rev-parse", "HEAD").decode().strip()
    adopt(folder)
    return Origin(commit, folder)


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Origin:
    return make(tmp_path_factory.mktemp("base") / "repository", FILES)


@pytest.fixture(scope="module")
def harness() -> Iterator[LocalHarness]:
    harness = LocalHarness("overlay")
    try:
        harness(harness.backend.start())
    except SandboxUnavailable as error:
        harness.close()
        pytest.skip(str(error))
    yield harness
    harness.close()


@pytest.fixture
def sandbox(harness: LocalHarness, origin: Origin) -> Iterator[Sandbox]:
    sandbox = harness(harness.open(origin))
    yield sandbox
    harness(sandbox.close())


@pytest.fixture
def sh(harness: LocalHarness, sandbox: Sandbox) -> Callable[..., Completed]:
    def run(script: str | tuple[str, ...], **more: Any) -> Completed:
        return harness(sandbox.run(Command(script, **more)))

    return run


Shell = Callable[..., Completed]


def unique() -> str:
    """A duration for `sleep` that no other process has on its command line."""
    return f"1000.{random.SystemRandom().randrange(10**12):012d}"


def processes(word: str) -> list[int]:
    """Processes of this machine with this word on their command line."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                if word.encode() in Path(f"/proc/{name}/cmdline").read_bytes().split(b"\0"):
                    found.append(int(name))
    return found


def soon(true: Callable[[], bool], seconds: float = 3.0) -> bool:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


async def soon_in_loop(true: Callable[[], bool], seconds: float = 3.0) -> bool:
    return await asyncio.to_thread(soon, true, seconds)


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def mounts() -> set[str]:
    return {line for line in Path("/proc/self/mounts").read_text().splitlines() if "docker" not in line}


def tree(packed: bytes) -> dict[str, tuple[str, bytes]]:
    """Name to kind and content, of files and links in a tar."""
    result = {}
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        for member in tar:
            if member.issym():
                result[member.name] = "link", member.linkname.encode()
            elif member.islnk():  # a further name of what came before, which may be a link
                result[member.name] = result[member.linkname]
            elif not member.isdir():
                file = tar.extractfile(member)
                assert file is not None
                result[member.name] = "exec" if member.mode & 0o100 else "file", file.read()
    return result


def tree_at(folder: Path) -> dict[str, tuple[str, bytes]]:
    return tree(subprocess.run(["tar", "-C", folder, "-cf-", "--exclude=./.git", "."], capture_output=True).stdout)


async def tree_in(sandbox: Sandbox) -> dict[str, tuple[str, bytes]]:
    done = await sandbox.run(Command("tar -cf- --exclude=./.git .", output_cap=100_000_000))
    assert done.returncode == 0
    return tree(done.output)


@contextlib.contextmanager
def applied(origin: Origin, patch: bytes) -> Iterator[Path]:
    """A fresh checkout of the base with the patch applied."""
    assert origin.repository is not None
    with tempfile.TemporaryDirectory() as parent:
        checkout = Path(parent) / "checkout"
        shutil.copytree(f"{origin.repository}.checkout", checkout, symlinks=True)
        if patch:
            git(checkout, "apply", "--whitespace=nowarn", "-", given=patch)
        yield checkout


ORDINARY = 65_123  # a user that owns nothing here


@contextlib.contextmanager
def ordinary_place() -> Iterator[tuple[Path, Origin]]:
    """A folder with a repository that belong to an ordinary user, who finds this package there."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        place.chmod(0o755)
        (place / "home").mkdir()
        origin = make(place / "repository", FILES)
        assert origin.repository is not None
        shutil.copytree(PROJECT / "envs", place / "envs", ignore=shutil.ignore_patterns("__pycache__"))
        if os.geteuid() == 0:
            for path in (place / "home", origin.repository, *origin.repository.rglob("*")):
                os.lchown(str(path), ORDINARY, ORDINARY)
        yield place, origin


def run_as_ordinary(place: Path, story: str, *arguments: str, given: str = "") -> None:
    """Run a Python program as an ordinary user to its last line, `print("fine")`. Skips where that cannot be."""
    who: dict[str, Any] = {}
    python = sys.executable
    if os.geteuid() == 0:
        who = {"user": ORDINARY, "group": ORDINARY, "extra_groups": []}
        names = ("python3", "/usr/local/bin/python3", "/usr/bin/python3")
        probe = "import sys, asyncio; sys.exit(sys.version_info < (3, 11))"

        def works(candidate: str) -> bool:
            try:
                return not subprocess.run([candidate, "-c", probe], cwd="/", capture_output=True, **who).returncode
            except PermissionError:
                return False

        candidates = (sys.executable, *map(shutil.which, names))
        python = next((candidate for candidate in candidates if candidate and works(candidate)), "")
        if not python:
            pytest.skip("no Python 3.11 that an ordinary user can run")
    done = subprocess.run(
        [python, "-W", "error", "-c", story, *arguments],
        cwd=place,
        env={"HOME": str(place / "home"), "PATH": os.defpath, "TMPDIR": str(place)},
        input=given,
        capture_output=True,
        text=True,
        **who,
    )
    if "cannot be made here" in done.stderr:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    assert (done.stdout, done.stderr) == ("fine\n", "")
