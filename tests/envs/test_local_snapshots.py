"""Snapshots and forks of local sandboxes: the same files, independent afterwards, and nothing left behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import envs.local.namespace_client
from envs import Command, Limits, Origin, SandboxError, SandboxLost
from envs.local.backend import LocalSandbox
from tests.envs.support import local_sandboxes
from tests.envs.support.local_sandboxes import (
    PROJECT,
    LocalHarness,
    applied,
    mounts,
    ordinary_place,
    processes,
    run_as_ordinary,
    soon,
    soon_in_loop,
    tree_at,
    tree_in,
    unique,
)

origin, harness, sandbox = local_sandboxes.origin, local_sandboxes.harness, local_sandboxes.sandbox


@pytest.fixture(scope="module", params=["overlay", "copy", "none"])
def any_harness(request: pytest.FixtureRequest, harness: LocalHarness) -> Iterator[LocalHarness]:
    """Every kind of isolation in turn."""
    any_harness = LocalHarness(request.param)
    yield any_harness
    any_harness.close()


# Everything in the sandbox but the contents of /proc: kind, mode, time, further names and bytes of each path.
LISTING = """
import hashlib, os, stat, sys
tops = sys.argv[1:]
for top in tops:
    for folder, folders, files in os.walk(top):
        folders.sort()
        for name in sorted(folders + files):
            path = os.path.join(folder, name)
            info = os.lstat(path)
            what = info.st_mtime_ns, info.st_uid
            if stat.S_ISREG(info.st_mode):
                with open(path, "rb") as file:
                    what = *what, info.st_nlink, hashlib.sha1(file.read()).hexdigest()
            elif stat.S_ISLNK(info.st_mode):
                what = *what, os.readlink(path)
            elif stat.S_ISDIR(info.st_mode):
                what = info.st_uid,
            print(ascii((path, oct(info.st_mode), *what)))
"""
# Steps that fail are steps too: rename of a folder over a file, and the like.
EDITS = """
import json, os, shutil, stat, sys
os.umask(0)
for kind, one, two in json.load(sys.stdin):
    try:
        if kind in ("write", "mkdir", "fifo") and os.path.dirname(one):
            os.makedirs(os.path.dirname(one), exist_ok=True)
        if os.path.exists(one) and stat.S_ISFIFO(os.stat(one).st_mode) and kind in ("write", "append", "hole"):
            continue  # would wait for a reader
        if kind == "write":
            open(one, "w").write(two)
        elif kind == "append":
            open(one, "a").write(two)
        elif kind == "mkdir":
            os.mkdir(one)
        elif kind == "fifo":
            os.mkfifo(one)
        elif kind == "delete":
            shutil.rmtree(one) if os.path.isdir(one) and not os.path.islink(one) else os.remove(one)
        elif kind == "replace":
            shutil.rmtree(one)
            open(one, "w").write(two)
        elif kind == "remake":
            shutil.rmtree(one)
            os.mkdir(one)
        elif kind == "rename":
            os.rename(one, two)
        elif kind == "move":
            shutil.move(one, two)
        elif kind == "mode":
            os.chmod(one, os.stat(one).st_mode ^ int(two, 8) & (0o7077 if os.path.isdir(one) else 0o7777))
        elif kind == "symlink":
            os.symlink(two, one)
        elif kind == "link":
            os.link(one, two)
        elif kind == "hole":
            os.truncate(one, 1 << 20)
    except OSError:
        pass
"""
PLACES = [
    "a.txt",
    "link",
    "run.sh",
    "deep",
    "deep/er",
    "deep/er/module.py",
    "deep/new",
    "new",
    "new/x",
    "/tmp/x",
    "/tmp/y",
]
WORDS = ["", "one\n", "two\r\n", "a longer line of text\n"]
STEP = st.one_of(
    st.tuples(st.sampled_from(["write", "append", "replace"]), st.sampled_from(PLACES), st.sampled_from(WORDS)),
    st.tuples(st.sampled_from(["delete", "mkdir", "remake", "hole"]), st.sampled_from(PLACES), st.just("")),
    st.tuples(st.sampled_from(["rename", "move", "link"]), st.sampled_from(PLACES), st.sampled_from(PLACES)),
    st.tuples(st.just("mode"), st.sampled_from(PLACES), st.sampled_from(["111", "20", "1000", "2000"])),
    st.tuples(st.just("symlink"), st.sampled_from(PLACES), st.sampled_from(["a.txt", "deep", "/nowhere"])),
)
Steps = list[tuple[str, str, str]]
STEPS = st.lists(STEP, max_size=8)


async def edit(sandbox: LocalSandbox, steps: Steps) -> None:
    done = await sandbox.run(Command(("python3", "-c", EDITS), stdin=json.dumps(steps).encode(), timeout=5.0))
    assert (done.returncode, done.output) == (0, b"")


async def files(sandbox: LocalSandbox, *tops: str) -> bytes:
    done = await sandbox.run(
        Command(("python3", "-c", LISTING, *(tops or (".", "/tmp"))), output_cap=1 << 24, timeout=5.0)
    )
    assert done.returncode == 0, done.output
    return done.output


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(
    [("rename", "deep", "new"), ("delete", "a.txt", ""), ("link", "run.sh", "b")],
    [("write", "new/er/module.py", "x"), ("replace", "new", "y")],
    [("mkdir", "deep", ""), ("write", "deep/x", "z"), ("write", "a.txt", "again")],
)
@given(STEPS, STEPS, STEPS)
def test_a_fork_has_exactly_the_files_of_the_snapshot_whatever_was_done(
    harness: LocalHarness, origin: Origin, first: Steps, second: Steps, third: Steps
) -> None:
    async def story() -> None:
        sandbox = await harness.open(origin)
        await edit(sandbox, first)
        snapshot, then, patch = await sandbox.snapshot(), await files(sandbox), await sandbox.diff()
        await edit(sandbox, second)
        later = await files(sandbox)

        fork = await snapshot.fork()
        assert await files(fork) == then
        assert await fork.diff() == patch
        await edit(fork, third)
        assert await files(sandbox) == later
        further, forked, forked_patch = await fork.snapshot(), await files(fork), await fork.diff()
        await snapshot.close()
        await edit(fork, first)

        grandchild = await further.fork()
        assert await files(grandchild) == forked
        assert await grandchild.diff() == forked_patch
        with applied(origin, forked_patch) as checkout:
            assert tree_at(checkout) == await tree_in(grandchild)
        await edit(grandchild, second)
        last = await grandchild.snapshot()
        for each in (sandbox, fork):
            await each.close()
        again = await last.fork()
        assert await files(again) == await files(grandchild)
        assert await again.diff() == await grandchild.diff()
        for sandbox in (grandchild, again):
            await sandbox.close()
        await further.close()
        await last.close()

    harness(story())


def test_every_kind_of_isolation_forks_the_files_of_a_snapshot(any_harness: LocalHarness, origin: Origin) -> None:
    steps = [
        *[("write", "deep/new", "one\n"), ("delete", "a.txt", ""), ("mode", "run.sh", "111"), ("rename", "link", "l")],
        *[("link", "deep/new", "also"), ("symlink", "s", "deep"), ("replace", "deep/er", "y"), ("fifo", "pipe", "")],
        ("write", "big", "x" * 1_000_000),
    ]
    tops = (".",) if any_harness.backend._wanted == "none" else (".", "/tmp")

    async def story() -> None:
        sandbox = await any_harness.open(origin)
        await edit(sandbox, steps)
        then, patch = await files(sandbox, *tops), await sandbox.diff()
        snapshot = await sandbox.snapshot()
        await sandbox.run(Command("rm -rf * .git"))
        await sandbox.close()
        one, two = await asyncio.gather(snapshot.fork(label="one"), snapshot.fork(label="two"))
        await one.run(Command("rm -rf deep; echo x > one; sleep 1000 >/dev/null 2>&1 &"))
        assert await files(two, *tops) == then
        assert await two.diff() == patch
        assert await one.diff() != patch
        second = await one.snapshot()
        await snapshot.close()
        await snapshot.close()
        with pytest.raises(SandboxLost, match="it was closed"):
            await snapshot.fork()
        grandchild = await second.fork()
        assert await files(grandchild, *tops) == await files(one, *tops)
        assert b"sleep" not in (await grandchild.run(Command("cat /proc/[0-9]*/comm"))).output or len(tops) == 1
        await second.close()
        assert await two.diff() == patch

    any_harness(story())


SHARED_STORY = f"""
import asyncio, json, os, random, sys
from pathlib import Path
from envs import Command, Limits, Origin
from envs.local.backend import LocalBackend, adopt
LISTING, EDITS, PLACES, WORDS = {LISTING!r}, {EDITS!r}, {PLACES!r}, {WORDS!r}
chance = random.Random(7)
def steps():
    one = lambda: chance.choice(PLACES)
    kinds = {{"write": WORDS, "append": WORDS, "replace": WORDS, "delete": [""], "mkdir": [""], "remake": [""],
              "rename": PLACES, "move": PLACES, "link": PLACES, "mode": ["111", "1000"], "symlink": ["a.txt", "deep"]}}
    return [(kind, one(), chance.choice(kinds[kind])) for kind in chance.choices(list(kinds), k=8)]
async def edit(sandbox):
    done = await sandbox.run(Command(("python3", "-c", EDITS), stdin=json.dumps(steps()).encode()))
    assert (done.returncode, done.output) == (0, b""), done
async def files(sandbox):
    return (await sandbox.run(Command(("python3", "-c", LISTING, ".", "/tmp"), output_cap=1 << 24))).output
async def main(isolation, commit, repository):
    assert os.getuid() != 0
    adopt(Path(repository))
    backend = LocalBackend(isolation)
    for _ in range(3):
        sandbox = await backend.open(Origin(commit, Path(repository)), Limits())
        for _ in range(2):
            await edit(sandbox)
            snapshot, then, patch = await sandbox.snapshot(), await files(sandbox), await sandbox.diff()
            await edit(sandbox)
            fork = await snapshot.fork()
            await sandbox.close()
            await snapshot.close()
            assert await files(fork) == then
            assert await fork.diff() == patch
            sandbox = fork
    await sandbox.run(Command("echo x > locked; chmod 0 locked; mkdir -m 0 shut"))
    fork = await (await sandbox.snapshot()).fork()
    assert await fork.diff() == await sandbox.diff()
    assert b"----------" in (await fork.run(Command("ls -l locked"))).output
    await backend.close()
    print("fine")
asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("isolation", ["overlay", "copy"])
def test_an_ordinary_user_has_snapshots_too(isolation: str) -> None:
    with ordinary_place() as (place, origin):
        run_as_ordinary(place, SHARED_STORY, isolation, origin.commit, str(origin.repository))


def test_hard_links_holes_times_and_marks_come_along(harness: LocalHarness, sandbox: LocalSandbox) -> None:
    async def story() -> None:
        await sandbox.run(
            Command("""
            echo x > one; ln one two; truncate -s 800M sparse; echo end >> sparse; touch -d 2001-02-03 one
            mkfifo pipe; python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("socket")'
            python3 -c 'import os; os.setxattr("run.sh", "user.note", b"kept")' || :
            """)
        )
        fork = await (await sandbox.snapshot()).fork()
        done = await fork.run(Command("stat -c '%h %Y %i' one two; stat -c '%s %b' sparse; stat -c %F pipe socket"))
        first, second, sparse, *kinds = done.output.decode().splitlines()
        assert first == second
        assert first.startswith("2 981")
        size, blocks = map(int, sparse.split())
        assert size == (800 << 20) + 4
        assert blocks <= 16
        assert kinds == ["fifo", "socket"]
        show = Command(("python3", "-c", 'import os; print(os.listxattr("run.sh"))'))
        assert (await fork.run(show)).output == (await sandbox.run(show)).output

    harness(story())


def test_the_limits_and_the_origin_are_those_of_the_sandbox(harness: LocalHarness, origin: Origin) -> None:
    async def story() -> None:
        limits = Limits(disk_mb=20, output_bytes=100)
        sandbox = await harness.open(Origin(origin.commit, origin.repository, env={"MINE": "1"}), limits)
        await sandbox.run(Command("head -c 15000000 /dev/zero > big; cd /tmp; echo x > x"))
        fork = await (await sandbox.snapshot()).fork()
        done = await fork.run(Command("echo $MINE; pwd; cat /tmp/x; yes | head -c 1000"))
        assert done.output.startswith(b"1\n/testbed\nx\n")
        assert done.dropped
        done = await fork.run(Command("cp big twice; cp big thrice"))  # the first fits, on a disk of its own
        assert done.output.count(b"No space left") == 1

    harness(story())


def test_no_fork_sees_the_layers_of_others(harness: LocalHarness, origin: Origin) -> None:
    async def story() -> None:
        sandboxes = [await harness.open(origin) for _ in range(3)]
        snapshots = []
        for sandbox in sandboxes:
            await sandbox.write("secret", b"sesame")
            snapshots.append(await sandbox.snapshot())
            await sandbox.run(Command("rm secret"))
        empty = await harness.open(origin)
        fork = await (await empty.snapshot()).fork()
        for each in (empty, fork):
            assert (await each.run(Command("grep -rqs sesame /testbed /tmp /run /dev/shm"))).returncode == 1
            assert (await each.run(Command("ls /layers /old /new /writable/upper"))).output.count(b"No such file") == 3
            assert (await each.run(Command("ls -A /old; ls -A /writable"))).output == b""
            assert (await each.run(Command("ls -l /proc/1/fd"))).returncode != 0
            assert b"/layers/" not in (await each.run(Command("cut -d' ' -f5 /proc/self/mountinfo"))).output
        for each in (*sandboxes, empty, fork):
            await each.close()
        for snapshot in snapshots:
            await snapshot.close()

    harness(story())


def layers(harness: LocalHarness) -> int:
    return Path(f"/proc/{harness.server_pid}/mounts").read_text().count(" /layers/")


def test_layers_are_kept_as_long_as_something_is_built_on_them_and_no_longer(origin: Origin) -> None:
    harness = LocalHarness("overlay")

    async def story() -> None:
        sandbox = await harness.open(origin)
        await sandbox.write("a.txt", b"first")
        first = await sandbox.snapshot()
        fork = await first.fork()
        await sandbox.close()
        await first.close()
        assert layers(harness) == 1  # for a snapshot of the fork would be built on it
        await fork.write("b", b"second")
        second = await fork.snapshot()
        await fork.close()
        assert layers(harness) == 2
        third = await second.fork()
        assert (await third.read("a.txt"), await third.read("b")) == (b"first", b"second")
        await second.close()
        assert layers(harness) == 2
        await third.close()
        assert await soon_in_loop(lambda: layers(harness) == 0)
        assert await soon_in_loop(lambda: not harness.guests())

    harness(story())
    harness.close()


def test_a_fork_lives_on_when_its_snapshot_is_closed_at_the_same_time(
    harness: LocalHarness, sandbox: LocalSandbox
) -> None:
    async def story() -> None:
        await sandbox.write("a.txt", b"kept")
        for _ in range(20):
            snapshot = await sandbox.snapshot()
            forks = [asyncio.create_task(snapshot.fork()) for _ in range(3)]
            await asyncio.sleep(0)
            await snapshot.close()
            for fork in await asyncio.gather(*forks):
                assert await fork.read("a.txt") == b"kept"
                await fork.close()

    harness(story())


def test_a_snapshot_that_nobody_waits_for_leaves_nothing(origin: Origin) -> None:
    harness = LocalHarness("overlay")

    async def story() -> None:
        sandbox = await harness.open(origin)
        await sandbox.run(Command("head -c 20000000 /dev/zero > big"))
        for moment in (0.0, 0.0005, 0.001, 0.002, 0.004, 0.008):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(moment):
                    await (await sandbox.snapshot()).close()
        assert await soon_in_loop(lambda: layers(harness) == 0 and len(harness.guests()) == 1)

    harness(story())
    harness.close()


def test_the_namespace_server_serves_others_while_a_large_copy_is_made(harness: LocalHarness, origin: Origin) -> None:
    async def story() -> None:
        sandbox = await harness.open(origin)
        await sandbox.run(Command("head -c 150000000 /dev/zero > big"))
        copying = asyncio.create_task(sandbox.snapshot())
        await asyncio.sleep(0)
        other = await harness.open(origin)
        assert (await other.run(Command("echo served"))).output == b"served\n"
        assert not copying.done()
        await (await copying).close()
        await sandbox.close()
        await other.close()

    harness(story())


def test_a_snapshot_of_a_lost_sandbox_and_a_fork_without_a_namespace_server_are_lost(origin: Origin) -> None:
    harness = LocalHarness("overlay")

    async def story() -> None:
        sandbox = await harness.open(origin)
        snapshot = await sandbox.snapshot()
        await sandbox.close()
        with pytest.raises(SandboxLost, match="closed"):
            await sandbox.snapshot()
        fork = await snapshot.fork()
        os.kill(harness.server_pid, signal.SIGKILL)
        assert await soon_in_loop(lambda: fork._channel.closed.done())
        with pytest.raises(SandboxLost):
            await fork.snapshot()
        for _ in range(2):  # neither while it goes, nor from a new one
            with pytest.raises(SandboxLost):
                await snapshot.fork()
            with contextlib.suppress(SandboxLost):
                await harness.open(origin)
        assert await (await harness.open(origin)).diff() == b""
        await snapshot.close()

    harness(story())
    harness.close()


def test_what_cannot_be_copied_is_an_error_and_the_sandbox_goes_on(
    harness: LocalHarness, sandbox: LocalSandbox
) -> None:
    async def story() -> None:
        deeper = "import os\nfor _ in range(900):\n    os.mkdir('d')\n    os.chdir('d')\n"
        await sandbox.run(Command(("python3", "-c", deeper)))
        with pytest.raises(SandboxError, match="nested more than 400 deep"):
            await sandbox.snapshot()
        await sandbox.run(Command("rm -rf d"))
        await (await sandbox.snapshot()).close()

    harness(story())


def test_snapshots_of_forks_may_be_nested_and_too_many_are_told_so(
    harness: LocalHarness, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(envs.local.namespace_client, "DEEPEST_CHAIN", 30)

    async def story() -> None:
        sandbox = await harness.open(origin)
        for number in range(30):
            await sandbox.write(f"{number}", b"")
            snapshot = await sandbox.snapshot()
            await sandbox.close()
            sandbox = await snapshot.fork()
            await snapshot.close()
        assert (await sandbox.run(Command("ls | grep -c '^[0-9]*$'"))).output == b"30\n"
        with pytest.raises(SandboxError, match="more than 30 taken one from the other"):
            await sandbox.snapshot()
        assert (await sandbox.run(Command("echo alive"))).output == b"alive\n"
        await sandbox.close()

    harness(story())


RUNNER = """
import asyncio, sys
from pathlib import Path
from envs import Command, Limits, Origin
from envs.local.backend import LocalBackend
async def main(isolation, commit, repository, word):
    backend = LocalBackend(isolation)
    sandbox = await backend.open(Origin(commit, Path(repository)), Limits())
    snapshots, forks = [], [sandbox]
    for number in range(3):
        await forks[-1].write(f"{number}", b"x" * 1000)
        snapshots.append(await forks[-1].snapshot())
        forks.append(await snapshots[-1].fork())
    running = [asyncio.create_task(fork.run(Command(("sleep", word)))) for fork in forks]
    await asyncio.sleep(0.1)
    print("ready", flush=True)
    await asyncio.gather(*running)
asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("isolation", ["overlay", "copy", "none"])
def test_when_the_runner_is_killed_nothing_of_its_snapshots_is_left(
    harness: LocalHarness, origin: Origin, tmp_path: Path, isolation: str
) -> None:
    word, before = unique(), mounts()
    with subprocess.Popen(
        [sys.executable, "-c", RUNNER, isolation, origin.commit, str(origin.repository), word],
        cwd=PROJECT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
    ) as runner:
        assert runner.stdout is not None
        assert runner.stdout.readline() == b"ready\n"
        assert soon(lambda: len(processes(word)) >= 4)
        runner.kill()
    assert soon(lambda: not processes(word), 2)
    assert soon(lambda: not list(tmp_path.iterdir()), 2)
    assert mounts() <= before


def test_without_isolation_the_copies_go_with_their_snapshots(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    harness = LocalHarness("none")

    def copies() -> int:
        return len(list(tmp_path.iterdir()))

    async def story() -> None:
        sandbox = await harness.open(origin)
        snapshot = await sandbox.snapshot()
        assert copies() == 2
        await snapshot.close()
        assert await soon_in_loop(lambda: copies() == 1)
        await sandbox.snapshot()

    harness(story())
    harness.close()
    assert copies() == 0


def test_two_hundred_and_fifty_forks_of_one_snapshot_work_at_once(origin: Origin) -> None:
    harness = LocalHarness("overlay")

    async def story() -> None:
        sandbox = await harness.open(origin)
        await sandbox.write("a.txt", b"shared\n")
        snapshot = await sandbox.snapshot()
        forks = await asyncio.gather(*[snapshot.fork(label=f"{number}") for number in range(250)])
        done = await asyncio.gather(
            *[fork.run(Command(f"echo {n} >> a.txt; cat a.txt")) for n, fork in enumerate(forks)]
        )
        assert [each.output for each in done] == [b"shared\n%d\n" % number for number in range(250)]
        assert layers(harness) == 1

    harness(story())
    harness.close()
