"""Shared by the tests of the Docker back end: images made of this machine's programs, a back end, waiting."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import hashlib
import io
import os
import random
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import time
import uuid
import warnings
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import docker
import pytest
from docker.errors import DockerException, ImageNotFound

import envs.docker.backend
from envs import Limits, Origin, Sandbox
from envs.docker.backend import DockerBackend
from envs.docker.engine import Engine
from envs.docker.images import Images
from envs.docker.orphans import LABEL
from envs.events import Event

T = TypeVar("T")

PROJECT = Path(envs.docker.backend.__file__).resolve().parents[2]
IMAGE = "coding-monkeys-test"
MINE = f"test-{uuid.uuid4().hex[:12]}"  # what the containers of this test run are for
PROGRAMS = [
    *("sh", "cat", "chmod", "cp", "dd", "env", "git", "grep", "head", "kill", "ls", "mkdir", "mktemp", "printf"),
    *("readlink", "rm", "seq", "setsid", "sleep", "tr"),
]
FILES = {
    "a.txt": b"one\ntwo\nthree\n",
    "crlf.txt": b"one\r\n",
    "data.bin": bytes(range(256)),
    "p/run.sh": b"#!/bin/sh\n",
}
DATES = {"GIT_AUTHOR_DATE": "@1 +0000", "GIT_COMMITTER_DATE": "@1 +0000"}


# the images


def parts(programs: list[str], python: bool) -> dict[str, str]:
    """What is in the image: path there to path here."""
    files = {f"/bin/{name}": os.path.realpath(shutil.which(name) or "") for name in programs}
    missing = [name for name, path in files.items() if not os.path.isfile(path)]
    if missing:
        pytest.skip(f"the test image is made of this machine's programs, and it lacks {', '.join(missing)}")
    linked = set(files.values())
    if python:
        program, library = os.path.realpath(sys.executable), os.path.realpath(sysconfig.get_path("stdlib"))
        files[program] = program
        linked.add(program)
        for folder, folders, names in os.walk(library):
            folders[:] = [name for name in folders if name not in ("site-packages", "test", "__pycache__", "idlelib")]
            for path in (f"{folder}/{name}" for name in names if name.endswith((".py", ".so"))):
                files[path] = path
                if "/lib-dynload/" in path:
                    linked.add(path)
    said = subprocess.run(["ldd", *sorted(linked)], capture_output=True, text=True).stdout
    return files | {path: path for path in re.findall(r"(/\S+) \(0x", said)}


def pack(files: dict[str, str], repository: Path | None) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name in ("tmp", "proc", "etc", "empty"):
            member = tarfile.TarInfo(name)
            member.type, member.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            tar.addfile(member)

        def by_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
            member.uid = member.gid = 0
            return member

        for name, path in files.items():
            tar.add(os.path.realpath(path), name.lstrip("/"), filter=by_root)
        if repository:
            tar.add(repository, "testbed", filter=by_root)
            member = tarfile.TarInfo("usr/bin/python3")
            member.type, member.linkname = tarfile.SYMTYPE, os.path.realpath(sys.executable)
            tar.addfile(member)
    return packed.getvalue()


def make_repository(folder: Path) -> str:
    """Write the test repository there; its commit is the same each time."""
    for name, data in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    (folder / "p/run.sh").chmod(0o755)
    identity = ("-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "core.autocrlf=false")
    for words in (("init", "-qb", "main"), ("add", "-A"), ("commit", "-qm", "base")):
        subprocess.run(["git", *identity, *words], cwd=folder, check=True, env={**os.environ, **DATES})
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@functools.cache
def recipe(programs: tuple[str, ...], python: bool) -> dict[str, str]:
    return parts(list(programs), python)


def made(client: docker.DockerClient, kind: str, programs: list[str], full: bool) -> Origin:
    """The image of this kind, made unless an earlier run did; a `full` one has Python and the repository."""
    files = recipe(tuple(programs), full)
    with tempfile.TemporaryDirectory() as folder:
        repository = Path(folder, "testbed") if full else None
        commit = make_repository(repository) if repository else ""
        text = repr((commit, [(to, os.stat(of).st_size) for to, of in sorted(files.items())]))
        name = f"{IMAGE}-{kind}:{hashlib.sha256(text.encode()).hexdigest()[:16]}"
        try:
            client.images.get(name)
        except ImageNotFound:
            data = pack(files, repository)
            repository_name, tag = name.split(":")
            client.api.import_image_from_data(data, repository=repository_name, tag=tag)
            if not client.images.list(name=name):  # Podman overlooks the tag
                client.images.get(repository_name).tag(repository_name, tag)
    return Origin(commit, image=name)


def full_image(client: docker.DockerClient) -> Origin:
    return made(client, "full", PROGRAMS, True)


# the engine


@contextlib.contextmanager
def careless() -> Iterator[None]:
    """For connecting where there may be no engine: the SDK then leaves a socket to the garbage collector."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()


def connected(address: str | None = None) -> docker.DockerClient | str:
    try:
        return docker.DockerClient(address, timeout=60) if address else docker.from_env(timeout=60)
    except DockerException as error:
        return str(error)


def engine() -> Iterator[docker.DockerClient]:
    """A client, for a fixture; afterwards all containers of this test run are gone."""
    with careless():
        client = connected()
    if isinstance(client, str):
        pytest.skip(f"no Docker engine answers here: {client}")
    yield client
    for container in containers(client, f"{LABEL}.for={MINE}"):
        with contextlib.suppress(DockerException):
            client.api.remove_container(container, force=True)
    client.close()


def containers(client: docker.DockerClient, label: str) -> list[str]:
    return [container["Id"] for container in client.api.containers(all=True, filters={"label": label})]


class DockerHarness:
    """A Docker back end with its event loop and the events that it sent."""

    def __init__(self, origin: Origin, engine: Engine | None = None) -> None:
        self.loop = asyncio.Runner()
        self.events: list[Event] = []
        self.backend = DockerBackend(functools.partial(Images, patience=0.01), engine, events=self.events.append)
        self.origin = origin

    def __call__(self, story: Coroutine[Any, Any, T]) -> T:
        return self.loop.run(story)

    async def open(self, limits: Limits | None = None, **origin: Any) -> Sandbox:
        there = Origin(**{"commit": self.origin.commit, "image": self.origin.image, **origin})
        return await self.backend.open(there, limits or Limits(), label=MINE)

    @property
    def label(self) -> str:
        """What its containers carry and no others do."""
        return f"{LABEL}.run={self.backend.run}"

    def close(self) -> None:
        self(self.backend.close())
        self.loop.close()


# waiting


def soon(true: Callable[[], bool], seconds: float = 3.0) -> bool:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def unique() -> str:
    """A duration for `sleep` that no other process has on its command line."""
    return f"1000.{random.SystemRandom().randrange(10**12):012d}"


def alive(word: str) -> bool:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if word.encode() in path.read_bytes().split(b"\0"):
                return True
    return False


def one_line(error: BaseException) -> str:
    text = str(error)
    assert "\n" not in text
    assert len(text) < 600
    return text
