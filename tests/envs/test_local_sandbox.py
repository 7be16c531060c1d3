"""The local back end with real processes: commands, files, origins and the lesser kinds of isolation."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from envs import Command, Completed, FileProblem, Limits, Origin, Sandbox, SandboxError, SandboxLost, SandboxUnavailable
from envs.local.backend import LocalBackend, adopt
from tests.envs.support import local_sandboxes
from tests.envs.support.local_sandboxes import (
    FILES,
    PROJECT,
    LocalHarness,
    Shell,
    applied,
    git,
    make,
    processes,
    soon,
    soon_in_loop,
    tree_at,
    tree_in,
    unique,
)

origin, harness, sandbox, sh = (
    local_sandboxes.origin,
    local_sandboxes.harness,
    local_sandboxes.sandbox,
    local_sandboxes.sh,
)


# commands


def test_a_command_gives_its_output_and_its_status(sh: Shell) -> None:
    done = sh("echo out; echo err >&2; exit 3")
    assert (done.returncode, done.output, done.dropped, done.timed_out) == (3, b"out\nerr\n", 0, False)
    assert 0 <= done.seconds < 5


def test_an_argument_vector_runs_without_a_shell(sh: Shell) -> None:
    assert sh(("printf", "%s|", "a b", "$HOME", "*", "é\n")).output == "a b|$HOME|*|é\n|".encode()


def test_a_command_starts_in_the_repository_or_where_it_is_told(sh: Shell) -> None:
    assert sh("pwd").output == b"/testbed\n"
    assert sh("pwd", cwd="deep/er").output == b"/testbed/deep/er\n"
    assert sh("pwd", cwd="/tmp").output == b"/tmp\n"
    missing = sh("pwd", cwd="nowhere")
    assert (missing.returncode, missing.output) == (127, b"/testbed/nowhere: No such file or directory\n")


def test_a_command_sees_its_own_environment_and_nothing_of_the_runner(
    harness: LocalHarness, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_KEY", "sesame")

    async def story() -> bytes:
        sandbox = await harness.open(replace(origin, env={"FROM_ORIGIN": "yes", "BOTH": "origin"}))
        done = await sandbox.run(Command("env", env={"MINE": "Grüße\n=x", "BOTH": "command"}))
        await sandbox.close()
        return done.output

    text = harness(story())
    assert b"MINE=Gr\xc3\xbc\xc3\x9fe\n=x\n" in text
    assert b"FROM_ORIGIN=yes\n" in text
    assert b"BOTH=command\n" in text
    assert b"sesame" not in text
    assert os.environ["HOME"].encode() + b"\n" not in text


@pytest.mark.parametrize("size", [0, 1, 70_000, 5_000_000])
def test_standard_input_arrives_byte_for_byte_and_ends(sh: Shell, size: int) -> None:
    data = random.Random(size).randbytes(size)
    assert sh("cat", stdin=data, output_cap=10_000_000).output == data


def test_a_command_that_reads_input_without_any_gets_an_end_of_file(sh: Shell) -> None:
    assert sh("read x; echo status $?").output == b"status 1\n"


@pytest.mark.parametrize(
    ("script", "status"),
    [
        ("exit 0", 0),
        ("exit 255", 255),
        ("exec sh -c 'exit 7'", 7),
        ("kill -9 $$", -9),
        ("kill -TERM $$", -15),
        ("kill -SEGV $$", -11),
        ("no-such-command", 127),
        ("/etc/passwd", 126),
        ("if then", 2),
        (("no-such-command",), 127),
        (("/etc/passwd",), 127),
        ((), 127),
    ],
)
def test_every_way_to_end_has_a_status(sh: Shell, script: str | tuple[str, ...], status: int) -> None:
    assert sh(script).returncode == status
    assert sh("echo alive").output == b"alive\n"


def test_what_cannot_be_asked_is_answered_and_the_sandbox_lives(
    harness: LocalHarness, sandbox: Sandbox, sh: Shell
) -> None:
    asked: list[tuple[str | tuple[str, ...], dict[str, Any]]] = [
        ("echo \0", {}),
        (("echo", "a\0b"), {}),
        ("true", {"cwd": "a\0b"}),
        ("true", {"env": {"A": "a\0b"}}),
        ("true", {"env": {"A=B": "c"}}),
        ("echo \ud800", {}),
        (("x" * 200_000,), {}),
        (("echo", "x" * 3_000_000), {}),
    ]
    for script, more in asked:
        assert sh(script, **more).returncode == 127
    for path in ("a\0b", "\ud800", "x" * 5000):
        with pytest.raises(FileProblem):
            harness(sandbox.read(path))
        with pytest.raises(FileProblem):
            harness(sandbox.write(path, b""))
    assert sh("echo alive").output == b"alive\n"


def test_a_script_longer_than_an_argument_may_be_is_told_so(sh: Shell) -> None:
    done = sh("echo " + "x" * 200_000)
    assert (done.returncode, done.output) == (127, b"/bin/sh: Argument list too long\n")


def test_several_commands_run_at_a_time(harness: LocalHarness, sandbox: Sandbox) -> None:
    async def story() -> list[Completed]:
        first = asyncio.create_task(sandbox.run(Command("until [ -e gate ]; do sleep 0.01; done; echo first")))
        rest = [sandbox.run(Command(f"echo {i}; touch gate")) for i in range(10)]
        return await asyncio.gather(first, *rest)

    first, *rest = harness(story())
    assert first.output == b"first\n"
    assert [done.output for done in rest] == [b"%d\n" % i for i in range(10)]


def test_a_time_out_ends_a_command_and_all_that_it_started(harness: LocalHarness, sandbox: Sandbox, sh: Shell) -> None:
    plain, session, deaf, bare, orphan = (unique() for _ in range(5))
    done = sh(
        f"""
        sleep {plain} &
        setsid sleep {session} &
        sh -c 'trap "" TERM HUP INT; sleep {deaf}; sleep {deaf}' &
        env -i setsid sleep {bare} &
        (setsid sh -c 'sleep {orphan} & sleep {orphan}' &)
        echo started
        trap "" TERM
        while :; do sleep 1; done
        """,
        timeout=0.5,
    )
    assert done.timed_out
    assert done.returncode == -9
    assert done.output == b"started\n"
    assert 0.4 < done.seconds < 3
    for word in (plain, session, deaf, bare, orphan):
        assert soon(lambda word=word: not processes(word), 1), word  # type: ignore[misc]
    assert sh("echo alive").output == b"alive\n"


def test_a_time_out_spares_other_commands_and_earlier_daemons(harness: LocalHarness, sandbox: Sandbox) -> None:
    daemon = unique()

    async def story() -> tuple[Completed, Completed]:
        await sandbox.run(Command(f"setsid sleep {daemon} >/dev/null 2>&1 &"))
        return await asyncio.gather(
            sandbox.run(Command("sleep 1; echo spared")), sandbox.run(Command("sleep 100", timeout=0.2))
        )

    spared, late = harness(story())
    assert late.timed_out
    assert spared.output == b"spared\n"
    assert soon(lambda: len(processes(daemon)) == 1)


def test_processes_that_fork_without_end_do_not_outlive_the_time_out(sh: Shell) -> None:
    word = unique()
    script = f"""
import subprocess
while True:
    try:
        subprocess.Popen(["sh", "-c", "sleep {word} & sleep {word}"], start_new_session=True)
    except OSError:
        pass
"""
    done = sh(("python", "-c", script), timeout=0.5)
    assert done.timed_out
    assert soon(lambda: not processes(word), 2)


def test_a_time_out_beyond_all_bounds_is_no_time_out(sh: Shell) -> None:
    assert sh("echo x", timeout=1e12).output == b"x\n"


def test_head_and_tail_of_a_long_output_are_kept_and_the_rest_is_counted(sh: Shell) -> None:
    done = sh("seq 1 100000", output_cap=1000)
    whole = b"".join(b"%d\n" % i for i in range(1, 100001))
    assert done.dropped == len(whole) - 1000
    assert done.output == whole[:500] + b"\n[%d bytes dropped here]\n" % done.dropped + whole[-500:]


@pytest.mark.parametrize("cap", [0, 1, 7, 8, 9])
def test_a_cap_is_kept_to_the_byte(sh: Shell, cap: int) -> None:
    done = sh("printf 12345678", output_cap=cap)
    assert done.dropped == max(0, 8 - cap)
    kept = b"12345678"[: cap // 2], b"12345678"[8 - (cap - cap // 2) :] if cap else b""
    assert done.output == (b"\n[%d bytes dropped here]\n" % done.dropped).join(kept) if done.dropped else b"12345678"


def test_without_a_cap_of_its_own_a_command_has_that_of_the_sandbox(harness: LocalHarness, origin: Origin) -> None:
    async def story() -> Completed:
        sandbox = await harness.open(origin, Limits(output_bytes=100))
        done = await sandbox.run(Command("yes | head -c 1000"))
        await sandbox.close()
        return done

    assert harness(story()).dropped == 900


def test_fifty_megabytes_of_output_are_quick_and_need_little_memory(sh: Shell) -> None:
    began = time.monotonic()
    done = sh("head -c 50000000 /dev/zero; grep VmHWM /proc/1/status; echo end")
    assert time.monotonic() - began < 5
    assert done.output.endswith(b" kB\nend\n")
    assert int(done.output.split()[-3]) < 100_000
    assert done.dropped > 49_000_000


def test_output_is_bytes_whatever_they_are(sh: Shell) -> None:
    data = bytes(range(256)) * 40 + b"\xff\xfe\0\0\r\n\r"
    assert sh("cat", stdin=data).output == data


def test_a_command_that_closes_its_output_goes_on_to_its_end(sh: Shell) -> None:
    done = sh("echo before; exec >&- 2>&-; sleep 0.3; exit 5")
    assert (done.returncode, done.output) == (5, b"before\n")
    assert done.seconds > 0.25


def test_a_daemon_that_keeps_the_output_open_holds_up_nothing(sh: Shell) -> None:
    word = unique()
    done = sh(f"(trap '' HUP; while :; do echo noise; sleep 0.01; done; sleep {word}) & sleep {word} & echo said")
    assert done.output.startswith(b"said\n") or b"said\n" in done.output
    assert done.seconds < 1
    assert soon(lambda: len(processes(word)) == 1)
    assert sh("echo alive").output == b"alive\n"


def test_quiet_ends_every_process_and_nothing_else(harness: LocalHarness, sandbox: Sandbox, sh: Shell) -> None:
    word = unique()
    sh(f"echo kept > /tmp/kept; setsid env -i sleep {word} >/dev/null 2>&1 & sleep {word} &")
    assert soon(lambda: len(processes(word)) == 2)
    harness(sandbox.quiet())
    assert soon(lambda: not processes(word))
    assert sh("cat /tmp/kept").output == b"kept\n"


def test_all_that_was_written_before_the_end_arrives(harness: LocalHarness, sandbox: Sandbox) -> None:
    async def story() -> list[Completed]:
        return await asyncio.gather(*[sandbox.run(Command(f"head -c {60_000 + i} /dev/zero")) for i in range(20)])

    assert [len(done.output) for done in harness(story())] == [60_000 + i for i in range(20)]


def test_the_first_process_cannot_be_ended_from_inside(sh: Shell) -> None:
    # Only where there is a PID namespace, or this would end everything on the machine.
    assert sh("readlink /proc/self/ns/pid").output.decode().strip() not in ("", os.readlink("/proc/self/ns/pid"))
    for name in ("KILL", "INT", "TERM", "HUP", "STOP", "SEGV", "ALRM", "CHLD", "USR1"):
        sh(f"kill -{name} 1")
    assert sh("[ $$ -lt 1000 ] && kill -KILL -1; echo still here").output.endswith(b"still here\n")
    done = sh("[ $$ -lt 1000 ] && sh -c 'kill -9 -1'")
    assert done.returncode in (-9, 0, 1)
    assert sh("echo alive").output == b"alive\n"


# files


@pytest.mark.parametrize(
    "data", [b"", b"x", b"a\r\nb\n\0\xff", random.Random(1).randbytes(3_000_000)], ids=["empty", "x", "odd", "3MB"]
)
def test_what_is_written_is_read_again(harness: LocalHarness, sandbox: Sandbox, data: bytes) -> None:
    for path in ("new file", "/tmp/new", "deep/new/fol der/ü'\"\n.txt"):
        harness(sandbox.write(path, data))
        assert harness(sandbox.read(path)) == data


def test_an_existing_file_keeps_its_mode_and_a_link_stays_one(
    harness: LocalHarness, sandbox: Sandbox, sh: Shell
) -> None:
    harness(sandbox.write("run.sh", b"#!/bin/sh\necho changed\n"))
    assert sh("./run.sh").output == b"changed\n"
    harness(sandbox.write("link", b"through\n"))
    assert sh("readlink link; cat a.txt").output == b"a.txt\nthrough\n"
    harness(sandbox.write("fresh", b""))
    assert sh("stat -c %a fresh").output == b"644\n"


def test_a_read_follows_no_path_out_of_the_sandbox(harness: LocalHarness, sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    for path in (str(tmp_path / "secret"), f"../../../..{tmp_path}/secret", "/proc/1/root/old", "/proc/1/mem"):
        with pytest.raises(FileProblem):
            harness(sandbox.read(path))


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("missing", "No such file or directory"),
        ("deep", "is a directory"),
        ("", "is a directory"),
        ("a.txt/below", "Not a directory"),
        ("pipe", "is not a regular file"),
        ("/dev/zero", "is not a regular file"),
        ("loop", "Too many levels of symbolic links"),
        ("huge", "is larger than 64 MB"),
    ],
)
def test_what_cannot_be_read_is_a_file_problem(
    harness: LocalHarness, sandbox: Sandbox, sh: Shell, path: str, why: str
) -> None:
    sh("mkfifo pipe; ln -s loop loop; truncate -s 900M huge")
    with pytest.raises(FileProblem, match=rf"^/testbed/{path}: {why}$" if path[:1] != "/" else why):
        harness(sandbox.read(path))
    assert sh("echo alive").output == b"alive\n"


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("deep", "directory"),
        ("a.txt/below", "Not a directory|File exists"),
        ("pipe", "No such device or address|not a regular file"),
        ("/usr/new", "Read-only file system"),
        ("/etc/passwd", "Read-only file system"),
        ("/proc/1/environ", "Permission denied"),
    ],
)
def test_what_cannot_be_written_is_a_file_problem(
    harness: LocalHarness, sandbox: Sandbox, sh: Shell, path: str, why: str
) -> None:
    sh("mkfifo pipe")
    with pytest.raises(FileProblem, match=why):
        harness(sandbox.write(path, b"data"))
    assert sh("echo alive").output == b"alive\n"


# what can go wrong at the start


def test_an_origin_without_a_repository_is_refused_with_a_remedy(harness: LocalHarness) -> None:
    with pytest.raises(SandboxUnavailable, match="--sandbox docker"):
        harness(harness.open(Origin("0" * 40, image="some/image")))


def test_a_repository_that_is_not_there_is_told_with_its_cause(
    harness: LocalHarness, origin: Origin, tmp_path: Path
) -> None:
    with pytest.raises(SandboxUnavailable, match=f"there is no repository {tmp_path}/missing"):
        harness(harness.open(Origin(origin.commit, tmp_path / "missing")))
    assert harness(tree_in(harness(harness.open(origin))))


def test_an_isolation_of_another_name_is_refused() -> None:
    with pytest.raises(SandboxUnavailable, match="choose overlay, copy or none"):
        LocalHarness("docker")


def test_a_repository_that_holds_later_work_is_refused_and_each_is_looked_at_once(tmp_path: Path) -> None:
    origin = make(tmp_path / "repository", {"x": b"base"})
    assert origin.repository is not None
    harness = LocalHarness()
    harness(harness.open(origin))
    git(origin.repository, "-c", f"safe.directory={origin.repository}", "commit", "-qm", "later", "--allow-empty")
    git(origin.repository, "-c", f"safe.directory={origin.repository}", "commit", "-qm", "still later", "--allow-empty")
    harness(harness.open(origin))  # within one run nothing but the runner writes there
    harness.close()
    harness = LocalHarness()
    for _ in range(2):
        with pytest.raises(SandboxUnavailable, match="is not at the base commit"):
            harness(harness.open(origin))
    git(origin.repository, "-c", f"safe.directory={origin.repository}", "reset", "-q", "--hard", origin.commit)
    harness.close()
    harness = LocalHarness()
    with pytest.raises(SandboxUnavailable, match="scrubbed_copy"):
        harness(harness.open(origin))
    harness.close()


@pytest.mark.parametrize("isolation", ["overlay", "copy", "none"])
def test_without_a_commit_any_folder_opens_and_has_no_patch(
    harness: LocalHarness, tmp_path: Path, isolation: str
) -> None:
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain/x").write_text("x")
    adopt(tmp_path / "plain")
    harness = LocalHarness(isolation)

    async def story() -> None:
        sandbox = await harness.open(Origin("", tmp_path / "plain"))
        assert await sandbox.read("x") == b"x"
        await sandbox.write("y", b"y")
        for each in (sandbox, await (await sandbox.snapshot()).fork()):
            assert await each.read("y") == b"y"
            with pytest.raises(SandboxError, match="has no base commit"):
                await each.diff()
            await each.close()
        with pytest.raises(SandboxLost):
            await sandbox.diff()

    harness(story())
    harness.close()


# the network


def test_the_hosts_network_is_open_to_those_that_ask_for_it_and_it_is_said_loudly(origin: Origin) -> None:
    harness = LocalHarness("overlay")

    async def story(port: int) -> None:
        shut = await harness.open(origin)
        assert (harness.backend.describe()["network"], harness.backend.warning) == ("none", "")
        sandbox = await harness.open(origin, Limits(network="host"))
        assert harness.backend.describe()["network"] == "host"
        assert harness.backend.warning.startswith("OPEN NETWORK")
        reach = Command(("python3", "-c", f"import socket; socket.create_connection(('127.0.0.1', {port}), 2)"))
        assert (await sandbox.run(reach)).returncode == 0
        fork = await (await sandbox.snapshot()).fork()
        assert (await fork.run(reach)).returncode == 0
        assert (await shut.run(reach)).returncode == 1
        for name in ("resolv.conf", "hosts"):
            if Path("/etc", name).exists():
                assert await sandbox.read(f"/etc/{name}") == Path("/etc", name).read_bytes()
        assert b"hosts: files dns\n" in await sandbox.read("/etc/nsswitch.conf")
        assert await shut.read("/etc/resolv.conf") == b""
        certificates = sorted(os.listdir("/etc/ssl/certs")) if os.path.isdir("/etc/ssl/certs") else []
        listed = await sandbox.run(Command("ls /etc/ssl/certs | LC_ALL=C sort", output_cap=1 << 20))
        assert listed.output.decode().split() == certificates
        assert (await sandbox.run(Command("touch /etc/ssl/x || touch /etc/hosts"))).returncode != 0
        assert (await sandbox.run(Command("ip link set lo down; cat /etc/shadow"))).returncode != 0

    with socket.create_server(("127.0.0.1", 0)) as server:
        harness(story(server.getsockname()[1]))
    harness.close()


def test_a_network_of_another_name_is_refused_with_a_remedy(harness: LocalHarness, origin: Origin) -> None:
    with pytest.raises(SandboxUnavailable, match=r"cannot join the network 'mine'; choose none, host .* docker"):
        harness(harness.open(origin, Limits(network="mine")))


# the other kinds of isolation


@pytest.fixture(scope="module", params=["copy", "none"])
def lesser(request: pytest.FixtureRequest, harness: LocalHarness) -> Iterator[LocalHarness]:
    lesser = LocalHarness(request.param)
    yield lesser
    lesser.close()


def test_every_kind_of_isolation_does_the_basic_things(lesser: LocalHarness, origin: Origin) -> None:
    async def story() -> None:
        sandbox = await lesser.open(replace(origin, env={"FROM_ORIGIN": "yes"}))
        assert lesser.backend.describe()["isolation"] == lesser.backend.isolation
        done = await sandbox.run(
            Command("cat a.txt; echo $MINE $FROM_ORIGIN; cat; exit 4", env={"MINE": "1"}, stdin=b"in")
        )
        assert (done.returncode, done.output) == (4, FILES["a.txt"] + b"1 yes\nin")
        assert await sandbox.diff() == b""
        await sandbox.write("p/new", b"new\r\n")
        assert await sandbox.read("p/new") == b"new\r\n"
        with pytest.raises(FileProblem, match="No such file"):
            await sandbox.read("missing")
        await sandbox.run(
            Command("rm a.txt; chmod +x crlf.txt; git add -A; git -c user.name=a -c user.email=b commit -qm x")
        )
        with applied(origin, await sandbox.diff()) as checkout:
            assert tree_at(checkout) == await tree_in(sandbox)
        word = unique()
        assert (await sandbox.run(Command(f"setsid sleep {word} & sleep {word}", timeout=0.3))).timed_out
        assert await soon_in_loop(lambda: not processes(word), 1)
        await sandbox.run(Command(f"setsid sleep {word} >/dev/null 2>&1 &"))
        await sandbox.quiet()
        assert await soon_in_loop(lambda: not processes(word), 2)
        await sandbox.run(Command(f"setsid sleep {word} >/dev/null 2>&1 &"))
        await sandbox.close()
        assert await soon_in_loop(lambda: not processes(word), 2)
        with pytest.raises(SandboxLost):
            await sandbox.run(Command("true"))
        again = await lesser.open(origin)
        assert await again.read("a.txt") == FILES["a.txt"]
        await again.close()

    lesser(story())


def test_a_copy_is_as_isolated_as_an_overlay(origin: Origin, harness: LocalHarness, tmp_path: Path) -> None:
    copy = LocalHarness("copy")

    async def story() -> None:
        sandbox = await copy.open(origin)
        for script in (
            f"ls {PROJECT}",
            f"ls {tmp_path}",
            "echo x > /usr/x",
            "echo x > /run/base.git/x",
            "unshare -Ur true",
        ):
            assert (await sandbox.run(Command(script))).returncode != 0
        assert (await sandbox.run(Command("ls -d /proc/[0-9]* | wc -l"))).output.strip() in (b"3", b"4", b"5")

    copy(story())
    copy.close()


def test_without_isolation_the_warning_is_loud_and_the_copy_goes_with_the_sandbox(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    harness = LocalHarness("none")

    async def story() -> None:
        sandbox = await harness.open(origin)
        assert harness.backend.isolation == "none"
        assert harness.backend.warning.startswith("NO ISOLATION")
        assert "--sandbox docker" in harness.backend.warning
        workdir = (await sandbox.run(Command("pwd"))).output.decode().strip()
        assert Path(workdir).is_relative_to(tmp_path)
        await sandbox.run(Command("mkdir -p shut/in; echo x > shut/in/x; chmod 0 shut/in shut; ln -s / root"))
        await sandbox.close()
        assert await soon_in_loop(lambda: not any(tmp_path.iterdir()), 2)

    harness(story())
    harness.close()
    assert origin.repository is not None
    assert (origin.repository / "a.txt").read_bytes() == FILES["a.txt"]


def test_without_isolation_a_time_out_touches_no_other_sandbox(origin: Origin) -> None:
    harness = LocalHarness("none")

    async def story() -> None:
        one, two = await harness.open(origin), await harness.open(origin)
        late, spared = await asyncio.gather(
            one.run(Command("sleep 100", timeout=0.3)), two.run(Command("sleep 0.8; echo spared"))
        )
        assert late.timed_out
        assert spared.output == b"spared\n"

    harness(story())
    harness.close()


def test_where_no_namespace_can_be_made_it_falls_back_with_the_reason(
    origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(self: LocalBackend, kind: str) -> str:
        return f"{kind} is refused here"

    monkeypatch.setattr(LocalBackend, "_try_isolation", refused)
    harness = LocalHarness()
    harness(harness.backend.start())
    assert harness.backend.isolation == "none"
    assert "overlay is refused here" in harness.backend.warning
    assert "copy is refused here" in harness.backend.warning
    harness.close()
    harness = LocalHarness("overlay")
    with pytest.raises(SandboxUnavailable, match="overlay is refused here"):
        harness(harness.backend.start())
    harness.close()
