"""The local back end with real processes: commands, files, patches, isolation, limits and ends of life."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import envs.local
from envs import Command, Completed, FileProblem, Limits, Origin, Sandbox, SandboxLost, SandboxUnavailable
from envs.local import LocalBackend, adopt

T = TypeVar("T")

PROJECT = Path(envs.local.__file__).resolve().parents[1]
FILES = {
    ".gitignore": b"*.log\nbuild/\n",
    "a.txt": b"one\ntwo\nthree\n",
    "crlf.txt": b"one\r\ntwo\r\n",
    "data.bin": bytes(range(256)),
    "deep/er/module.py": b"x = 1\n",
    "run.sh": b"#!/bin/sh\necho ran\n",
    "unended": b"no newline",
}


class Room:
    """A back end and the event loop that it lives in, for as many tests as like."""

    def __init__(self, isolation: str | None = None) -> None:
        self.loop = asyncio.Runner()
        self.backend = LocalBackend(isolation)

    def __call__(self, story: Coroutine[Any, Any, T]) -> T:
        return self.loop.run(story)

    async def open(self, origin: Origin, limits: Limits | None = None) -> Sandbox:
        return await self.backend.open(origin, limits or Limits(), label="test")

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
def room() -> Iterator[Room]:
    room = Room("overlay")
    try:
        room(room.backend.start())
    except SandboxUnavailable as error:
        room.close()
        pytest.skip(str(error))
    yield room
    room.close()


@pytest.fixture
def sandbox(room: Room, origin: Origin) -> Iterator[Sandbox]:
    sandbox = room(room.open(origin))
    yield sandbox
    room(sandbox.close())


@pytest.fixture
def sh(room: Room, sandbox: Sandbox) -> Callable[..., Completed]:
    def run(script: str | tuple[str, ...], **more: Any) -> Completed:
        return room(sandbox.run(Command(script, **more)))

    return run


Shell = Callable[..., Completed]


def unique() -> str:
    """Seconds to sleep that nobody else sleeps."""
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
    room: Room, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_KEY", "sesame")

    async def story() -> bytes:
        sandbox = await room.open(replace(origin, env={"FROM_ORIGIN": "yes", "BOTH": "origin"}))
        done = await sandbox.run(Command("env", env={"MINE": "Grüße\n=x", "BOTH": "command"}))
        await sandbox.close()
        return done.output

    text = room(story())
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


def test_what_cannot_be_asked_is_answered_and_the_sandbox_lives(room: Room, sandbox: Sandbox, sh: Shell) -> None:
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
            room(sandbox.read(path))
        with pytest.raises(FileProblem):
            room(sandbox.write(path, b""))
    assert sh("echo alive").output == b"alive\n"


def test_a_script_longer_than_an_argument_may_be_is_told_so(sh: Shell) -> None:
    done = sh("echo " + "x" * 200_000)
    assert (done.returncode, done.output) == (127, b"/bin/sh: Argument list too long\n")


def test_several_commands_run_at_a_time(room: Room, sandbox: Sandbox) -> None:
    async def story() -> list[Completed]:
        first = asyncio.create_task(sandbox.run(Command("until [ -e gate ]; do sleep 0.01; done; echo first")))
        rest = [sandbox.run(Command(f"echo {i}; touch gate")) for i in range(10)]
        return await asyncio.gather(first, *rest)

    first, *rest = room(story())
    assert first.output == b"first\n"
    assert [done.output for done in rest] == [b"%d\n" % i for i in range(10)]


def test_a_time_out_ends_a_command_and_all_that_it_started(room: Room, sandbox: Sandbox, sh: Shell) -> None:
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


def test_a_time_out_spares_other_commands_and_earlier_daemons(room: Room, sandbox: Sandbox) -> None:
    daemon = unique()

    async def story() -> tuple[Completed, Completed]:
        await sandbox.run(Command(f"setsid sleep {daemon} >/dev/null 2>&1 &"))
        return await asyncio.gather(
            sandbox.run(Command("sleep 1; echo spared")), sandbox.run(Command("sleep 100", timeout=0.2))
        )

    spared, late = room(story())
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


def test_without_a_cap_of_its_own_a_command_has_that_of_the_sandbox(room: Room, origin: Origin) -> None:
    async def story() -> Completed:
        sandbox = await room.open(origin, Limits(output_bytes=100))
        done = await sandbox.run(Command("yes | head -c 1000"))
        await sandbox.close()
        return done

    assert room(story()).dropped == 900


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


def test_all_that_was_written_before_the_end_arrives(room: Room, sandbox: Sandbox) -> None:
    async def story() -> list[Completed]:
        return await asyncio.gather(*[sandbox.run(Command(f"head -c {60_000 + i} /dev/zero")) for i in range(20)])

    assert [len(done.output) for done in room(story())] == [60_000 + i for i in range(20)]


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
def test_what_is_written_is_read_again(room: Room, sandbox: Sandbox, data: bytes) -> None:
    for path in ("new file", "/tmp/new", "deep/new/fol der/ü'\"\n.txt"):
        room(sandbox.write(path, data))
        assert room(sandbox.read(path)) == data


def test_an_existing_file_keeps_its_mode_and_a_link_stays_one(room: Room, sandbox: Sandbox, sh: Shell) -> None:
    room(sandbox.write("run.sh", b"#!/bin/sh\necho changed\n"))
    assert sh("./run.sh").output == b"changed\n"
    room(sandbox.write("link", b"through\n"))
    assert sh("readlink link; cat a.txt").output == b"a.txt\nthrough\n"
    room(sandbox.write("fresh", b""))
    assert sh("stat -c %a fresh").output == b"644\n"


def test_a_read_follows_no_path_out_of_the_sandbox(room: Room, sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    for path in (str(tmp_path / "secret"), f"../../../..{tmp_path}/secret", "/proc/1/root/old", "/proc/1/mem"):
        with pytest.raises(FileProblem):
            room(sandbox.read(path))


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
def test_what_cannot_be_read_is_a_file_problem(room: Room, sandbox: Sandbox, sh: Shell, path: str, why: str) -> None:
    sh("mkfifo pipe; ln -s loop loop; truncate -s 900M huge")
    with pytest.raises(FileProblem, match=rf"^/testbed/{path}: {why}$" if path[:1] != "/" else why):
        room(sandbox.read(path))
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
def test_what_cannot_be_written_is_a_file_problem(room: Room, sandbox: Sandbox, sh: Shell, path: str, why: str) -> None:
    sh("mkfifo pipe")
    with pytest.raises(FileProblem, match=why):
        room(sandbox.write(path, b"data"))
    assert sh("echo alive").output == b"alive\n"


# patches


def tree(packed: bytes) -> dict[str, tuple[str, bytes]]:
    """Name to kind and content, of files and links in a tar."""
    result = {}
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        for member in tar:
            if member.issym():
                result[member.name] = "link", member.linkname.encode()
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


def test_a_sandbox_in_which_nothing_changed_has_an_empty_patch(room: Room, sandbox: Sandbox, sh: Shell) -> None:
    assert room(sandbox.diff()) == b""
    sh("touch a.txt; cat crlf.txt data.bin; mkdir empty; git status; echo x > /tmp/outside; git log")
    assert room(sandbox.diff()) == b""
    sh("echo x > a.txt; mv unended kept")
    sh("git checkout -q a.txt; mv kept unended; chmod 600 a.txt")
    assert room(sandbox.diff()) == b""


CHANGES = {
    "new file": "echo new > new; mkdir -p p/q; echo deep > p/q/r",
    "empty file": ": > empty",
    "deletion": "rm a.txt deep/er/module.py",
    "all deleted": "rm -rf * .gitignore",
    "mode": "chmod +x a.txt; chmod -x run.sh",
    "crlf": r"printf 'one\r\n2\r\n' > crlf.txt; printf 'a\nb\r\n' > mixed; printf 'now\r\n' > a.txt",
    "no newline": "printf 'one\ntwo' > a.txt; printf 'x\n' > unended; printf end > ended",
    "binary": "head -c 5000 /dev/urandom > data.bin; printf 'a\\0b' > new.bin; printf '\\377\\376\\n' > latin",
    "links": "ln -s nowhere dangling; rm link; ln -s deep/er link; ln -s /etc/passwd outside",
    "kinds": "rm a.txt; mkdir a.txt; echo x > a.txt/x; rm -r deep; echo x > deep; rm link; echo x > link",
    "names": """echo x > 'two words'; echo x > 'grüße'; echo x > "it's \\"quoted\\""; echo x > 'tab\there'; echo x > -v
        echo x > "$(printf 'new\\nline')"; echo x > "$(printf 'bad\\377')"; echo x > ' lead'; echo x > 'back\\slash'""",
    "rename": "mv a.txt b.txt; echo more >> b.txt",
    "renamed folder": "mv deep shallow",
    "committed": "echo x > a.txt; git add -A; git commit -qm work; echo y > y; git add y; git commit -qm more",
    "staged": "echo x > a.txt; echo new > new; git add -A; echo later > new; git rm -q --cached crlf.txt",
    "stashed": "echo x > a.txt; git stash -q; echo y > y",
    "branch": "git checkout -qb other; echo x > a.txt; git commit -qam x; git tag v1;"
    "git checkout -q --detach HEAD~1; echo y > y",
    "no git": "rm -rf .git; echo x > a.txt",
    "another git": "rm -rf .git; git init -q; echo x > a.txt; git add -A; git commit -qm mine",
    "broken git": "echo x > a.txt; echo broken > .git/index; echo broken > .git/HEAD; rm -rf .git/objects",
    "hidden from git": "echo x > a.txt; git update-index --assume-unchanged a.txt;"
    "git update-index --skip-worktree run.sh; echo y >> run.sh; echo '*' > .git/info/exclude; echo n > n",
    "configured": "git config core.autocrlf true; git config diff.external false; git config core.fileMode false;"
    "git config color.ui always; git config diff.noprefix true; git config diff.mnemonicPrefix true;"
    "git config core.quotePath false; git config diff.context 0; chmod +x a.txt; echo 'é' > 'é'; rm crlf.txt",
    "huge line": "head -c 3000000 /dev/zero | tr '\\0' x > line",
}


@pytest.mark.parametrize("script", CHANGES.values(), ids=CHANGES)
def test_the_patch_turns_a_fresh_checkout_into_the_same_bytes(
    room: Room, origin: Origin, sandbox: Sandbox, sh: Shell, script: str
) -> None:
    done = sh(script)
    assert done.returncode == 0, done.output
    patch = room(sandbox.diff())
    assert patch
    with applied(origin, patch) as checkout:
        assert tree_at(checkout) == room(tree_in(sandbox))
    assert room(sandbox.diff()) == patch  # taking it changes nothing


def test_ignored_files_are_left_out_unless_they_are_no_longer_ignored(room: Room, sandbox: Sandbox, sh: Shell) -> None:
    sh("echo x > x.log; mkdir build; echo x > build/x; echo x > kept")
    patch = room(sandbox.diff())
    assert b"kept" in patch
    assert b"x.log" not in patch
    assert b"build" not in patch
    sh("echo > .gitignore")
    assert b"x.log" in room(sandbox.diff())


@pytest.mark.parametrize(
    "rule", ["* text=auto", "* text", "* eol=crlf", "* ident", "* binary", "* working-tree-encoding=UTF-16"]
)
@pytest.mark.parametrize("place", [".gitattributes", "deep/.gitattributes", ".git/info/attributes"])
def test_attributes_that_were_changed_do_not_change_the_bytes(
    room: Room, origin: Origin, sandbox: Sandbox, sh: Shell, rule: str, place: str
) -> None:
    files = {name: f"{name}\r\n$Id: 1$\nend".encode() for name in ("a.txt", "new", "deep/new", "crlf.txt")}
    for name, data in files.items():
        room(sandbox.write(name, data))
    sh(f"echo '{rule}' > {place}; git add -A; git commit -qm x")
    with applied(origin, b"") as checkout:
        git(checkout, "apply", "--cached", "--whitespace=nowarn", "-", given=room(sandbox.diff()))
        for name, data in files.items():
            assert git(checkout, "show", f":{name}") == data


def test_attributes_of_the_base_hold(room: Room, tmp_path: Path) -> None:
    origin = make(
        tmp_path / "r", {".gitattributes": b"*.bat text eol=crlf\n*.c ident\n", "x.bat": b"one\n", "y.c": b"$Id$\n"}
    )
    assert origin.repository is not None
    (origin.repository / "x.bat").write_bytes(b"one\r\n")  # as a checkout has it
    adopt(origin.repository)

    async def story() -> tuple[bytes, bytes]:
        sandbox = await room.open(origin)
        await sandbox.run(Command("touch x.bat; echo x > new"))
        first = await sandbox.diff()
        await sandbox.write("x.bat", b"one\r\ntwo\r\n")
        second = await sandbox.diff()
        await sandbox.close()
        return first, second

    first, second = room(story())
    assert b"x.bat" not in first
    assert b"+two\n" in second


def test_what_git_cannot_take_in_does_not_cost_the_rest_of_the_patch(room: Room, sandbox: Sandbox, sh: Shell) -> None:
    sh("""
        git init -q repository-without-commits
        git init -q repository; cd repository; echo x > x; git add x; git commit -qm x; cd ..
        echo x > locked; chmod 0 locked; mkdir -m 0 shut; mkfifo pipe
        echo kept > a.txt; echo kept > new
    """)
    patch = room(sandbox.diff())
    assert patch.count(b"+kept\n") == 2
    assert b"locked" not in patch


def test_the_patch_is_taken_when_the_disk_is_full_and_processes_are_used_up(room: Room, origin: Origin) -> None:
    async def story() -> bytes:
        sandbox = await room.open(origin, Limits(disk_mb=8, processes=40))
        await sandbox.run(Command("echo kept > a.txt; head -c 20000000 /dev/zero > /tmp/fill; echo x > /tmp/more"))
        with pytest.raises(FileProblem, match="No space left"):
            await sandbox.write("more", b"x" * 100_000)
        assert (await sandbox.run(Command("cat", stdin=b"x" * 100_000))).returncode == 127
        patch = await sandbox.diff()
        await sandbox.close()
        return patch

    assert b"+kept\n" in room(story())


def test_a_patch_too_large_to_take_is_an_error_that_says_so(
    room: Room, sandbox: Sandbox, sh: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("envs.diff.PATCH_CAP", 1 << 20)
    sh("head -c 1000000 /dev/urandom > noise")
    with pytest.raises(envs.SandboxError, match="larger than 1 MB"):
        room(sandbox.diff())


NAMES = st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=6).filter(
    lambda name: (
        name.lower() not in (".", "..", ".git", ".gitattributes", ".gitignore", "git~1")
        # what git itself refuses to track, for the sake of other systems
        and not name.lower().startswith((".git", "git~"))
    )
)
PATHS = st.lists(NAMES, min_size=1, max_size=2).map("/".join)
CONTENTS = st.one_of(
    st.binary(max_size=40),
    st.lists(st.sampled_from([b"one\n", b"two\r\n", b"three\r", b"\n", b" \t\n", b"end"]), max_size=6).map(b"".join),
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.one_of(PATHS, st.sampled_from(sorted(FILES)[1:])), CONTENTS),
        st.tuples(st.just("delete"), st.sampled_from([*sorted(FILES)[1:], "link", "deep"]), st.just(b"")),
        st.tuples(st.just("exec"), st.sampled_from(sorted(FILES)[1:]), st.just(b"")),
        st.tuples(st.just("link"), PATHS, st.sampled_from([b"a.txt", b"/nowhere", b"\xc3\xa9"])),
    ),
    min_size=1,
    max_size=6,
)
APPLY_STEPS = """
import json, os, shutil, sys
for kind, path, data in json.loads(sys.stdin.buffer.read()):
    data = bytes.fromhex(data)
    try:
        os.makedirs(os.path.dirname(os.path.join(".", path)), exist_ok=True)
        if kind == "write":
            open(path, "wb").write(data)
        elif kind == "delete":
            shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.remove(path)
        elif kind == "exec":
            os.chmod(path, os.stat(path).st_mode ^ 0o111)
        else:
            os.symlink(data, path)
    except OSError:
        pass
"""


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example([("write", "a.txt", b"one\r\ntwo\n\r"), ("exec", "a.txt", b""), ("link", 'q"\n\t\\', b"a.txt")])
@given(STEPS)
def test_the_patch_of_any_small_change_gives_identical_bytes(
    room: Room, origin: Origin, steps: list[tuple[str, str, bytes]]
) -> None:
    async def story() -> tuple[bytes, dict[str, tuple[str, bytes]]]:
        sandbox = await room.open(origin)
        given = json.dumps([(kind, path, data.hex()) for kind, path, data in steps]).encode()
        done = await sandbox.run(Command(("python", "-c", APPLY_STEPS), stdin=given))
        assert done.returncode == 0, done.output
        result = await sandbox.diff(), await tree_in(sandbox)
        await sandbox.close()
        return result

    patch, inside = room(story())
    with applied(origin, patch) as checkout:
        assert tree_at(checkout) == inside


# isolation


def test_nothing_of_the_host_can_be_read(sh: Shell, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    places = [
        tmp_path / "secret",
        Path.home() / ".ssh",
        PROJECT / "pyproject.toml",
        PROJECT / "tasks",
        Path.home() / ".bashrc",
        *([Path(sys.prefix) / "pyvenv.cfg"] if sys.prefix != sys.base_prefix else []),
        *map(
            Path, ("/etc/shadow", "/etc/hostname", "/var", "/home", "/sys", "/run/docker.sock", "/var/run/docker.sock")
        ),
        *map(Path, ("/old", "/new", "/box", "/proc/1/root/", "/proc/1/cwd/", "/proc/1/fd/", "/proc/1/environ")),
        *map(Path, ("/dev/mem", "/dev/kmsg", "/dev/sda", "/dev/vda", "/proc/kcore", "/proc/1/mem")),
    ]
    for place in places:
        assert sh(("cat", str(place))).returncode != 0, place
        assert sh(("find", str(place), "-type", "f")).output.count(b"\n") <= 1, place
    python = Path(sys.base_prefix).resolve()
    if not python.is_relative_to(Path.home()):
        assert b"No such file" in sh(("ls", str(Path.home()))).output
    else:  # the way to the runner's Python is there, and nothing beside it
        below = python.relative_to(Path.home()).parts[0]
        assert sh(("ls", "-A", str(Path.home()))).output.decode() == f"{below}\n"
    shown = set(sh("ls -A /").output.decode().split())
    expected = {"bin", "box", "dev", "etc", "lib", "lib32", "lib64", "nix", "gnu", "old", "opt", "proc", "run", "sbin"}
    assert shown <= expected | {"testbed", "tmp", "usr", Path(sys.base_prefix).resolve().parts[1]}


def test_only_the_sandboxes_own_processes_are_seen_or_signalled(sh: Shell) -> None:
    seen = sh("cat /proc/[0-9]*/cmdline | tr '\\0' ' '").output
    assert b"pytest" not in seen
    assert int(sh("ls -d /proc/[0-9]* | wc -l").output) < 6
    assert sh(f"kill -0 {os.getpid()}").returncode != 0 or os.getpid() < 20


def test_there_is_no_network_but_the_sandboxes_own_loopback(sh: Shell) -> None:
    name = f"\0sandbox-test-{os.getpid()}"
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as local:
        local.bind(name)
        local.listen()
        script = f"""
import socket, sys
for family, address in [
    (socket.AF_INET, ("127.0.0.1", {server.getsockname()[1]})), (socket.AF_INET, ("192.0.2.1", 80)),
    (socket.AF_INET6, ("2001:db8::1", 80)), (socket.AF_UNIX, {name!r}),
]:
    try:
        with socket.socket(family) as one:
            one.settimeout(2)
            one.connect(address)
            print("reached", address)
    except OSError as error:
        print(error.strerror)
with socket.create_server(("127.0.0.1", 0)) as mine, socket.create_connection(mine.getsockname()):
    print("own", socket.gethostname())
"""
        said = sh(("python", "-c", script)).output.decode().splitlines()
    assert said == ["Connection refused", "Network is unreachable", said[2], "Connection refused", "own sandbox"]
    assert "reached" not in said[2]


def test_nothing_outside_the_repository_and_tmp_can_be_written(sh: Shell) -> None:
    for place in (
        *("/x", "/usr/x", "/bin/x", "/etc/x", "/etc/passwd", "/opt/x", "/opt/venv/bin/x", "/run/x", "/dev/x", "/old/x"),
        *("/run/base.git/x", "/run/base.git/HEAD", "/run/base.git/objects/x", "/proc/sys/kernel/hostname"),
        f"{sys.base_prefix}/x",
    ):
        assert sh(f"echo x > {place}").returncode != 0, place
    assert sh("echo x > /tmp/x && echo x > /testbed/x && echo x > /dev/null && echo x > /dev/shm/x").returncode == 0


def test_a_command_has_no_privilege_and_can_get_none(sh: Shell) -> None:
    status = dict(
        line.split(":\t", 1) for line in sh("cat /proc/self/status").output.decode().splitlines() if ":\t" in line
    )
    assert [status[name].strip("0") for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")] == [""] * 4
    assert status["NoNewPrivs"] == "1"
    assert "0" not in status["Uid"].split() + status["Gid"].split()
    for attempt in (
        *("unshare -Ur true", "unshare -m true", "unshare -n true", "mount -t tmpfs none /tmp", "umount /testbed"),
        *("mount -o remount,rw /usr", "chroot / true", "mknod /tmp/disk b 8 0", "chown root /tmp", "su -c true"),
        *("hostname other", "nice -n -5 true 2>&1 | grep denied && false", "date -s 2001-01-01", "ip link set lo down"),
    ):
        assert sh(attempt).returncode != 0, attempt


def test_python_is_the_runners_own_version_with_nothing_installed(sh: Shell) -> None:
    done = sh("python -c 'import sys, ssl, sqlite3, ctypes; print(sys.prefix, *sys.version_info[:2])'")
    assert done.output.decode().split() == ["/opt/venv", *map(str, sys.version_info[:2])]
    assert sh("python -m pip --version; python -c 'import pip'").returncode == 1
    assert sh("python -c 'import numpy'").returncode == 1
    assert sh("python -c 'import pytest'").returncode == 1
    assert sh("python -c 'import envs'; python3 -c 'import tasks'").returncode == 1


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """A folder that is not below /tmp, where sandboxes have their own."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as place:
        yield Path(place)


def test_what_is_installed_beside_this_package_is_hidden(elsewhere: Path, origin: Origin, room: Room) -> None:
    """As when all is installed into the very Python whose folder sandboxes see."""
    prefix = elsewhere / "prefix"
    beside = prefix / "lib/site-packages"
    shutil.copytree(PROJECT / "envs", beside / "envs", ignore=shutil.ignore_patterns("__pycache__"))
    (beside / "tasks").mkdir()
    (beside / "tasks/gold.patch").write_text("the solution")
    (prefix / "lib/other").write_text("to be seen")
    story = f"""
import asyncio, sys
sys.path.insert(0, {str(beside)!r})
sys.base_prefix = {str(prefix)!r}
from pathlib import Path
from envs import Command, Limits, Origin
from envs.local import HERE, LocalBackend
assert HERE.startswith(sys.base_prefix)
async def main():
    backend = LocalBackend("overlay")
    sandbox = await backend.open(Origin({origin.commit!r}, Path({str(origin.repository)!r})), Limits())
    print((await sandbox.run(Command("cat {prefix}/lib/other; find {prefix} -name gold.patch; ls {beside}"))).output)
    await backend.close()
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", story], capture_output=True, text=True, cwd="/")
    assert (done.stdout, done.stderr) == ("b'to be seen'\n", "")


def test_the_base_is_the_same_afterwards(room: Room, origin: Origin) -> None:
    assert origin.repository is not None
    before = tree_at(origin.repository), tree_at(origin.repository / ".git")

    async def story() -> None:
        sandbox = await room.open(origin)
        await sandbox.run(Command("rm -rf * .git; echo x > a.txt; git init -q; git add -A; git commit -qm x"))
        await sandbox.diff()
        await sandbox.close()

    room(story())
    assert (tree_at(origin.repository), tree_at(origin.repository / ".git")) == before


def test_two_sandboxes_of_one_repository_know_nothing_of_each_other(room: Room, origin: Origin) -> None:
    async def story() -> None:
        one, two = await room.open(origin), await room.open(origin)
        await one.run(Command("echo one > a.txt; echo one > /tmp/x; echo one > new; git commit -qam one; sleep 1000 &"))
        await two.write("a.txt", b"one\ntwo\n")
        assert not (await two.run(Command("cat new || cat /tmp/x"))).output.count(b"one\n")
        assert b"sleep" not in (await two.run(Command("cat /proc/[0-9]*/comm"))).output
        assert await one.read("a.txt") == b"one\n"
        assert (await two.run(Command("git rev-parse HEAD"))).output.decode().strip() == origin.commit
        assert b"-three\n" in await two.diff()
        assert b"+one" not in await two.diff()
        assert b"new" in await one.diff()
        await one.close()
        assert await two.read("a.txt") == b"one\ntwo\n"
        await two.close()

    room(story())


@pytest.mark.parametrize(
    "name", ["with space", "comma,here", "colon:here", "back\\slash", "ünï", "quote'\"", "a=b,upperdir=x"]
)
def test_a_repository_may_stand_at_any_path(room: Room, tmp_path: Path, name: str) -> None:
    origin = make(tmp_path / name, {"x": name.encode()})

    async def story() -> bytes:
        sandbox = await room.open(origin)
        data = await sandbox.read("x")
        await sandbox.close()
        return data

    assert room(story()) == name.encode()


# limits


def test_memory_is_limited(room: Room, origin: Origin, sh: Shell) -> None:
    done = sh(("python", "-c", "x = bytearray(4 << 30); print('got it')"))
    assert done.returncode == 1
    assert b"MemoryError" in done.output


def test_processes_are_limited_and_a_fork_bomb_stays_inside(room: Room, origin: Origin) -> None:
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
        bombed, other = await room.open(origin, Limits(processes=50)), await room.open(origin, Limits(processes=50))
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
        assert (await (await room.open(origin)).run(Command("echo fine"))).output == b"fine\n"

    room(story())


def test_the_patch_is_taken_under_a_fork_bomb(room: Room, origin: Origin) -> None:
    async def story() -> bytes:
        sandbox = await room.open(origin, Limits(processes=30))
        await sandbox.run(Command("echo kept > a.txt; b() { b | b & }; b"))
        patch = await sandbox.diff()
        await sandbox.close()
        return patch

    assert b"+kept\n" in room(story())


def test_the_disk_is_limited(room: Room, origin: Origin) -> None:
    async def story() -> None:
        sandbox = await room.open(origin, Limits(disk_mb=20))
        for place in ("/testbed/big", "/tmp/big", "/dev/shm/big"):
            done = await sandbox.run(Command(f"head -c 2000000000 /dev/zero > {place}; rm {place}"))
            assert b"No space left" in done.output or b"File size limit exceeded" in done.output
        done = await sandbox.run(Command("for i in 1 2 3 4 5; do head -c 6000000 /dev/zero > /tmp/$i; done"))
        assert b"No space left" in done.output
        assert (await sandbox.run(Command("rm /tmp/*; echo x > x; cat x"))).output == b"x\n"
        await sandbox.close()

    room(story())


# life


def test_after_closing_no_process_is_left_and_every_call_says_so(room: Room, origin: Origin) -> None:
    words = [unique() for _ in range(3)]

    async def story() -> None:
        sandbox = await room.open(origin)
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

    room(story())


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_when_the_guest_is_killed_calls_under_way_and_later_ones_are_lost(room: Room, origin: Origin) -> None:
    async def story() -> None:
        sandbox, other, word = await room.open(origin), await room.open(origin), unique()
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

    room(story())


def test_a_call_that_nobody_waits_for_any_more_disturbs_nothing(room: Room, sandbox: Sandbox) -> None:
    async def story() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await sandbox.run(Command("sleep 0.2; echo late"))
        assert (await sandbox.run(Command("sleep 0.3; echo on time"))).output == b"on time\n"

    room(story())


def test_an_opening_that_nobody_waits_for_leaves_nothing(origin: Origin) -> None:
    room = Room()

    async def story() -> None:
        await room.backend.start()
        for moment in (0.0, 0.0005, 0.001, 0.002):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(moment):
                    await (await room.open(origin)).close()
        await asyncio.sleep(0.1)
        assert not room.backend._open

    room(story())
    room.close()


def test_when_the_nursery_is_killed_its_sandboxes_are_lost_and_new_ones_can_be_opened(origin: Origin) -> None:
    room = Room("overlay")

    async def story() -> None:
        sandbox, word = await room.open(origin), unique()
        under_way = asyncio.create_task(sandbox.run(Command(("sleep", word))))
        assert await soon_in_loop(lambda: bool(processes(word)))
        os.kill(parent_of(parent_of(processes(word)[0])), signal.SIGKILL)
        with pytest.raises(SandboxLost):
            await under_way
        assert await soon_in_loop(lambda: not processes(word), 1)
        with pytest.raises(SandboxLost):
            await room.open(origin)
        again = await room.open(origin)
        assert (await again.run(Command("echo again"))).output == b"again\n"

    room(story())
    room.close()


RUNNER = """
import asyncio, sys
from pathlib import Path
from envs import Command, Limits, Origin
from envs.local import LocalBackend
async def main(isolation, commit, repository, word):
    backend = LocalBackend(isolation)
    rooms = [await backend.open(Origin(commit, Path(repository)), Limits()) for _ in range(5)]
    for room in rooms:
        await room.write("written", b"x" * 1000)
        await room.run(Command(f"setsid sleep {word} >/dev/null 2>&1 &"))
    running = [asyncio.create_task(room.run(Command(("sleep", word)))) for room in rooms]
    running.append(asyncio.create_task(rooms[0].run(Command(f"trap '' TERM HUP INT; sleep {word}; sleep {word}"))))
    await asyncio.sleep(0.1)
    print("ready", flush=True)
    await asyncio.gather(*running)
asyncio.run(main(*sys.argv[1:]))
"""


def mounts() -> set[str]:
    return {line for line in Path("/proc/self/mounts").read_text().splitlines() if "docker" not in line}


@pytest.mark.parametrize("isolation", ["overlay", "copy", "none"])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_when_the_runner_is_killed_nothing_of_its_sandboxes_is_left(
    room: Room, origin: Origin, tmp_path: Path, isolation: str, how: signal.Signals
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
        assert soon(lambda: len(processes(word)) >= 12)
        if isolation == "none":
            assert len(list(tmp_path.iterdir())) == 5
        runner.send_signal(how)
        assert soon(lambda: not processes(word), 2)
    assert soon(lambda: not list(tmp_path.iterdir()), 2)
    assert mounts() <= before
    assert soon(lambda: not processes(str(origin.repository)), 2)


def test_opening_and_closing_two_hundred_times_leaks_nothing(origin: Origin) -> None:
    room = Room("overlay")

    def held() -> int:
        return len(os.listdir("/proc/self/fd"))

    async def story() -> None:
        await (await room.open(origin)).close()
        await asyncio.sleep(0.05)
        before, nursery = held(), room.backend._nursery
        assert nursery is not None
        (inner,) = map(int, Path(f"/proc/{nursery.pid}/task/{nursery.pid}/children").read_text().split())
        inner_before = len(os.listdir(f"/proc/{inner}/fd"))
        for _ in range(200):
            sandbox = await room.open(origin)
            await sandbox.close()
        await (await room.open(origin)).close()
        await asyncio.sleep(0.2)
        assert held() == before
        assert len(os.listdir(f"/proc/{inner}/fd")) == inner_before
        # Those that have ended are collected with the next opening, so few are there at any time.
        assert len(Path(f"/proc/{inner}/task/{inner}/children").read_text().split()) < 20

    room(story())
    room.close()


def test_fifty_sandboxes_work_at_once(room: Room, origin: Origin) -> None:
    async def one(number: int) -> bool:
        sandbox = await room.open(origin)
        await sandbox.run(Command(f"echo {number} > a.txt"))
        await asyncio.sleep(0)
        return f"+{number}\n".encode() in await sandbox.diff()

    async def story() -> None:
        assert all(await asyncio.gather(*[one(number) for number in range(50)]))
        for channel in list(room.backend._open):
            channel.abandon("test over")

    room(story())


def test_a_hundred_and_twenty_may_be_opened_in_one_moment(origin: Origin) -> None:
    room = Room("overlay")

    async def story() -> None:
        sandboxes = await asyncio.gather(*[room.open(origin) for _ in range(120)])
        done = await asyncio.gather(*[sandbox.run(Command(("echo", "x"))) for sandbox in sandboxes])
        assert all(one.output == b"x\n" for one in done)

    room(story())
    room.close()


# what can go wrong at the start


def test_an_origin_without_a_repository_is_refused_with_a_remedy(room: Room) -> None:
    with pytest.raises(SandboxUnavailable, match="--sandbox docker"):
        room(room.open(Origin("0" * 40, image="some/image")))


def test_a_repository_that_is_not_there_is_told_with_its_cause(room: Room, origin: Origin, tmp_path: Path) -> None:
    with pytest.raises(SandboxLost, match="No such file or directory"):
        room(room.open(Origin(origin.commit, tmp_path / "missing")))
    assert room(tree_in(room(room.open(origin))))


def test_an_isolation_of_another_name_is_refused() -> None:
    with pytest.raises(SandboxUnavailable, match="choose overlay, copy or none"):
        Room("docker")


# the other kinds of isolation


@pytest.fixture(scope="module", params=["copy", "none"])
def lesser(request: pytest.FixtureRequest, room: Room) -> Iterator[Room]:
    lesser = Room(request.param)
    yield lesser
    lesser.close()


def test_every_kind_of_isolation_does_the_basic_things(lesser: Room, origin: Origin) -> None:
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
        await sandbox.close()
        assert await soon_in_loop(lambda: not processes(word), 2)
        with pytest.raises(SandboxLost):
            await sandbox.run(Command("true"))
        again = await lesser.open(origin)
        assert await again.read("a.txt") == FILES["a.txt"]
        await again.close()

    lesser(story())


def test_a_copy_is_as_isolated_as_an_overlay(origin: Origin, room: Room, tmp_path: Path) -> None:
    copy = Room("copy")

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
        assert (await sandbox.run(Command("ls -d /proc/[0-9]* | wc -l"))).output.strip() in (b"4", b"5")

    copy(story())
    copy.close()


def test_without_isolation_the_warning_is_loud_and_the_copy_goes_with_the_sandbox(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    room = Room("none")

    async def story() -> None:
        sandbox = await room.open(origin)
        assert room.backend.isolation == "none"
        assert room.backend.warning.startswith("NO ISOLATION")
        assert "--sandbox docker" in room.backend.warning
        workdir = (await sandbox.run(Command("pwd"))).output.decode().strip()
        assert Path(workdir).is_relative_to(tmp_path)
        await sandbox.run(Command("mkdir -p shut/in; echo x > shut/in/x; chmod 0 shut/in shut; ln -s / root"))
        await sandbox.close()
        assert await soon_in_loop(lambda: not any(tmp_path.iterdir()), 2)

    room(story())
    room.close()
    assert origin.repository is not None
    assert (origin.repository / "a.txt").read_bytes() == FILES["a.txt"]


def test_without_isolation_a_time_out_touches_no_other_sandbox(origin: Origin) -> None:
    room = Room("none")

    async def story() -> None:
        one, two = await room.open(origin), await room.open(origin)
        late, spared = await asyncio.gather(
            one.run(Command("sleep 100", timeout=0.3)), two.run(Command("sleep 0.8; echo spared"))
        )
        assert late.timed_out
        assert spared.output == b"spared\n"

    room(story())
    room.close()


def test_where_no_namespace_can_be_made_it_falls_back_with_the_reason(
    origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(self: LocalBackend, kind: str) -> str:
        return f"{kind} is refused here"

    monkeypatch.setattr(LocalBackend, "_hatch", refused)
    room = Room()
    room(room.backend.start())
    assert room.backend.isolation == "none"
    assert "overlay is refused here" in room.backend.warning
    assert "copy is refused here" in room.backend.warning
    room.close()
    room = Room("overlay")
    with pytest.raises(SandboxUnavailable, match="overlay is refused here"):
        room(room.backend.start())
    room.close()


# without privileges

ORDINARY = 65_123  # a user that owns nothing here
ORDINARY_STORY = """
import asyncio, os, sys
from pathlib import Path
from envs import Command, Limits, Origin
from envs.local import LocalBackend, adopt
async def main(isolation, commit, repository):
    assert os.getuid() != 0
    adopt(Path(repository))
    backend = LocalBackend(isolation)
    await backend.start()
    sandbox = await backend.open(Origin(commit, Path(repository)), Limits(processes=50))
    assert await sandbox.diff() == b""
    done = await sandbox.run(Command("id -u; cat a.txt; echo x > new; rm crlf.txt; chmod -x run.sh; git status -s"))
    assert done.output == b"1000\\none\\ntwo\\nthree\\n D crlf.txt\\n M run.sh\\n?? new\\n", done
    await sandbox.write("deep/er/module.py", b"x = 2\\n")
    patch = await sandbox.diff()
    assert patch.count(b"diff --git") == 4, patch
    home = os.environ["HOME"]
    for script in (f"ls {home}", "ls /home /root", "echo x > /usr/x", "unshare -Ur true", "echo > /run/base.git/x"):
        assert (await sandbox.run(Command(script))).returncode, script
    done = await sandbox.run(Command(("python", "-c", "bytearray(4 << 30)")))
    assert b"MemoryError" in done.output, done
    caps = (await sandbox.run(Command("grep CapEff /proc/self/status"))).output
    assert caps.split()[1].strip(b"0") == b"", caps
    assert not Path(repository, "new").exists()
    others = await asyncio.gather(*[backend.open(Origin(commit, Path(repository)), Limits()) for _ in range(20)])
    await asyncio.gather(*[other.run(Command("echo x > a.txt")) for other in others])
    await backend.close()
    print("fine", backend.isolation)
asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("isolation", ["overlay", "copy"])
def test_an_ordinary_user_has_the_same(isolation: str) -> None:
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o755)
        home = Path(place) / "home"
        home.mkdir()
        origin = make(Path(place) / "repository", FILES)
        assert origin.repository is not None
        python = sys.executable
        who: dict[str, Any] = {}
        if os.geteuid() == 0:
            for path in (home, origin.repository, *origin.repository.rglob("*")):
                os.lchown(str(path), ORDINARY, ORDINARY)
            shutil.copytree(PROJECT / "envs", Path(place) / "envs", ignore=shutil.ignore_patterns("__pycache__"))
            who = {"user": ORDINARY, "group": ORDINARY}
            candidates = (sys.executable, *map(shutil.which, ("python3", "/usr/local/bin/python3", "/usr/bin/python3")))
            probe = "import sys, asyncio; sys.exit(sys.version_info < (3, 11))"

            def works(candidate: str) -> bool:
                try:
                    return not subprocess.run(
                        [candidate, "-c", probe], cwd="/", extra_groups=[], capture_output=True, **who
                    ).returncode
                except PermissionError:
                    return False

            python = next((candidate for candidate in candidates if candidate and works(candidate)), "")
            if not python:
                pytest.skip("no Python 3.11 that an ordinary user can run")
        done = subprocess.run(
            [python, "-W", "error", "-c", ORDINARY_STORY, isolation, origin.commit, str(origin.repository)],
            cwd=place if os.geteuid() == 0 else PROJECT,
            env={"HOME": str(home), "PATH": os.defpath, "TMPDIR": place},
            extra_groups=[] if who else None,
            capture_output=True,
            text=True,
            **who,
        )
        if "cannot be made here" in done.stderr:
            pytest.skip(done.stderr.strip().splitlines()[-1])
        assert (done.stdout, done.stderr) == (f"fine {isolation}\n", "")


@pytest.mark.skipif(os.geteuid() != 0, reason="the kernel grants redirects in an overlay to root alone")
def test_a_folder_of_the_base_can_be_renamed_in_one_step(
    room: Room, sandbox: Sandbox, sh: Callable[..., Completed]
) -> None:
    assert sh('python -c \'import os; os.rename("deep", "shallow")\' && ls shallow/er').output == b"module.py\n"
    assert b"diff --git a/shallow/er/module.py b/shallow/er/module.py" in room(sandbox.diff())
