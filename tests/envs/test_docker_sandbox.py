"""The Docker back end on a real engine, with an image made of this machine's programs, which needs no registry."""

from __future__ import annotations

import asyncio
import functools
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from envs import (
    Command,
    Completed,
    FileProblem,
    Limits,
    Origin,
    Sandbox,
    SandboxError,
    SandboxExhausted,
    SandboxLost,
    SandboxUnavailable,
)
from envs.docker.orphans import LABEL
from envs.docker.owner import Owner
from envs.events import Warned
from tests.envs.support.docker_image import (
    FILES,
    MINE,
    PROJECT,
    DockerHarness,
    alive,
    careless,
    containers,
    engine,
    full_image,
    made,
    one_line,
    soon,
    unique,
)
from tests.envs.support.system_calls import CALLS, COUNTED, try_calls


@pytest.fixture(scope="module")
def client() -> Iterator[docker.DockerClient]:
    yield from engine()


@pytest.fixture(scope="module")
def origin(client: docker.DockerClient) -> Origin:
    return full_image(client)


@pytest.fixture(scope="module")
def harness(origin: Origin) -> Iterator[DockerHarness]:
    harness = DockerHarness(origin)
    yield harness
    harness.close()


@pytest.fixture(scope="module")
def sandbox(harness: DockerHarness) -> Sandbox:
    """One for all tests that leave no trace in it."""
    return harness(harness.open(env={"FROM_ORIGIN": "yes"}))


@pytest.fixture(scope="module")
def sh(harness: DockerHarness, sandbox: Sandbox) -> Callable[..., Completed]:
    def run(script: str | tuple[str, ...], **more: Any) -> Completed:
        return harness(sandbox.run(Command(script, **more)))

    return run


Shell = Callable[..., Completed]


# commands, files, patches


def test_commands_run_with_input_environment_and_status(sh: Shell) -> None:
    done = sh("pwd; echo $MINE $FROM_ORIGIN; cat; echo err >&2; exit 3", stdin=b"\xff\r\n", env={"MINE": "grün"})
    assert (done.returncode, done.dropped, done.timed_out) == (3, 0, False)
    assert done.output == "/testbed\ngrün yes\n".encode() + b"\xff\r\nerr\n"
    assert sh(("printf", "%s", "a b $HOME")).output == b"a b $HOME"
    assert sh("kill -9 $$").returncode == -9
    assert sh("no-such-command").returncode == 127
    assert sh("pwd", cwd="/tmp").output == b"/tmp\n"


def test_several_commands_run_at_a_time_and_a_late_one_is_ended(harness: DockerHarness, sandbox: Sandbox) -> None:
    words = [unique() for _ in range(3)]
    late = (
        f"setsid sleep {words[0]} & env -i /bin/setsid /bin/sleep {words[1]} & trap '' TERM; sleep {words[2]}; sleep 9"
    )

    async def story() -> tuple[Completed, Completed]:
        return await asyncio.gather(
            sandbox.run(Command(late, timeout=0.3)), sandbox.run(Command("sleep 0.6; echo spared"))
        )

    ended, spared = harness(story())
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


def test_files_are_written_and_read_as_bytes(harness: DockerHarness, sandbox: Sandbox, sh: Shell) -> None:
    data = random.Random(3).randbytes(2_000_000) + b"\r\n\0"
    harness(sandbox.write("/tmp/new/ü 'x'", data))
    assert harness(sandbox.read("/tmp/new/ü 'x'")) == data
    with pytest.raises(FileProblem, match="No such file"):
        harness(sandbox.read("missing"))
    with pytest.raises(FileProblem, match="is a directory"):
        harness(sandbox.write("p", b""))
    assert sh("rm -r /tmp/new").returncode == 0


def test_the_patch_holds_all_that_changed_and_applies(harness: DockerHarness, tmp_path: Path) -> None:
    async def story() -> tuple[str, bytes, bytes]:
        sandbox = await harness.open()
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

    base, patch, data = harness(story())
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
    client: docker.DockerClient, harness: DockerHarness, sh: Shell, tmp_path: Path
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
    found = client.api.inspect_container(containers(client, harness.label)[0])
    assert [(mount["Destination"], mount["RW"]) for mount in found["Mounts"]] == [("/run/base.git", False)]
    assert found["HostConfig"]["LogConfig"]["Type"] == "none"
    assert found["Config"]["Labels"][f"{LABEL}.owner"] == str(Owner.me())
    assert not found["HostConfig"]["Privileged"]


def test_a_sandbox_finds_its_own_host_name(sh: Shell) -> None:
    script = "import socket; print(socket.gethostbyname(socket.gethostname()), socket.getfqdn())"
    assert sh(("python3", "-c", script)).output == b"127.0.1.1 sandbox\n"


def test_the_first_process_is_the_guest_and_cannot_be_ended_from_inside(sh: Shell) -> None:
    assert os.readlink("/proc/self/ns/pid") != sh("readlink /proc/self/ns/pid || echo other").output.decode().strip()
    assert b"SANDBOX_COMMAND" in sh("tr '\\0' ' ' < /proc/1/cmdline").output
    for name in ("KILL", "INT", "TERM", "HUP", "STOP", "USR1"):
        sh(f"kill -{name} 1")
    assert sh("echo alive").output == b"alive\n"


SETTINGS = "echo ${PIP_RETRIES-unset} ${npm_config_fetch_retries-unset}"


def test_without_a_network_package_managers_try_once_unless_image_or_origin_say_otherwise(
    client: docker.DockerClient, harness: DockerHarness, sh: Shell
) -> None:
    assert sh(SETTINGS).output == b"0 0\n"
    container = client.api.create_container(harness.origin.image, ["true"])["Id"]
    name = f"coding-monkeys-test-settings-{unique()}"
    client.api.commit(container, name, changes=["ENV PIP_RETRIES=3"])
    client.api.remove_container(container)

    async def told(limits: Limits | None = None, **origin: Any) -> bytes:
        sandbox = await harness.open(limits, **origin)
        try:
            return (await sandbox.run(Command(SETTINGS))).output
        finally:
            await sandbox.close()

    def gone() -> bool:
        harness(asyncio.sleep(0.01))  # only then does its loop run
        return not client.api.containers(all=True, filters={"ancestor": name})

    try:
        assert harness(told(image=name, commit="")) == b"3 0\n"
        assert harness(told(env={"npm_config_fetch_retries": "7"})) == b"0 7\n"
        assert harness(told(Limits(network="host"))) == b"unset unset\n"
    finally:
        assert soon(gone, 20)
        client.api.remove_image(name, force=True)


def test_no_call_gets_through_the_filter(harness: DockerHarness, sh: Shell) -> None:
    denied = [name for name in CALLS if name not in COUNTED]
    assert sh(try_calls(denied)).output.decode().splitlines() == [f"tried {len(denied)}"]
    assert harness.backend.describe()["system calls"] == "filtered"
    assert sh("grep Seccomp_filters /proc/self/status").output.split()[1] >= b"1"


def test_memory_and_processes_are_limited(harness: DockerHarness) -> None:
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
        sandbox = await harness.open(Limits(memory_mb=128, processes=40))
        assert 20 < int((await sandbox.run(Command(("python3", "-c", count)))).output) < 40
        bomb = await sandbox.run(Command("echo kept > a.txt; b() { b | b & }; b; sleep 0.2"))
        assert bomb.seconds < 10
        assert b"+kept\n" in await sandbox.diff()
        done = await sandbox.run(Command(("python3", "-c", "x = b'x' * (400 << 20); print(len(x))")))
        assert done.returncode in (-9, 1)
        assert (await sandbox.run(Command("echo alive"))).output == b"alive\n"
        await sandbox.close()

    harness(story())


# Each makes many small processes that together use up the memory, so that the kernel may choose the guest.
HOGS = """
import os, time
try:
    open("/proc/1/oom_score_adj", "w").write("1000")
    open("/proc/self/oom_score_adj", "w").write("0")
except OSError:
    pass
while True:
    if not os.fork():
        block = bytearray(3 << 20)
        for at in range(0, len(block), 4096):
            block[at] = 1
        time.sleep(1000)
    time.sleep(0.01)
"""


def test_a_sandbox_that_its_own_commands_end_says_so(harness: DockerHarness) -> None:
    async def story() -> None:
        sandbox = await harness.open(Limits(memory_mb=64, processes=200))
        with pytest.raises(SandboxExhausted, match="used up its memory of 64 MB"):
            await sandbox.run(Command(("python3", "-c", HOGS), timeout=60))
        with pytest.raises(SandboxExhausted):
            await sandbox.diff()
        await sandbox.close()

    harness(story())


# life


def test_after_closing_the_container_is_gone(client: docker.DockerClient, harness: DockerHarness) -> None:
    async def story() -> None:
        before = set(containers(client, harness.label))
        sandbox, word = await harness.open(), unique()
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
        assert await asyncio.to_thread(soon, lambda: set(containers(client, harness.label)) <= before)
        assert not alive(word)
        assert time.monotonic() - began < 3

    harness(story())


def test_when_the_container_is_killed_calls_under_way_and_later_ones_are_lost(
    client: docker.DockerClient, harness: DockerHarness
) -> None:
    async def story() -> None:
        before = set(containers(client, harness.label))
        sandbox = await harness.open()
        (mine,) = set(containers(client, harness.label)) - before
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

    harness(story())


RUNNER = """
import asyncio, sys
from envs import Command, Limits, Origin
from envs.docker.backend import DockerBackend
async def main(image, label, word):
    backend = DockerBackend()
    sandboxes = await asyncio.gather(*[backend.open(Origin("", image=image), Limits(), label=label) for _ in range(2)])
    running = asyncio.create_task(sandboxes[0].run(Command(f"trap '' TERM HUP; sleep {word}; sleep {word}")))
    await asyncio.sleep(0.1)
    print("ready", flush=True)
    await running
asyncio.run(main(*sys.argv[1:]))
"""


def test_when_the_runner_is_killed_its_containers_are_gone_soon(client: docker.DockerClient, origin: Origin) -> None:
    word, other = unique(), f"{MINE}-other"
    label = f"{LABEL}.for={MINE}"
    left = set(containers(client, label))
    spared = client.api.create_container(
        origin.image, ["/bin/sleep", "1000"], labels={f"{LABEL}.for": MINE, other: "1"}
    )["Id"]
    try:
        with subprocess.Popen(
            [sys.executable, "-c", RUNNER, str(origin.image), MINE, word], cwd=PROJECT, stdout=subprocess.PIPE
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
    client: docker.DockerClient, origin: Origin, harness: DockerHarness, sandbox: Sandbox
) -> None:
    one = DockerHarness(origin)
    one(one.open())
    one(one.open())
    assert len(containers(client, one.label)) == 2
    one.close()
    assert soon(lambda: not containers(client, one.label))
    assert harness(sandbox.run(Command("echo mine"))).output == b"mine\n"


# what can go wrong at the start


def test_an_unknown_image_is_refused_in_one_line(harness: DockerHarness) -> None:
    with pytest.raises(SandboxUnavailable) as caught:
        harness(harness.open(image="localhost:1/no/such-image:none"))
    assert "localhost:1/no/such-image:none is not on this machine and cannot be pulled" in one_line(caught.value)


def test_a_task_without_an_image_is_refused(harness: DockerHarness) -> None:
    with pytest.raises(SandboxUnavailable, match="--sandbox local"):
        harness(harness.open(image=None))


def test_an_image_without_a_repository_is_refused_in_one_line(
    client: docker.DockerClient, harness: DockerHarness
) -> None:
    before = set(containers(client, harness.label))
    for workdir in ("/empty", "/nowhere"):
        with pytest.raises(SandboxUnavailable) as caught:
            harness(harness.open(workdir=workdir))
        assert f"the repository at {workdir} in image" in one_line(caught.value)
    assert soon(lambda: set(containers(client, harness.label)) <= before)


def test_an_image_without_python_is_served_without_one(client: docker.DockerClient, harness: DockerHarness) -> None:
    bare = made(client, "bare", ["sh", "sleep", "cat"], False)

    async def story() -> None:
        sandbox = await harness.open(commit="", image=bare.image, workdir="/empty")
        await sandbox.write("file", b"one\n")
        assert (await sandbox.run(Command("pwd; cat file"))).output == b"/empty\none\n"
        snapshot = await sandbox.snapshot()
        fork = await snapshot.fork(label=MINE)
        assert await fork.read("file") == b"one\n"
        with pytest.raises(SandboxError, match=r"without a base commit|holds no git"):
            await fork.diff()
        await sandbox.close()
        await fork.close()
        await snapshot.close()

    harness.events.clear()
    harness(story())
    [warning] = [event.text for event in harness.events if isinstance(event, Warned)]
    assert warning.startswith(f"image {bare.image} holds no Python 3")


def test_the_patch_survives_whatever_happens_to_the_repository_s_own_git_folder(harness: DockerHarness) -> None:
    async def story() -> bytes:
        sandbox = await harness.open()
        await sandbox.run(Command("echo changed > a.txt; rm -rf .git"))
        patch = await sandbox.diff()
        await sandbox.close()
        return patch

    assert b"+changed\n" in harness(story())


def test_without_a_base_commit_there_is_a_sandbox_and_no_patch(harness: DockerHarness) -> None:
    async def story() -> None:
        sandbox = await harness.open(commit="", workdir="/empty")
        assert (await sandbox.run(Command("pwd; ls /run/base.git"))).output.startswith(b"/empty\nls: ")
        with pytest.raises(SandboxError, match="without a base commit"):
            await sandbox.diff()
        await sandbox.close()

    harness(story())


def test_without_an_engine_it_says_where_it_looked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent")
    harness = DockerHarness(Origin("", image="any"))

    def said() -> str:
        with pytest.raises(SandboxUnavailable) as caught:
            harness(harness.open())
        return one_line(caught.value)

    with careless():
        assert "no Docker engine answers at unix:///nonexistent" in said()
        harness.close()
