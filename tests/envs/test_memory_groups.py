"""The memory of a whole local sandbox is limited where control groups can be made."""

from __future__ import annotations

from pathlib import Path

import pytest

from envs import Command, Limits, Origin, SandboxExhausted
from envs.local.memory_groups import NAME, candidates
from tests.envs.support import local_sandboxes
from tests.envs.support.local_sandboxes import LocalHarness, soon

origin, harness = local_sandboxes.origin, local_sandboxes.harness

V1 = "31 30 0:26 {inside} {top} rw - cgroup cgroup rw,{controllers}\n"
V2 = "32 30 0:27 {inside} {top} rw shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"

# Many small processes, each below every limit of a process, whose score is that of the guest.
HOGS = """
import os, time
open("/proc/self/oom_score_adj", "w").write("0")
while True:
    if not os.fork():
        block = bytearray(3 << 20)
        block[::4096] = b"x" * len(block[::4096])
        time.sleep(1000)
    time.sleep(0.003)
"""
SOCKETS = """
import socket
held = []
while True:
    held.append(socket.socketpair())
    held[-1][0].setblocking(False)
    try:
        while True:
            held[-1][0].send(b"x" * 65536)
    except OSError:
        pass
"""


@pytest.fixture
def grouped(harness: LocalHarness) -> LocalHarness:
    if harness.backend.describe()["memory"] != "limited together":
        pytest.skip("no control group can be made here")
    return harness


def test_memory_that_no_process_owns_counts(grouped: LocalHarness, origin: Origin) -> None:
    async def story() -> None:
        sandbox = await grouped.open(origin, Limits(memory_mb=64, disk_mb=16))
        done = await sandbox.run(Command(("python3", "-c", SOCKETS), timeout=60))
        assert (done.returncode, done.timed_out) == (-9, False)
        assert (await sandbox.run(Command("echo alive"))).output == b"alive\n"
        await sandbox.close()

    grouped(story())


def test_a_sandbox_that_its_own_commands_end_says_so(grouped: LocalHarness, origin: Origin) -> None:
    async def story() -> None:
        neighbour = await grouped.open(origin)
        sandbox = await grouped.open(origin, Limits(memory_mb=64, disk_mb=16))
        with pytest.raises(SandboxExhausted, match="used up the memory"):
            await sandbox.run(Command(("python3", "-c", HOGS), timeout=60))
        with pytest.raises(SandboxExhausted):
            await sandbox.diff()
        assert (await neighbour.run(Command("echo alive"))).output == b"alive\n"
        await neighbour.close()

    grouped(story())


def test_no_group_outlives_its_server(origin: Origin) -> None:
    def groups() -> set[Path]:
        return set(Path("/sys/fs/cgroup").rglob(f"{NAME}-{server}-*"))

    harness = LocalHarness("overlay")
    server = 0
    try:
        harness(harness.open(origin))
        isolation = harness.backend._isolation
        assert isolation is not None
        server = isolation.process.pid  # type: ignore[attr-defined]
        if harness.backend.describe()["memory"] != "limited together":
            pytest.skip("no control group can be made here")
        assert groups()
    finally:
        harness.close()
    assert soon(lambda: not groups())


def test_groups_are_made_where_the_kernel_lets_this_process(tmp_path: Path) -> None:
    for place, controllers in {"": "memory pids", "user": "memory", "user/app": "", "user/app/runner": ""}.items():
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
        (tmp_path / place / "cgroup.subtree_control").write_text(f"{controllers}\n")
    modern = V2.format(inside="/", top=tmp_path)
    assert candidates("0::/user/app/runner\n", modern) == [(f"{tmp_path}/user", 2)]
    assert candidates("0::/\n", modern) == [(str(tmp_path), 2)]
    inner = V2.format(inside="/container", top=tmp_path)
    assert candidates("0::/container/user\n", inner) == [(f"{tmp_path}/user", 2)]
    assert candidates("0::/elsewhere\n", inner) == []
    older = V1.format(inside="/", top="/m", controllers="memory") + V1.format(inside="/", top="/c", controllers="cpu")
    assert candidates("3:cpu:/a\n2:memory:/b/c\n1:name=systemd:/\n0::/x\n", older) == [("/m/b/c", 1)]
    assert candidates("2:memory:/\n", older) == [("/m", 1)]
    assert candidates("0::/\n", older) == []
