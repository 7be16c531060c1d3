"""Local sandboxes under limits and faults: what is used up, killed or dropped, and what is left of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from envs import Command, Limits, Origin, Sandbox, SandboxLost
from envs.events import Status
from tests.envs.support import local_sandboxes
from tests.envs.support.local_sandboxes import (
    FILES,
    PROJECT,
    LocalHarness,
    Shell,
    mounts,
    parent_of,
    processes,
    soon,
    soon_in_loop,
    unique,
)

origin, harness, sandbox, sh = (
    local_sandboxes.origin,
    local_sandboxes.harness,
    local_sandboxes.sandbox,
    local_sandboxes.sh,
)


# limits


def test_memory_is_limited(harness: LocalHarness, origin: Origin, sh: Shell) -> None:
    done = sh(("python", "-c", "x = bytearray(4 << 30); print('got it')"))
    assert done.returncode == 1
    assert b"MemoryError" in done.output


def test_a_memory_bomb_ends_itself_and_no_one_else(harness: LocalHarness, origin: Origin) -> None:
    bomb = "import itertools; held = [b'x' * (1 << 20) + bytes([n % 256]) for n in itertools.count()]"

    async def story() -> None:
        bombed, other = await harness.open(origin, Limits(memory_mb=200)), await harness.open(origin)
        daemon = asyncio.create_task(other.run(Command("sleep 0.5; echo spared")))
        done = await bombed.run(Command(("python3", "-c", bomb)))
        assert (done.returncode, b"MemoryError" in done.output) == (1, True)
        assert (await bombed.run(Command("echo alive"))).output == b"alive\n"
        assert (await daemon).output == b"spared\n"
        await bombed.close()
        await other.close()

    harness(story())


def test_output_without_end_is_cut_off_by_the_time_out_and_costs_the_guest_no_memory(sh: Shell) -> None:
    done = sh("yes", timeout=1.0)
    assert done.timed_out
    assert done.dropped > 10_000_000
    peak = sh("grep VmHWM /proc/1/status").output.split()[1]
    assert int(peak) < 100_000


def test_a_command_that_is_deaf_to_every_signal_but_one_ends_at_its_time_out(sh: Shell) -> None:
    done = sh("trap '' HUP INT QUIT TERM USR1 USR2 ALRM; echo deaf; while :; do sleep 1; done", timeout=0.3)
    assert (done.timed_out, done.returncode, done.output) == (True, -9, b"deaf\n")
    assert done.seconds < 3


def test_a_sandbox_ends_itself_when_its_lifetime_is_over(harness: LocalHarness, origin: Origin) -> None:
    word = unique()

    async def story() -> None:
        sandbox = await harness.open(origin, Limits(lifetime_seconds=0.5))
        with pytest.raises(SandboxLost, match="lifetime"):
            await sandbox.run(Command(("sleep", word)))
        assert await soon_in_loop(lambda: not processes(word))

    harness(story())


def test_processes_are_limited_and_a_fork_bomb_stays_inside(harness: LocalHarness, origin: Origin) -> None:
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
        bombed, other = (
            await harness.open(origin, Limits(processes=50)),
            await harness.open(origin, Limits(processes=50)),
        )
        done = await bombed.run(Command(("python", "-c", count)))
        assert 30 < int(done.output) < 50
        done = await bombed.run(Command("b() { b | b & }; b; echo lit"))
        assert done.returncode != 0
        refused = await bombed.run(Command("true"))
        assert (refused.returncode, refused.output) in ((0, b""), (127, refused.output))
        assert (await other.run(Command("b() { b | b & }; b; sleep 0.3; echo lit", timeout=5))).seconds < 6
        assert await bombed.read("a.txt") == FILES["a.txt"]
        await bombed.close()
        await other.close()
        assert (await (await harness.open(origin)).run(Command("echo fine"))).output == b"fine\n"

    harness(story())


def test_the_patch_is_taken_under_a_fork_bomb(harness: LocalHarness, origin: Origin) -> None:
    async def story() -> bytes:
        sandbox = await harness.open(origin, Limits(processes=30))
        await sandbox.run(Command("echo kept > a.txt; b() { b | b & }; b"))
        patch = await sandbox.diff()
        await sandbox.close()
        return patch

    assert b"+kept\n" in harness(story())


def test_the_disk_is_limited(harness: LocalHarness, origin: Origin) -> None:
    async def story() -> None:
        sandbox = await harness.open(origin, Limits(disk_mb=20))
        for place in ("/testbed/big", "/tmp/big", "/dev/shm/big"):
            done = await sandbox.run(Command(f"head -c 2000000000 /dev/zero > {place}; rm {place}"))
            assert b"No space left" in done.output or b"File size limit exceeded" in done.output
        done = await sandbox.run(Command("for i in 1 2 3 4 5; do head -c 6000000 /dev/zero > /tmp/$i; done"))
        assert b"No space left" in done.output
        assert (await sandbox.run(Command("rm /tmp/*; echo x > x; cat x"))).output == b"x\n"
        await sandbox.close()

    harness(story())


# life


def test_after_closing_no_process_is_left_and_every_call_says_so(harness: LocalHarness, origin: Origin) -> None:
    words = [unique() for _ in range(3)]

    async def story() -> None:
        sandbox = await harness.open(origin)
        await sandbox.run(Command(f"sleep {words[0]} & setsid nohup sleep {words[1]} >/dev/null 2>&1 &"))
        under_way = asyncio.create_task(sandbox.run(Command(("sleep", words[2]))))
        assert await soon_in_loop(lambda: all(map(processes, words)))
        await sandbox.close()
        await sandbox.close()
        with pytest.raises(SandboxLost, match="closed"):
            await under_way
        for call in (sandbox.run(Command("true")), sandbox.read("a.txt"), sandbox.write("a.txt", b""), sandbox.diff()):
            with pytest.raises(SandboxLost, match="closed"):
                await call
        assert await soon_in_loop(lambda: not any(map(processes, words)), 1)

    harness(story())


def test_when_the_guest_is_killed_calls_under_way_and_later_ones_are_lost(
    harness: LocalHarness, origin: Origin
) -> None:
    async def story() -> None:
        sandbox, other, word = await harness.open(origin), await harness.open(origin), unique()
        under_way = [asyncio.create_task(sandbox.run(Command(("sleep", word)))) for _ in range(3)]
        assert await soon_in_loop(lambda: len(processes(word)) == 3)
        os.kill(parent_of(processes(word)[0]), signal.SIGKILL)
        for call in (*under_way, sandbox.run(Command("true")), sandbox.read("a.txt"), sandbox.diff()):
            with pytest.raises(SandboxLost, match=r"sandbox test is lost: its (process|stream) ended"):
                await call
        assert await soon_in_loop(lambda: not processes(word), 1)
        assert (await other.run(Command("echo other"))).output == b"other\n"
        await sandbox.close()
        await other.close()

    harness(story())


def test_a_call_that_nobody_waits_for_any_more_disturbs_nothing(harness: LocalHarness, sandbox: Sandbox) -> None:
    async def story() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await sandbox.run(Command("sleep 0.2; echo late"))
        assert (await sandbox.run(Command("sleep 0.3; echo on time"))).output == b"on time\n"

    harness(story())


def test_an_opening_that_nobody_waits_for_leaves_nothing(origin: Origin) -> None:
    harness = LocalHarness()

    async def story() -> None:
        await harness.backend.start()
        for moment in (0.0, 0.0005, 0.001, 0.002):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(moment):
                    await (await harness.open(origin)).close()
        assert await soon_in_loop(lambda: not harness.guests())

    harness(story())
    harness.close()


def test_when_the_namespace_server_is_killed_its_sandboxes_are_lost_and_new_ones_can_be_opened(origin: Origin) -> None:
    harness = LocalHarness("overlay")

    async def story() -> None:
        sandbox, word = await harness.open(origin), unique()
        under_way = asyncio.create_task(sandbox.run(Command(("sleep", word))))
        assert await soon_in_loop(lambda: bool(processes(word)))
        os.kill(parent_of(parent_of(processes(word)[0])), signal.SIGKILL)
        with pytest.raises(SandboxLost):
            await under_way
        assert await soon_in_loop(lambda: not processes(word), 1)
        with pytest.raises(SandboxLost):
            await harness.open(origin)
        assert harness.events == []
        again = await harness.open(origin)
        assert (await again.run(Command("echo again"))).output == b"again\n"
        started, over = harness.events
        assert started == Status("the process that makes local sandboxes has ended; starting it again")
        assert over == Status("")

    harness(story())
    harness.close()


RUNNER = """
import asyncio, sys
from pathlib import Path
from envs import Command, Limits, Origin
from envs.local.backend import LocalBackend
async def main(isolation, commit, repository, word):
    backend = LocalBackend(isolation)
    sandboxes = [await backend.open(Origin(commit, Path(repository)), Limits()) for _ in range(20)]
    for sandbox in sandboxes:
        await sandbox.write("written", b"x" * 1000)
        await sandbox.run(Command(f"setsid sleep {word} >/dev/null 2>&1 &"))
    running = [asyncio.create_task(sandbox.run(Command(("sleep", word)))) for sandbox in sandboxes]
    running.append(asyncio.create_task(sandboxes[0].run(Command(f"trap '' TERM HUP INT; sleep {word}; sleep {word}"))))
    await asyncio.sleep(0.1)
    print("ready", flush=True)
    await asyncio.gather(*running)
asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("isolation", ["overlay", "copy", "none"])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_when_the_runner_is_killed_nothing_of_its_sandboxes_is_left(
    harness: LocalHarness, origin: Origin, tmp_path: Path, isolation: str, how: signal.Signals
) -> None:
    word, before = unique(), mounts()
    with subprocess.Popen(
        [sys.executable, "-c", RUNNER, isolation, origin.commit, str(origin.repository), word],
        cwd=PROJECT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as runner:
        assert runner.stdout is not None
        assert runner.stderr is not None
        assert runner.stdout.readline() == b"ready\n", runner.stderr.read()
        assert soon(lambda: len(processes(word)) >= 42, 10)
        if isolation == "none":
            assert len(list(tmp_path.iterdir())) == 20
        runner.send_signal(how)
        assert soon(lambda: not processes(word), 2)
    assert soon(lambda: not list(tmp_path.iterdir()), 2)
    assert mounts() <= before
    assert soon(lambda: not processes(str(origin.repository)), 2)


def test_opening_and_closing_two_hundred_times_leaks_nothing(origin: Origin) -> None:
    harness = LocalHarness("overlay")

    def held() -> tuple[int, int]:
        return len(os.listdir("/proc/self/fd")), len(os.listdir(f"/proc/{harness.server_pid}/fd"))

    async def story() -> None:
        await (await harness.open(origin)).close()
        assert await soon_in_loop(lambda: not harness.guests())
        before = held()
        for _ in range(200):
            await (await harness.open(origin)).close()
        assert await soon_in_loop(lambda: not harness.guests())
        assert held() == before

    harness(story())
    harness.close()


def test_fifty_sandboxes_work_at_once(harness: LocalHarness, origin: Origin) -> None:
    async def one(number: int) -> bool:
        sandbox = await harness.open(origin)
        await sandbox.run(Command(f"echo {number} > a.txt"))
        patch = await sandbox.diff()
        await sandbox.close()
        return f"+{number}\n".encode() in patch

    async def story() -> None:
        assert all(await asyncio.gather(*[one(number) for number in range(50)]))

    harness(story())


def test_two_hundred_and_fifty_are_alive_and_run_a_command_each_within_ten_seconds(origin: Origin) -> None:
    harness = LocalHarness("overlay")

    async def story() -> None:
        await harness.backend.start()
        async with asyncio.timeout(10):
            sandboxes = await asyncio.gather(*[harness.open(origin) for _ in range(250)])
            done = await asyncio.gather(*[sandbox.run(Command(("echo", "x"))) for sandbox in sandboxes])
        assert all(one.output == b"x\n" for one in done)

    harness(story())
    harness.close()
