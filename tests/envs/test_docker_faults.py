"""Faults inside a container, accidental or hostile, and what a command cannot reach from it."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from envs import Command, Limits, Origin, Sandbox, SandboxLost
from tests.envs.support.docker_image import MINE, PROJECT, DockerHarness, containers, engine, full_image


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
    return harness(harness.open(Limits(memory_mb=256, processes=64, disk_mb=8)))


# what it survives


def test_a_disk_hog_is_stopped_and_the_sandbox_goes_on(harness: DockerHarness, sandbox: Sandbox) -> None:
    async def story() -> None:
        done = await sandbox.run(Command("exec dd if=/dev/zero of=/tmp/hog bs=1048576 count=64"))
        assert done.returncode == -25  # SIGXFSZ
        assert (await sandbox.run(Command(("python3", "-c", SIZE % "/tmp/hog")))).output == b"8388608\n"
        assert (await sandbox.run(Command("rm /tmp/hog; echo alive"))).output == b"alive\n"

    harness(story())


SIZE = "import os; print(os.path.getsize('%s'))"
BOMBS = {
    "forks": "b() { b | b & }; b; sleep 0.3; echo over",
    "memory in one process": "python3 -c \"x = b'x' * (1 << 30)\"",
    "memory in many processes": "for i in 1 2 3 4 5 6 7 8; do python3 -c \"x = b'x' * (60 << 20); "
    'import time; time.sleep(9)" & done; wait; echo over',
    "one that ignores SIGTERM": "trap '' TERM INT HUP; while :; do sleep 1000; done",
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_costs_its_command_and_nothing_else(harness: DockerHarness, sandbox: Sandbox, bomb: str) -> None:
    async def story() -> None:
        began = time.monotonic()
        await sandbox.write("/tmp/kept", b"kept")
        done = await sandbox.run(Command(BOMBS[bomb], timeout=2.0))
        assert time.monotonic() - began < 8
        assert done.timed_out or done.returncode != 0 or b"over" in done.output
        # What a command leaves in the background lives on, until its time-out or until space is needed.
        for _ in range(50):
            if (await sandbox.run(Command("echo alive"))).output == b"alive\n":
                break
            await sandbox.diff()
        assert (await sandbox.run(Command("echo alive"))).output == b"alive\n"
        assert await sandbox.read("/tmp/kept") == b"kept"

    harness(story())


def test_two_gigabytes_of_output_cost_neither_time_nor_memory(harness: DockerHarness, sandbox: Sandbox) -> None:
    began = time.monotonic()
    done = harness(sandbox.run(Command("head -c 2G /dev/zero", timeout=60)))
    assert done.dropped == (2 << 30) - 65536
    assert len(done.output) < 70_000
    assert time.monotonic() - began < 30


def test_a_container_that_is_killed_is_lost_and_the_others_are_not(
    client: docker.DockerClient, harness: DockerHarness
) -> None:
    async def story() -> None:
        other = await harness.open()
        before = set(containers(client, harness.label))
        sandbox = await harness.open()
        (mine,) = set(containers(client, harness.label)) - before
        under_way = asyncio.create_task(sandbox.run(Command("sleep 100")))
        await sandbox.run(Command("true"))
        await asyncio.to_thread(client.api.kill, mine)
        with pytest.raises(SandboxLost, match="sampled again"):
            await under_way
        assert (await other.run(Command("echo alive"))).output == b"alive\n"

    harness(story())


# what it cannot reach


def reach(secret: Path) -> dict[str, str]:
    """Attempts to get at something; each prints `reached` if it does."""
    dial = "python3 -c \"import socket; socket.create_connection((%r, %d), 2); print('reached')\""
    return {
        "a file of the host": f"cat {secret} && echo reached",
        "the host's home": f"ls {Path.home()}/.ssh {Path.home()}/.cache && echo reached",
        "the project, its runs and gold patches": f"ls {PROJECT} {PROJECT}/runs {PROJECT}/tasks && echo reached",
        "the engine's socket": "ls /var/run/docker.sock /run/docker.sock /run/containerd && echo reached",
        "the engine's files": "ls /var/lib/docker && echo reached",
        "the host's disks": "for d in /dev/sd* /dev/vd* /dev/nvme* /dev/mem; do [ -e $d ] && echo reached; done",
        "the internet": dial % ("192.0.2.1", 80),
        "the host's network": dial % ("172.17.0.1", 22),
        "the cloud's metadata": dial % ("169.254.169.254", 80),
        "the host's processes": f"kill -0 {os.getpid()} && echo reached",
        "the host through /proc": "cat /proc/1/root/etc/hostname && echo reached",
        "the kernel's settings": "echo 0 > /proc/sys/kernel/randomize_va_space && echo reached",
        "the base, to write": "echo x > /run/base.git/x && echo reached; rm -rf /run/base.git/objects && echo reached",
        "the base, mounted anew": 'python3 -c "import ctypes; l = ctypes.CDLL(None); '
        "print('reached' if l.mount(b'', b'/run/base.git', b'', 32, b'') == 0 else '')\"",
        "a namespace of its own": 'python3 -c "import ctypes; l = ctypes.CDLL(None); '
        "print('reached' if l.unshare(0x10000000) == 0 else '')\"",
        "another attempt's file": f"ls /tmp/of-{MINE} /testbed/of-{MINE} && echo reached",
    }


@pytest.mark.parametrize("what", reach(Path("/")))
def test_it_does_not_reach(harness: DockerHarness, sandbox: Sandbox, tmp_path: Path, what: str) -> None:
    (tmp_path / "secret").write_text("secret")

    async def story() -> bytes:
        if what == "another attempt's file":
            other = await harness.open()
            await other.run(Command(f"touch /tmp/of-{MINE} /testbed/of-{MINE}"))
        return (await sandbox.run(Command(reach(tmp_path / "secret")[what]))).output

    assert b"reached" not in harness(story())
