"""The Docker back end on a real engine, with an image made of this machine's own programs, so without a registry."""

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
import signal
import socket
import subprocess
import sys
import sysconfig
import tarfile
import time
import uuid
import warnings
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import docker
import pytest
from docker.errors import DockerException, ImageNotFound

import envs.docker
from envs import Command, Completed, FileProblem, Limits, Origin, Sandbox, SandboxLost, SandboxUnavailable
from envs.docker import LABEL, DockerBackend

T = TypeVar("T")

PROJECT = Path(envs.docker.__file__).resolve().parents[1]
IMAGE = "coding-monkeys-test"
MINE = f"test-{uuid.uuid4().hex[:12]}"  # what the containers of this test run are for
PROGRAMS = [
    *("sh", "cat", "chmod", "cp", "env", "git", "grep", "head", "kill", "ls", "mkdir", "mktemp", "printf", "readlink"),
    *("rm", "seq", "setsid", "sleep", "tr"),
]
FILES = {
    "a.txt": b"one\ntwo\nthree\n",
    "crlf.txt": b"one\r\n",
    "data.bin": bytes(range(256)),
    "p/run.sh": b"#!/bin/sh\n",
}


# the image


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


def made(client: docker.DockerClient, kind: str, programs: list[str], repository: Path | None) -> str:
    """The name of the image of this kind, made unless an earlier run did."""
    files = parts(programs, repository is not None)
    recipe = repr((FILES, [(to, os.stat(of).st_size) for to, of in sorted(files.items())]))
    name = f"{IMAGE}-{kind}:{hashlib.sha256(recipe.encode()).hexdigest()[:16]}"
    try:
        client.images.get(name)
    except ImageNotFound:
        repository_name, tag = name.split(":")
        client.api.import_image_from_data(pack(files, repository), repository=repository_name, tag=tag)
    return name


@contextlib.contextmanager
def careless() -> Iterator[None]:
    """For connecting where there may be no engine: the SDK then leaves a socket to the garbage collector."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()


def connected() -> docker.DockerClient | str:
    try:
        return docker.from_env(timeout=60)
    except DockerException as error:
        return str(error)


@pytest.fixture(scope="module")
def client() -> Iterator[docker.DockerClient]:
    with careless():
        client = connected()
    if isinstance(client, str):
        pytest.skip(f"no Docker engine answers here: {client}")
    yield client
    for container in client.api.containers(all=True, filters={"label": f"{LABEL}.for={MINE}"}):
        with contextlib.suppress(DockerException):
            client.api.remove_container(container["Id"], force=True)
    client.close()


@pytest.fixture(scope="module")
def image(client: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> str:
    repository = tmp_path_factory.mktemp("image") / "testbed"
    for name, data in FILES.items():
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / name).write_bytes(data)
    (repository / "p/run.sh").chmod(0o755)
    identity = ("-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "core.autocrlf=false")
    for words in (("init", "-q"), ("add", "-A"), ("commit", "-qm", "base")):
        subprocess.run(["git", *identity, *words], cwd=repository, check=True, capture_output=True)
    return made(client, "full", PROGRAMS, repository)


# helpers


class Room:
    """A back end and the event loop that it lives in."""

    def __init__(self, image: str) -> None:
        self.loop = asyncio.Runner()
        self.backend = DockerBackend()
        self.origin = Origin("", image=image)

    def __call__(self, story: Coroutine[Any, Any, T]) -> T:
        return self.loop.run(story)

    async def open(self, limits: Limits | None = None, **origin: Any) -> Sandbox:
        there = Origin("", **{"image": self.origin.image, **origin})
        return await self.backend.open(there, limits or Limits(), label=MINE)

    def close(self) -> None:
        self(self.backend.close())
        self.loop.close()


@pytest.fixture(scope="module")
def room(image: str) -> Iterator[Room]:
    room = Room(image)
    yield room
    room.close()


@pytest.fixture(scope="module")
def sandbox(room: Room) -> Sandbox:
    """One for all tests that leave no trace in it."""
    return room(room.open(env={"FROM_ORIGIN": "yes"}))


@pytest.fixture(scope="module")
def sh(room: Room, sandbox: Sandbox) -> Callable[..., Completed]:
    def run(script: str | tuple[str, ...], **more: Any) -> Completed:
        return room(sandbox.run(Command(script, **more)))

    return run


Shell = Callable[..., Completed]


def containers(client: docker.DockerClient, label: str) -> list[str]:
    return [container["Id"] for container in client.api.containers(all=True, filters={"label": label})]


def soon(true: Callable[[], bool], seconds: float = 3.0) -> bool:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def unique() -> str:
    return f"1000.{random.SystemRandom().randrange(10**12):012d}"


def alive(word: str) -> bool:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if word.encode() in path.read_bytes().split(b"\0"):
                return True
    return False


# commands, files, patches


def test_commands_run_with_input_environment_and_status(sh: Shell) -> None:
    done = sh("pwd; echo $MINE $FROM_ORIGIN; cat; echo err >&2; exit 3", stdin=b"\xff\r\n", env={"MINE": "grün"})
    assert (done.returncode, done.dropped, done.timed_out) == (3, 0, False)
    assert done.output == "/testbed\ngrün yes\n".encode() + b"\xff\r\nerr\n"
    assert sh(("printf", "%s", "a b $HOME")).output == b"a b $HOME"
    assert sh("kill -9 $$").returncode == -9
    assert sh("no-such-command").returncode == 127
    assert sh("pwd", cwd="/tmp").output == b"/tmp\n"


def test_several_commands_run_at_a_time_and_a_late_one_is_ended(room: Room, sandbox: Sandbox) -> None:
    words = [unique() for _ in range(3)]
    late = (
        f"setsid sleep {words[0]} & env -i /bin/setsid /bin/sleep {words[1]} & trap '' TERM; sleep {words[2]}; sleep 9"
    )

    async def story() -> tuple[Completed, Completed]:
        return await asyncio.gather(
            sandbox.run(Command(late, timeout=0.3)), sandbox.run(Command("sleep 0.6; echo spared"))
        )

    ended, spared = room(story())
    assert (ended.returncode, ended.timed_out, ended.seconds < 3) == (-9, True, True)
    assert spared.output == b"spared\n"
    assert not any(map(alive, words))


def test_much_output_is_capped_inside_and_large_output_arrives_whole(sh: Shell) -> None:
    done = sh("head -c 50000000 /dev/zero; echo end")
    assert len(done.output) < 70_000
    assert done.dropped == 50_000_004 - 65_536
    assert done.output.endswith(b"\0end\n")
    data = random.Random(2).randbytes(3_000_000)
    assert sh("cat", stdin=data, output_cap=4_000_000).output == data


def test_files_are_written_and_read_as_bytes(room: Room, sandbox: Sandbox, sh: Shell) -> None:
    data = random.Random(3).randbytes(2_000_000) + b"\r\n\0"
    room(sandbox.write("/tmp/new/ü 'x'", data))
    assert room(sandbox.read("/tmp/new/ü 'x'")) == data
    with pytest.raises(FileProblem, match="No such file"):
        room(sandbox.read("missing"))
    with pytest.raises(FileProblem, match="is a directory"):
        room(sandbox.write("p", b""))
    assert sh("rm -r /tmp/new").returncode == 0


def test_the_patch_holds_all_that_changed_and_applies(room: Room, tmp_path: Path) -> None:
    async def story() -> tuple[str, bytes, bytes]:
        sandbox = await room.open()
        assert await sandbox.diff() == b""
        base = (await sandbox.run(Command("git rev-parse HEAD"))).output.decode().strip()
        await sandbox.run(Command("rm a.txt; chmod -x p/run.sh; head -c 999 /dev/urandom > data.bin; mkdir q"))
        await sandbox.write("crlf.txt", b"one\r\ntwo\r\nend")
        await sandbox.write("q/two words", b"new\n")
        committed = "git add -A; git -c user.name=t -c user.email=t@t commit -qm x; git config core.autocrlf true"
        await sandbox.run(
            Command(f"{committed}; git update-index --assume-unchanged crlf.txt; echo '*' > .git/info/exclude")
        )
        await sandbox.write("later", b"later\n")
        patch, data = await sandbox.diff(), await sandbox.read("data.bin")
        await sandbox.close()
        return base, patch, data

    base, patch, data = room(story())
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    (tmp_path / "p/run.sh").chmod(0o755)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    subprocess.run(["git", "apply", "--whitespace=nowarn"], cwd=tmp_path, input=patch, check=True)
    assert len(base) == 40
    assert not (tmp_path / "a.txt").exists()
    assert not (tmp_path / "p/run.sh").stat().st_mode & 0o111
    assert (tmp_path / "data.bin").read_bytes() == data
    assert (tmp_path / "crlf.txt").read_bytes() == b"one\r\ntwo\r\nend"
    assert (tmp_path / "q/two words").read_bytes() == b"new\n"
    assert b"+later" in patch


# isolation and limits


def test_there_is_no_network_no_capability_and_nothing_of_the_host(
    client: docker.DockerClient, room: Room, sh: Shell, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("secret")
    with socket.create_server(("127.0.0.1", 0)) as server:
        script = f"""
import socket
for address in [("127.0.0.1", {server.getsockname()[1]}), ("192.0.2.1", 80), ("172.17.0.1", 2375)]:
    try:
        socket.create_connection(address, 2)
        print("reached", address)
    except OSError as error:
        print(error.strerror)
"""
        said = sh(("python3", "-c", script)).output.splitlines()
    assert said == [b"Connection refused", b"Network is unreachable", b"Network is unreachable"]
    status = dict(re.findall(r"(\w+):\t(\S+)", sh("cat /proc/self/status").output.decode()))
    assert {status[name].strip("0") for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {""}
    assert status["NoNewPrivs"] == "1"
    for place in (tmp_path / "secret", Path("/var/run/docker.sock"), PROJECT / "pyproject.toml"):
        assert sh(("cat", str(place))).returncode != 0
    found = client.api.inspect_container(sh("echo $HOSTNAME").output.decode().strip())
    assert found["Mounts"] == []
    assert found["HostConfig"]["LogConfig"]["Type"] == "none"
    assert found["Config"]["Labels"][f"{LABEL}.owner"] == f"{socket.gethostname()}:{os.getpid()}"
    assert not found["HostConfig"]["Privileged"]


def test_the_first_process_is_the_guest_and_cannot_be_ended_from_inside(sh: Shell) -> None:
    assert os.readlink("/proc/self/ns/pid") != sh("readlink /proc/self/ns/pid || echo other").output.decode().strip()
    assert b"SANDBOX_COMMAND" in sh("tr '\\0' ' ' < /proc/1/cmdline").output
    for name in ("KILL", "INT", "TERM", "HUP", "STOP", "USR1"):
        sh(f"kill -{name} 1")
    assert sh("echo alive").output == b"alive\n"


def test_memory_and_processes_are_limited(room: Room) -> None:
    count = """
import os, time
n = 0
try:
    while n < 500:
        os.fork() or time.sleep(1000)
        n += 1
except OSError:
    print(n)
"""

    async def story() -> None:
        sandbox = await room.open(Limits(memory_mb=128, processes=40))
        assert 20 < int((await sandbox.run(Command(("python3", "-c", count)))).output) < 40
        bomb = await sandbox.run(Command("echo kept > a.txt; b() { b | b & }; b; sleep 0.2"))
        assert bomb.seconds < 10
        assert b"+kept\n" in await sandbox.diff()
        done = await sandbox.run(Command(("python3", "-c", "x = b'x' * (400 << 20); print(len(x))")))
        assert done.returncode in (-9, 1)
        assert (await sandbox.run(Command("echo alive"))).output == b"alive\n"
        await sandbox.close()

    room(story())


# life


def test_after_closing_the_container_is_gone(client: docker.DockerClient, room: Room) -> None:
    async def story() -> None:
        before = set(containers(client, f"{LABEL}.run={room.backend._run}"))
        sandbox, word = await room.open(), unique()
        under_way = asyncio.create_task(sandbox.run(Command(f"trap '' TERM; sleep {word}; sleep {word}")))
        assert await asyncio.to_thread(soon, functools.partial(alive, word))
        began = time.monotonic()
        await sandbox.close()
        await sandbox.close()
        with pytest.raises(SandboxLost, match="closed"):
            await under_way
        for call in (sandbox.run(Command("true")), sandbox.read("a.txt"), sandbox.diff()):
            with pytest.raises(SandboxLost, match="closed"):
                await call
        assert await asyncio.to_thread(
            soon, lambda: set(containers(client, f"{LABEL}.run={room.backend._run}")) <= before
        )
        assert not alive(word)
        assert time.monotonic() - began < 3

    room(story())


def test_when_the_container_is_killed_calls_under_way_and_later_ones_are_lost(
    client: docker.DockerClient, room: Room
) -> None:
    async def story() -> None:
        before = set(containers(client, f"{LABEL}.run={room.backend._run}"))
        sandbox = await room.open()
        (mine,) = set(containers(client, f"{LABEL}.run={room.backend._run}")) - before
        under_way = asyncio.create_task(sandbox.run(Command("sleep 100")))
        await asyncio.sleep(0.1)
        began = time.monotonic()
        await asyncio.to_thread(client.api.stop, mine)
        with pytest.raises(SandboxLost, match="sampled again"):
            await under_way
        assert time.monotonic() - began < 5
        with pytest.raises(SandboxLost):
            await sandbox.run(Command("true"))
        await sandbox.close()

    room(story())


RUNNER = """
import asyncio, sys
from envs import Command, Limits, Origin
from envs.docker import DockerBackend
async def main(image, label, word):
    backend = DockerBackend()
    rooms = await asyncio.gather(*[backend.open(Origin("", image=image), Limits(), label=label) for _ in range(2)])
    running = asyncio.create_task(rooms[0].run(Command(f"trap '' TERM HUP; sleep {word}; sleep {word}")))
    await asyncio.sleep(0.1)
    print("ready", flush=True)
    await running
asyncio.run(main(*sys.argv[1:]))
"""


def test_when_the_runner_is_killed_its_containers_are_gone_soon(client: docker.DockerClient, image: str) -> None:
    word, other = unique(), f"{MINE}-other"
    label = f"{LABEL}.for={MINE}"
    left = set(containers(client, label))
    spared = client.api.create_container(image, ["/bin/sleep", "1000"], labels={f"{LABEL}.for": MINE, other: "1"})["Id"]
    try:
        with subprocess.Popen(
            [sys.executable, "-c", RUNNER, image, MINE, word], cwd=PROJECT, stdout=subprocess.PIPE
        ) as runner:
            assert runner.stdout is not None
            assert runner.stdout.readline() == b"ready\n"
            assert len(set(containers(client, label)) - left) == 3
            runner.send_signal(signal.SIGKILL)
            assert soon(lambda: not alive(word), 2)
        assert soon(lambda: set(containers(client, label)) - left == {spared}, 3)
    finally:
        client.api.remove_container(spared, force=True)


def test_closing_the_back_end_removes_its_own_containers_and_no_others(
    client: docker.DockerClient, image: str, room: Room, sandbox: Sandbox
) -> None:
    one = Room(image)
    one(one.open())
    one(one.open())
    assert len(containers(client, f"{LABEL}.run={one.backend._run}")) == 2
    one.close()
    assert soon(lambda: not containers(client, f"{LABEL}.run={one.backend._run}"))
    assert room(sandbox.run(Command("echo mine"))).output == b"mine\n"


# what can go wrong at the start


def one_line(error: BaseException) -> str:
    text = str(error)
    assert "\n" not in text
    assert len(text) < 600
    return text


def test_an_unknown_image_is_refused_in_one_line(room: Room) -> None:
    with pytest.raises(SandboxUnavailable) as caught:
        room(room.open(image="localhost:1/no/such-image:none"))
    assert "localhost:1/no/such-image:none is not on this machine and cannot be pulled" in one_line(caught.value)


def test_a_task_without_an_image_is_refused(room: Room) -> None:
    with pytest.raises(SandboxUnavailable, match="--sandbox local"):
        room(room.open(image=None))


def test_an_image_without_a_repository_is_refused_in_one_line(client: docker.DockerClient, room: Room) -> None:
    before = set(containers(client, f"{LABEL}.run={room.backend._run}"))
    for workdir in ("/empty", "/nowhere"):
        with pytest.raises(SandboxUnavailable) as caught:
            room(room.open(workdir=workdir))
        assert f"has no git repository at {workdir}" in one_line(caught.value)
    assert soon(lambda: set(containers(client, f"{LABEL}.run={room.backend._run}")) <= before)


def test_an_image_without_python_is_refused_in_one_line(client: docker.DockerClient, room: Room) -> None:
    bare = made(client, "bare", ["sh", "sleep"], None)
    with pytest.raises(SandboxUnavailable) as caught:
        room(room.open(image=bare))
    assert "holds no Python 3" in one_line(caught.value)


def test_without_an_engine_it_says_where_it_looked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent")
    room = Room("any")

    def said() -> str:
        with pytest.raises(SandboxUnavailable) as caught:
            room(room.open())
        return one_line(caught.value)

    with careless():
        assert "no Docker engine answers at unix:///nonexistent" in said()
        room.close()
