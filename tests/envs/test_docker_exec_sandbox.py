"""A sandbox in an image without Python, on a real engine, with images made of this machine's programs."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import shutil
import uuid
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import docker
import pytest
from docker.errors import DockerException

from envs import Command, Completed, FileProblem, Limits, Patch, SandboxError, SandboxLost, SandboxUnavailable, Snapshot
from envs.channel import Channel
from envs.diff import PatchSpec
from envs.docker.engine import Engine
from envs.docker.exec_sandbox import ExecSandbox
from tests.envs.support.docker_image import (
    FILES,
    alive,
    careless,
    connected,
    make_repository,
    pack,
    parts,
    soon,
    unique,
)

T = TypeVar("T")

LABEL = "coding-monkeys-test-bare-images"
MINE = f"{LABEL}={uuid.uuid4().hex[:12]}"  # what the containers of this test run carry
FULL = ["sh", "cat", "env", "find", "git", "grep", "head", "ln", "ls", "mkdir", "mkfifo", "mktemp", "rm", "seq"]
FULL += ["setsid", "stat", "truncate"]
SMALL = [
    "cat",
    "env",
    "find",
    "grep",
    "head",
    "ln",
    "ls",
    "mkdir",
    "mkfifo",
    "mktemp",
    "rm",
    "seq",
    "setsid",
    "sh",
    "sleep",
    "stat",
]


# the images, which hold no Python


def own_programs() -> dict[str, str]:
    return parts([*FULL, "sleep"], False)


def busybox() -> dict[str, str]:
    program = shutil.which("busybox")
    if program is None:
        pytest.skip("no busybox on this machine")
    needed = {path: path for path in parts(["busybox"], False) if ".so" in path}  # should it be linked to libraries
    return needed | {f"/bin/{name}": program for name in SMALL}


@pytest.fixture(scope="module")
def client() -> Iterator[docker.DockerClient]:
    with careless():
        client = connected()
    if isinstance(client, str):
        pytest.skip(f"no Docker engine answers here: {client}")
    yield client
    for container in client.api.containers(all=True, filters={"label": MINE}):
        with contextlib.suppress(DockerException):
            client.api.remove_container(container["Id"], force=True)
    for image in client.api.images(filters={"label": MINE}):
        with contextlib.suppress(DockerException):
            client.api.remove_image(image["Id"], force=True)
    client.close()


def made(client: docker.DockerClient, kind: str, files: dict[str, str], folder: Path) -> tuple[str, str]:
    """The image of this kind, and the commit that its repository is at."""
    commit = make_repository(folder)
    name, tag = f"coding-monkeys-test-without-{kind}", uuid.uuid4().hex[:12]
    client.api.import_image_from_data(pack(files, folder), repository=name, tag=tag, changes=[f"LABEL {MINE}"])
    return f"{name}:{tag}", commit


# sandboxes without a guest


class ExecHarness:
    """An engine, an image and the event loop that both live in."""

    def __init__(self, image: str, commit: str) -> None:
        self.image, self.commit = image, commit
        self.loop = asyncio.Runner()
        self.channels: list[Channel] = []
        self.engine = Engine()
        self(self.engine.connect())

    def __call__(self, story: Coroutine[Any, Any, T]) -> T:
        return self.loop.run(story)

    async def open(self, limits: Limits | None = None, **more: Any) -> ExecSandbox:
        sandbox, self.last = await self.open_with(limits or Limits(), **more)
        return sandbox

    async def open_with(self, limits: Limits, **more: Any) -> tuple[ExecSandbox, str]:
        api = self.engine.api
        host = api.create_host_config(
            auto_remove=True, network_mode="none", cap_drop=["ALL"], pids_limit=limits.processes
        )
        label, _, value = MINE.partition("=")
        settings = {"stdin_open": True, "stop_signal": "SIGKILL", "labels": {label: value}, "host_config": host}
        command = ["/bin/sh", "-c", "exec cat >/dev/null"]
        container = (await self.engine.call(api.create_container, self.image, command, **settings))["Id"]
        channel = Channel("bare", limits)
        self.channels.append(channel)
        await self.engine.attach(container, channel)
        await self.engine.call(api.start, container)

        async def snapshot() -> Snapshot:
            raise SandboxError("the test takes none")

        patch = PatchSpec("/testbed/.git", self.commit, 60.0)
        rest = {"workdir": "/testbed", "env": {"FROM_ORIGIN": "yes"}, "patch": patch, "snapshot": snapshot, **more}
        return await ExecSandbox.open(channel, self.engine, container, limits=limits, **rest), container

    async def _close(self) -> None:
        for channel in self.channels:
            channel.abandon("the tests are over")
            await channel.closed
        await self.engine.close()

    def close(self) -> None:
        self(self._close())
        self.loop.close()


@pytest.fixture(scope="module")
def own(client: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ExecHarness]:
    """With this machine's own shell and programs, for what does not depend on them."""
    harness = ExecHarness(*made(client, "own", own_programs(), tmp_path_factory.mktemp("image") / "testbed"))
    yield harness
    harness.close()


@pytest.fixture(scope="module", params=["own", "busybox"])
def harness(
    request: pytest.FixtureRequest,
    client: docker.DockerClient,
    own: ExecHarness,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[ExecHarness]:
    if request.param == "own":
        yield own
        return
    harness = ExecHarness(*made(client, request.param, busybox(), tmp_path_factory.mktemp("image") / "testbed"))
    yield harness
    harness.close()


@pytest.fixture(scope="module")
def sandbox(harness: ExecHarness) -> ExecSandbox:
    """One for all tests that leave no trace in it."""
    return harness(harness.open())


Shell = Callable[..., Completed]


@pytest.fixture(scope="module")
def sh(harness: ExecHarness, sandbox: ExecSandbox) -> Shell:
    def run(script: str | tuple[str, ...], **more: Any) -> Completed:
        return harness(sandbox.run(Command(script, **more)))

    return run


# commands


def test_commands_run_with_input_environment_and_status(sh: Shell) -> None:
    done = sh("pwd; echo $MINE $FROM_ORIGIN; cat; echo err >&2; exit 3", stdin=b"\xff\r\n", env={"MINE": "grün"})
    assert (done.returncode, done.dropped, done.timed_out) == (3, 0, False)
    assert done.output == "/testbed\ngrün yes\n".encode() + b"\xff\r\nerr\n"
    assert sh(("sh", "-c", 'echo "$1"; ls /proc/self/fd', "sh", "a b $HOME")).output == b"a b $HOME\n0\n1\n2\n3\n"
    assert sh("kill -9 $$").returncode == -9
    assert sh("exec sleep 0").returncode == 0
    assert sh("no-such-command").returncode == 127
    assert sh(("no-such-command",)).returncode == 127
    assert sh("pwd; cat", cwd="p").output == b"/testbed/p\n"
    assert sh("kill -9 0").returncode == -9  # what wraps it goes with it
    assert sh("printf 'a\\0b\\377'").output == b"a\0b\xff"
    assert sh("exec >&- 2>&-; sleep 0.1; exit 4").returncode == 4
    assert sh("echo said", stdin=b"x" * 1_000_000).output == b"said\n"


def test_without_a_network_package_managers_try_once(harness: ExecHarness, sh: Shell) -> None:
    script = "echo ${PIP_RETRIES-unset}"
    assert sh(script).output == b"0\n"
    assert sh(script, env={"PIP_RETRIES": "4"}).output == b"4\n"

    async def with_network() -> bytes:
        sandbox, _ = await harness.open_with(Limits(network="host"))
        try:
            return (await sandbox.run(Command(script))).output
        finally:
            await sandbox.close()

    assert harness(with_network()) == b"unset\n"


def test_what_cannot_be_run_is_answered_as_by_a_guest(sh: Shell) -> None:
    for command, said in {
        ("pwd", "nowhere"): "/testbed/nowhere: No such file or directory\n",
        ("pwd", "a.txt"): "/testbed/a.txt: Not a directory\n",
        ("echo \0", None): "embedded null byte\n",
        ("echo \udcff", None): "'echo \\udcff' is not UTF-8, which an image without Python needs\n",
        ((), None): "there is nothing to run\n",
    }.items():
        done = sh(command[0], cwd=command[1])
        assert (done.returncode, done.output.decode()) == (127, said)


def test_a_late_command_is_ended_with_its_children_and_others_go_on(harness: ExecHarness, sandbox: ExecSandbox) -> None:
    words = [unique() for _ in range(3)]
    late = f"setsid sleep {words[0]} & env -i /bin/setsid /bin/sleep {words[1]} & trap '' TERM HUP; sleep {words[2]}"

    async def story() -> tuple[Completed, Completed]:
        return await asyncio.gather(
            sandbox.run(Command(f"echo said; {late}; sleep 9", timeout=0.5)),
            sandbox.run(Command("sleep 1.5; echo spared")),
        )

    ended, spared = harness(story())
    assert (ended.returncode, ended.timed_out, ended.output) == (-9, True, b"said\n")
    assert (spared.returncode, spared.output) == (0, b"spared\n")
    assert not any(map(alive, words))


def test_a_daemon_that_holds_the_output_holds_up_nothing(sh: Shell) -> None:
    word = unique()
    done = sh(f"(while sleep 0.01; do echo more; done) & setsid sleep {word} & echo said; exit 2")
    assert done.returncode == 2
    assert b"said\n" in done.output
    assert done.seconds < 5
    assert soon(lambda: alive(word))


def test_quiet_ends_every_process_and_nothing_else(harness: ExecHarness, sandbox: ExecSandbox, sh: Shell) -> None:
    word = unique()
    sh(f"echo kept > /tmp/kept; setsid env -i sleep {word} >/dev/null 2>&1 & sleep {word} &")
    assert soon(lambda: alive(word))
    harness(sandbox.quiet())
    assert soon(lambda: not alive(word))
    assert sh("cat /tmp/kept").output == b"kept\n"


def test_much_output_is_capped_and_large_output_arrives_whole(sh: Shell) -> None:
    done = sh("head -c 20000000 /dev/zero; echo end")
    assert len(done.output) < 70_000
    assert done.dropped == 20_000_004 - 65_536
    assert done.output.endswith(b"\0end\n")
    data = random.Random(2).randbytes(3_000_000)
    assert sh("cat", stdin=data, output_cap=4_000_000).output == data


def test_scripts_of_a_session_follow_each_other_as_in_one_shell(sh: Shell) -> None:
    value = "grün = 'x'\n\"$HOME\"\\"

    def one(script: str | tuple[str, ...], **more: Any) -> tuple[int, bytes]:
        done = sh(script, session="one", **more)
        return done.returncode, done.output

    assert one("cd p; export MINE=1; hidden=1; unset FROM_ORIGIN HOME; exit 3") == (3, b"")
    assert one("echo $PWD $MINE $FROM_ORIGIN $HOME $hidden") == (0, b"/testbed/p 1\n")
    assert one("pwd", cwd="..", env={"MINE": value}) == (0, b"/testbed\n")
    assert one('printf %s "$MINE"; cd /tmp; false') == (1, value.encode())
    assert one(("/bin/sh", "-c", "pwd; cd /")) == (0, b"/tmp\n")
    for script, status in {"exec sleep 0": 0, "kill -9 $$": -9, "trap 'echo' EXIT": 0}.items():
        assert one(f"cd /; {script}", env={"MINE": "other"})[0] == status
    assert one("sleep 9", cwd="/", timeout=0.3)[0] == -9
    assert one('pwd; printf %s "$MINE"') == (0, b"/tmp\n" + value.encode())
    assert one("ls /proc/self/fd") == (0, b"0\n1\n2\n3\n")
    assert sh("pwd; echo $FROM_ORIGIN").output == b"/testbed\nyes\n"
    assert one("mkdir gone; cd gone; rm -r ../gone")[0] == 0
    assert one("pwd") == (127, b"/tmp/gone: No such file or directory\n")
    assert one("pwd", cwd="/testbed") == (0, b"/testbed\n")


# files


def test_files_are_written_and_read_as_bytes(harness: ExecHarness, sandbox: ExecSandbox, sh: Shell) -> None:
    data = random.Random(3).randbytes(2_000_000) + b"\r\n\0"
    harness(sandbox.write("/tmp/new/deep/ü 'x'", data))
    assert harness(sandbox.read("/tmp/new/deep/ü 'x'")) == data
    assert harness(sandbox.read("a.txt")) == FILES["a.txt"]
    sh("ln -s new/deep /tmp/link; ln -s '../../tmp/new/deep/ü '\\''x'\\' /tmp/new/to; mkfifo /tmp/new/pipe")
    harness(sandbox.write("/tmp/link/other", b"through"))
    assert sh("cat /tmp/new/deep/other").output == b"through"
    harness(sandbox.write("/tmp/new/to", b"short"))
    assert harness(sandbox.read("/tmp/link/ü 'x'")) == b"short"
    harness(sandbox.write("p/run.sh", b"#!/bin/sh\necho runs\n"))
    assert sh(("./p/run.sh",)).output == b"runs\n"  # its mode is kept
    harness(sandbox.write("p/run.sh", FILES["p/run.sh"]))
    reading = {
        "missing": "/testbed/missing: No such file or directory",
        "p": "/testbed/p: is a directory",
        "/tmp/new/pipe": "/tmp/new/pipe: is not a regular file",
        "a\0b": "embedded null byte",
    }
    for path, words in reading.items():
        with pytest.raises(FileProblem) as caught:
            harness(sandbox.read(path))
        assert words in str(caught.value)
    for path, words in {"p": "/testbed/p: is a directory", "a.txt/b": "/testbed/a.txt/b: Not a directory"}.items():
        with pytest.raises(FileProblem) as caught:
            harness(sandbox.write(path, b""))
        assert str(caught.value) == words
    sh("ln -s new/later /tmp/dangling")
    harness(sandbox.write("/tmp/dangling", b"made"))
    assert sh("cat /tmp/new/later; rm -r /tmp/new /tmp/link /tmp/dangling").output == b"made"


def test_the_patch_holds_what_changed_or_says_that_it_needs_git(harness: ExecHarness, sandbox: ExecSandbox) -> None:
    async def story() -> bytes:
        sandbox = await harness.open()
        try:
            await sandbox.write("a.txt", b"one\nand more\n")
            await sandbox.run(Command("rm crlf.txt; (sleep 100 &) > /dev/null 2>&1"))
            patch = await sandbox.peek()
            assert (await sandbox.run(Command("grep -q sleep /proc/[0-9]*/comm"))).returncode == 0, "it still runs"
            assert patch == await sandbox.diff()
            return patch
        finally:
            await sandbox.close()

    if harness(sandbox.run(Command("command -v git"))).returncode:
        with pytest.raises(SandboxError, match="the image holds no git"):
            harness(story())
    else:
        patch = harness(story())
        assert b"+and more\n" in patch
        assert b"deleted file mode 100644" in patch
        assert harness(sandbox.diff()) == b""


def test_repositories_inside_and_large_files_are_found_where_there_is_a_program_to_find_them(own: ExecHarness) -> None:
    script = """
        mkdir -p n/m; cd n; git init -q; echo x > f; git add f; git -c user.name=a -c user.email=a@b commit -qm x
        rm .git/config; mkfifo .git/config
        cd m; git init -q; echo x > f; cd ../..
        truncate -s 40M large; echo x > 'two words'
    """

    async def story(script: str) -> tuple[list[bytes], tuple[str, ...]]:
        sandbox = await own.open()
        await sandbox.run(Command(script))
        patch = await sandbox.diff()
        await sandbox.close()
        assert isinstance(patch, Patch)
        return re.findall(rb"^diff --git a/(.+) b/\1$", patch, re.M), patch.left_out

    assert own(story(script)) == ([b"n/f", b"n/m/f", b"two words"], ("large (40 MB)",))
    without = "rm -rf /bin/find n/.git/config large"
    assert own(story(f"{script}{without}")) == ([b"n", b"two words"], ("the files of n (a repository of its own)",))


# life


def test_after_closing_the_container_is_gone_and_calls_are_lost(client: docker.DockerClient, own: ExecHarness) -> None:
    async def story() -> str:
        sandbox, word = await own.open(), unique()
        under_way = asyncio.create_task(sandbox.run(Command(f"trap '' TERM; sleep {word}; sleep {word}")))
        assert await asyncio.to_thread(soon, lambda: alive(word), 9)
        await sandbox.close()
        await sandbox.close()
        with pytest.raises(SandboxLost, match="closed"):
            await under_way
        for call in (sandbox.run(Command("true")), sandbox.read("a.txt"), sandbox.write("a", b""), sandbox.diff()):
            with pytest.raises(SandboxLost, match="closed"):
                await call
        return word

    word = own(story())
    assert soon(lambda: not alive(word), 5)
    assert soon(lambda: own.last not in [found["Id"] for found in client.api.containers(all=True)], 5)


def test_when_the_container_is_killed_a_command_under_way_is_lost(
    client: docker.DockerClient, own: ExecHarness
) -> None:
    async def story() -> None:
        sandbox, word = await own.open(), unique()
        under_way = asyncio.create_task(sandbox.run(Command(f"sleep {word}")))
        assert await asyncio.to_thread(soon, lambda: alive(word), 9)
        await asyncio.to_thread(client.api.kill, own.last)
        with pytest.raises(SandboxLost, match="sampled again"):
            await under_way
        with pytest.raises(SandboxLost):
            await sandbox.read("a.txt")

    own(story())


def test_when_its_lifetime_is_over_it_is_lost_and_says_why(own: ExecHarness) -> None:
    async def story() -> None:
        sandbox = await own.open(Limits(lifetime_seconds=2.0))
        with pytest.raises(SandboxLost, match="its lifetime of 2 s is over"):
            await sandbox.run(Command("sleep 20"))

    own(story())


def test_a_container_without_a_shell_is_refused(own: ExecHarness) -> None:
    async def story() -> None:
        sandbox = await own.open()
        await sandbox.run(Command(("rm", "/bin/sh")))
        more: dict[str, Any] = {"workdir": "/", "env": {}, "patch": None, "snapshot": sandbox.snapshot}
        with pytest.raises(SandboxUnavailable, match="cannot run a shell and cat in its container"):
            await ExecSandbox.open(sandbox._channel, own.engine, own.last, limits=Limits(), **more)

    own(story())
