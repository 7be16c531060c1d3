"""The guest alone, over pipes as in the Docker back end, on every Python of this machine."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from envs import Command, Limits, SandboxLost
from envs.channel import Channel
from envs.docker.containers import START_GUEST
from envs.guest import Capture
from envs.guest_source import guest_source

HEAD = struct.Struct(">II")
VERSIONS = [(3, minor) for minor in range(6, 14)]


def interpreter(version: tuple[int, int]) -> str | None:
    """A Python of this version on this machine: pyenv's, the system's or our own."""
    name = "python{}.{}".format(*version)
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    there = [
        *sorted(pyenv.glob("{}.{}.*/bin/{}".format(*version, name))),
        *(Path(folder) / name for folder in ("/usr/local/bin", "/usr/bin")),
        *([Path(sys.executable)] if sys.version_info[:2] == version else []),
    ]
    return next((str(path) for path in there if os.access(path, os.X_OK)), None)


class Guest:
    """A guest process and the host's end of its stream; `settings` are what `main` takes, `before` starts it."""

    def __init__(self, python: str, *settings: Any, before: tuple[str, ...] = ()) -> None:
        self.process = subprocess.Popen(
            [*before, python, "-E", "-s", "-S", "-c", guest_source(START_GUEST), repr(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={"PATH": os.defpath, "LC_ALL": "C"},
            start_new_session=True,
        )
        self.sent = 0
        self.answers: dict[int, tuple[dict[str, Any], bytes]] = {}

    def frame(self, body: bytes = b"", **header: Any) -> bytes:
        self.sent += 1
        text = json.dumps({"id": self.sent, **header}).encode()
        return HEAD.pack(len(text), len(body)) + text + body

    def write(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def take(self) -> int:
        """Wait for the next answer, whichever it is."""
        assert self.process.stdout is not None
        header, body = HEAD.unpack(self.process.stdout.read(HEAD.size))
        answer = json.loads(self.process.stdout.read(header))
        number: int = answer.pop("id")
        self.answers[number] = answer, self.process.stdout.read(body)
        return number

    def answer(self, number: int) -> tuple[dict[str, Any], bytes]:
        while number not in self.answers:
            self.take()
        return self.answers.pop(number)

    def call(self, op: str, body: bytes = b"", **header: Any) -> tuple[dict[str, Any], bytes]:
        self.write(self.frame(body, op=op, **header))
        return self.answer(self.sent)

    def run(self, run: str | list[str], stdin: bytes = b"", **more: Any) -> tuple[dict[str, Any], bytes]:
        settings = {"cwd": None, "env": {}, "timeout": 20.0, "cap": 1 << 20, **more}
        return self.call("run", stdin, run=run, **settings)

    def close(self) -> int:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        status = self.process.wait(5)
        self.process.stdout.close()
        return status


@pytest.fixture(params=VERSIONS, ids=["{}.{}".format(*version) for version in VERSIONS])
def guest(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Guest]:
    python = interpreter(request.param)
    if python is None:
        pytest.skip("no Python {}.{} on this machine".format(*request.param))
    yield from serving(Guest(python, str(tmp_path), {"GIVEN": "to all"}))


@pytest.fixture
def ours(tmp_path: Path) -> Iterator[Guest]:
    """One on the Python that runs the tests, for what does not depend on it."""
    yield from serving(Guest(sys.executable, str(tmp_path), {}))


def serving(guest: Guest) -> Iterator[Guest]:
    assert guest.answer(0) == ({"ok": True}, b"")
    yield guest
    if guest.process.poll() is None:
        guest.close()


IN_NAMESPACE = ("unshare", "--user", "--map-root-user", "--mount", "/bin/sh", "-c")


def namespaces() -> None:
    """Skip the test where mounts of its own cannot be had."""
    try:
        done = subprocess.run([*IN_NAMESPACE, "mount -t tmpfs none /tmp"], capture_output=True, text=True)
        problem = done.stderr.strip() if done.returncode else ""
    except OSError as error:
        problem = str(error)
    if problem:
        pytest.skip(f"no mount namespace of its own here: {problem}")


@pytest.fixture(params=["dash", "bash", "busybox"])
def in_shell(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Guest]:
    """One whose /bin/sh is this shell."""
    shell = shutil.which(request.param)
    if shell is None:
        pytest.skip(f"no {request.param} on this machine")
    namespaces()
    script = 'mount --bind "$1" "$(readlink -f /bin/sh)" && shift && exec "$@"'
    yield from serving(Guest(sys.executable, str(tmp_path), {}, before=(*IN_NAMESPACE, script, "sh", shell)))


def gone(word: str, seconds: float = 2.0) -> bool:
    deadline = time.monotonic() + seconds
    while alive(word):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def unique() -> str:
    return f"1000.{random.SystemRandom().randrange(10**12):012d}"


def alive(word: str) -> bool:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if word.encode() in path.read_bytes().split(b"\0"):
                return True
        except OSError:
            pass
    return False


def test_it_runs_commands_and_moves_files_on_every_python(guest: Guest, tmp_path: Path) -> None:
    # commands
    answer, output = guest.run("echo $GIVEN $MINE; cat; exit 3", b"\xff\r\n", env={"MINE": "grün"})
    assert output == "to all grün\n".encode() + b"\xff\r\n"
    assert (answer["rc"], answer["late"], answer["dropped"]) == (3, False, 0)
    assert guest.run(["printf", "%s", "ü 'x'"])[1] == "ü 'x'".encode()
    assert guest.run("kill -9 $$")[0]["rc"] == -9
    assert guest.run(["no-such-command"])[0]["rc"] == 127
    assert guest.run("seq 1 1000", cap=10)[1] == b"1\n2\n3" + b"\n[3883 bytes dropped here]\n" + b"1000\n"
    # files, with a name that the C locale cannot write
    data = random.Random(1).randbytes(300_000)
    assert guest.call("write", data, path="földer/日本") == ({"ok": True}, b"")
    assert (tmp_path / "földer/日本").read_bytes() == data
    assert guest.call("read", path="földer/日本") == ({"ok": True}, data)
    assert guest.run("pwd", cwd="földer")[1].decode() == f"{tmp_path}/földer\n"
    # what is wrong
    assert guest.call("read", path="日")[0]["error"] == f"{tmp_path}/日: No such file or directory"
    assert guest.call("read", path="földer")[0]["error"] == f"{tmp_path}/földer: is a directory"
    assert guest.call("read", path="a\0b")[0]["error"]
    assert guest.run("echo \0")[0]["rc"] == 127
    assert guest.run([])[0]["rc"] == 127
    os.mkfifo(tmp_path / "pipe")
    assert "not a regular file" in guest.call("read", path="pipe")[0]["error"]
    assert guest.close() == 0


def test_several_commands_run_at_a_time_and_a_late_one_is_ended_with_its_children(guest: Guest) -> None:
    words = [unique() for _ in range(3)]
    late = f"setsid sleep {words[0]} & env -i setsid sleep {words[1]} & trap '' TERM HUP; sleep {words[2]}; sleep 9"
    common: dict[str, Any] = {"cwd": None, "env": {}, "cap": 1000}
    frames = guest.frame(op="run", run=late, timeout=0.2, **common)
    frames += guest.frame(op="run", run="sleep 0.5; echo spared", timeout=9, **common)
    frames += guest.frame(op="run", run="echo quick", timeout=9, **common)
    guest.write(frames)
    assert [guest.take() for _ in range(3)] == [3, 1, 2]
    assert guest.answer(3)[1] == b"quick\n"
    assert guest.answer(2)[1] == b"spared\n"
    answer, _ = guest.answer(1)
    assert (answer["rc"], answer["late"]) == (-9, True)
    assert not any(map(alive, words))


def test_a_daemon_holds_up_nothing_and_quiet_ends_it(guest: Guest) -> None:
    word = unique()
    answer, output = guest.run(f"setsid sleep {word} & echo said; exec >&-; exit 2")
    assert (answer["rc"], output) == (2, b"said\n")
    assert answer["s"] < 3
    assert guest.run("echo next")[1] == b"next\n"
    assert guest.call("quiet")[0] == {"ok": True}
    assert gone(word)


def test_quiet_ends_a_daemon_that_turns_into_other_programs(ours: Guest, tmp_path: Path) -> None:
    """While it does, its environment reads as empty."""
    (tmp_path / "again.sh").write_text("exec /bin/sh ./again.sh\n")
    for _ in range(20):
        daemon = ours.run("setsid /bin/sh ./again.sh >/dev/null & echo $!; sleep .01")[1].decode().strip()
        assert ours.call("quiet")[0] == {"ok": True}
        assert ended(daemon)


def ended(pid: str, seconds: float = 2.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX":
                return True
        except OSError:
            return True
        time.sleep(0.01)
    return False


def test_frames_may_come_in_pieces_of_any_size(guest: Guest) -> None:
    frames = guest.frame(b"12345", op="write", path="x") + guest.frame(op="read", path="x")
    for start in range(0, len(frames), 7):
        guest.write(frames[start : start + 7])
    assert guest.answer(1) == ({"ok": True}, b"")
    assert guest.answer(2) == ({"ok": True}, b"12345")


def test_every_request_gets_an_answer_and_ends_nothing(guest: Guest) -> None:
    assert guest.call("dance")[0]["error"] == "there is no request 'dance'"
    assert guest.call("run", run="true")[0]["error"] == "the request lacks 'timeout'"
    assert guest.call("read")[0]["error"] == "the request lacks 'path'"
    assert guest.run("true", timeout="soon")[0]["error"]
    assert guest.run("true", env={"A": 1})[0]["error"]
    assert guest.run("true", env={"A=": "1"})[0]["rc"] == 127
    assert guest.run(["echo", "\ud800"])[0]["rc"] == 127
    for text in (b"{}", b"[]", b"null", b"\xff"):
        guest.write(HEAD.pack(len(text), 0) + text)
        header, body = HEAD.unpack(guest.process.stdout.read(HEAD.size))  # type: ignore[union-attr]
        assert json.loads(guest.process.stdout.read(header + body))["error"]  # type: ignore[union-attr]
    assert guest.run("echo fine")[1] == b"fine\n"


def test_bytes_stay_bytes_and_every_end_has_its_status(guest: Guest, tmp_path: Path) -> None:
    assert guest.run(["printf", "%s", "a\udcffb"])[1] == b"a\xffb"
    assert guest.run("printf 'a\\000\\377\\n'")[1] == b"a\0\xff\n"
    assert [guest.run(run)[0]["rc"] for run in ("exit 3", "exec true", "kill -TERM $$")] == [3, 0, -15]
    # standard input: none, one that nobody reads, one that is longer than a pipe holds
    assert guest.run("read line || echo end; cat")[1] == b"end\n"
    assert guest.run("echo said", b"x" * 1_000_000)[1] == b"said\n"
    assert guest.run("tail -c 3", b"x" * 1_000_000 + b"end")[1] == b"end"
    # a command goes on without its standard output
    answer, output = guest.run("echo said; exec >&- 2>&-; echo done > done; exit 4")
    assert (answer["rc"], output) == (4, b"said\n")
    assert (tmp_path / "done").read_bytes() == b"done\n"
    # and inherits nothing but the three, and the one that ls itself opens
    assert guest.run(["ls", "/proc/self/fd"])[1].split() == [b"0", b"1", b"2", b"3"]


def peak_mb(process: int) -> int:
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) >> 10


def test_of_a_hundred_megabytes_in_one_line_it_holds_no_more_than_the_cap(ours: Guest) -> None:
    before = peak_mb(ours.process.pid)
    answer, output = ours.run("head -c 100000000 /dev/zero | tr '\\0' x; echo; echo end", cap=65536)
    assert answer["dropped"] == 100_000_005 - 65536
    assert output.startswith(b"xxx")
    assert output.endswith(b"x\nend\n")
    assert len(output) < 66_000
    assert peak_mb(ours.process.pid) - before < 4


def test_a_gigabyte_of_output_is_taken_in_and_other_commands_go_on(ours: Guest) -> None:
    size = int(os.environ.get("GUEST_TEST_BYTES", 10**9))
    common: dict[str, Any] = {"cwd": None, "env": {}, "timeout": 60, "cap": 1000}
    ours.write(ours.frame(op="run", run=f"head -c {size} /dev/zero", **common))
    assert ours.run("echo meanwhile")[1] == b"meanwhile\n"
    answer, _ = ours.answer(1)
    assert (answer["rc"], answer["dropped"]) == (0, size - 1000)


# sessions


def test_scripts_of_a_session_follow_each_other_as_in_one_shell(guest: Guest, tmp_path: Path) -> None:
    def one(run: str | list[str], **more: Any) -> tuple[int, bytes]:
        answer, output = guest.run(run, session="one", **more)
        return answer["rc"], output

    value = "grün = 'x'\n\"$HOME\"\\"
    for folder in ("down", "other"):
        (tmp_path / folder).mkdir()
    (tmp_path / "link").symlink_to("down")
    assert one("cd down; export MINE=$1$GIVEN; hidden=1; unset GIVEN; exit 3") == (3, b"")
    assert one("echo $PWD $MINE $GIVEN $hidden; exit 0") == (0, f"{tmp_path}/down to all\n".encode())
    # what a command brings along is for it and all that follow, as by cd and export
    assert one("pwd", cwd="../link", env={"MINE": value}) == (0, f"{tmp_path}/link\n".encode())
    assert one('printf %s "$MINE"') == (0, value.encode())
    assert one("pwd") == (0, f"{tmp_path}/link\n".encode())
    # argument vectors are where the session is, and leave it there
    assert one(["/bin/sh", "-c", "pwd; cd /; echo $OWN"], env={"OWN": "x"}) == (0, f"{tmp_path}/link\nx\n".encode())
    assert one("pwd; echo $OWN") == (0, f"{tmp_path}/link\n\n".encode())
    # others know nothing of it
    assert guest.run("pwd; echo $MINE $GIVEN")[1] == f"{tmp_path}\nto all\n".encode()
    assert guest.run("pwd; echo $MINE $GIVEN", session="two")[1] == f"{tmp_path}\nto all\n".encode()
    # what finds a command's strays is each command's own
    marks = [one("echo $SANDBOX_COMMAND")[1] for _ in range(2)]
    assert marks[0] != marks[1]
    assert all(mark.strip() for mark in marks)


def test_in_every_shell_a_script_hands_over_however_it_ends(in_shell: Guest, tmp_path: Path) -> None:
    def one(run: str, **more: Any) -> tuple[int, bytes]:
        answer, output = in_shell.run(run, session="one", **more)
        return answer["rc"], output

    (tmp_path / "down").mkdir()
    carried = {
        "export A=1 'B=x y'; exit 7": 7,
        "set -e; false; echo not reached": 1,
        "set -eu; echo $NOT_SET": None,
        "set -C; set -x; true": 0,
        "if then": 2,
        "true\necho 'a": 2,
        "(cd /; exit 4)": 4,
        "exec >&- 2>&-; false": 1,
        "exec 9>lock; exit 5": 5,
        "PATH=/nowhere": 0,
        "unset PATH; readonly PWD": 0,
        f"sleep {unique()} & true": 0,
    }
    for script, status in carried.items():
        assert one("true", cwd=str(tmp_path), env={"PATH": os.defpath, "N": ""})[0] == 0
        found, said = one(f"cd down; export N=$((N + 1))\n{script}")
        assert found == status or status is None, script
        assert b"environ" not in said, script  # with set -x too
        assert one("echo ${PWD##*/} $N")[1] == b"down 1\n", script
    assert one("export LONG=$(printf %0100000d 1)", env={"PATH": os.defpath})[0] == 0
    assert one("echo $A $B ${#LONG}") == (0, b"1 x y 100000\n")
    left_alone = {
        "exec true": 0,
        "kill -TERM $$": -15,
        "kill -KILL $$": -9,
        "trap 'echo mine' EXIT; exit 2": 2,
        f"sleep {unique()}": -9,
    }
    for script, status in left_alone.items():
        timeout = 0.2 if script.startswith("sleep") else 20.0
        assert one(f"export N=2; cd /\n{script}", cwd="/tmp", env={"M": "2"}, timeout=timeout)[0] == status
        assert one("echo ${PWD##*/} $N $M")[1] == b"down 1\n", script
    assert in_shell.call("quiet")[0] == {"ok": True}


def test_a_session_whose_folder_is_gone_says_so_and_a_folder_of_the_command_leads_out(
    in_shell: Guest, tmp_path: Path
) -> None:
    assert in_shell.run("mkdir down; cd down; export A=1; rmdir ../down", session="one")[0]["rc"] == 0
    for _ in range(2):
        answer, output = in_shell.run("echo $A", session="one")
        assert (answer["rc"], output.decode()) == (127, f"{tmp_path}/down: No such file or directory\n")
    assert in_shell.run("pwd; echo $A", session="one", cwd=str(tmp_path))[1].decode() == f"{tmp_path}\n1\n"
    assert in_shell.run("pwd", session="one")[1].decode() == f"{tmp_path}\n"


def test_of_two_scripts_of_a_session_at_a_time_the_last_to_end_decides(guest: Guest, tmp_path: Path) -> None:
    common: dict[str, Any] = {"op": "run", "cwd": None, "env": {}, "timeout": 9, "cap": 99, "session": "one"}
    wait = f"while [ ! -e {tmp_path}/quick ]; do sleep 0.01; done"
    guest.write(guest.frame(run=f"export LAST=slow; cd /usr; {wait}", **common))
    guest.write(guest.frame(run="export LAST=quick; cd /", **common))
    assert guest.take() == 2
    assert guest.run("echo $LAST $PWD", session="one")[1] == b"quick /\n"
    (tmp_path / "quick").touch()
    guest.answer(1)
    assert guest.run("echo $LAST $PWD", session="one")[1] == b"slow /usr\n"


def test_what_a_script_writes_in_place_of_its_testament_harms_nobody(ours: Guest, tmp_path: Path) -> None:
    for forged in ("garbage", "/usr", "/usr\\0A=1", "\\0\\0.\\n", "/usr\\n\\0A\\0=\\0=x\\0B=2\\0.\\n"):
        script = f"for fd in /proc/self/fd/1??; do printf '{forged}' >> $fd; done; exec true"
        assert ours.run(script, session="one")[0]["rc"] == 0
        assert ours.run("true", session="one")[0]["rc"] == 0
    assert ours.run("echo $B", session="one")[1] == b"2\n"


# the end of a guest


def test_when_its_lifetime_is_over_it_ends_all_says_so_and_goes(guest: Guest, tmp_path: Path) -> None:
    python = str(guest.process.args[0])  # type: ignore[index]
    mortal = Guest(python, str(tmp_path), {}, 0.4)
    word = unique()
    mortal.write(mortal.frame(op="run", run=f"setsid sleep {word} & sleep {word}", cwd=None, env={}, timeout=9, cap=9))
    assert mortal.take() == 0
    assert mortal.take() == -1
    assert mortal.answer(-1) == ({"bye": "its lifetime of 0.4 s is over"}, b"")
    assert mortal.process.wait(2) == 0
    assert gone(word)
    assert mortal.close() == 0


def test_its_lifetime_ends_also_when_nobody_asks_and_when_nobody_reads(tmp_path: Path) -> None:
    idle, unread = (Guest(sys.executable, str(tmp_path), {}, 0.3) for _ in range(2))
    more: dict[str, Any] = {"cwd": None, "env": {}, "timeout": 9, "cap": 10**7}
    unread.write(unread.frame(op="run", run="head -c 9000000 /dev/zero", **more))
    assert idle.process.wait(3) == 0
    unread.process.wait(3)
    for guest in (idle, unread):
        guest.close()


def test_the_host_learns_why_a_sandbox_is_lost(tmp_path: Path) -> None:
    async def story() -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            words = [sys.executable, "-c", guest_source(START_GUEST), repr((str(tmp_path), {}, 0.5))]
            guest = subprocess.Popen(words, stdin=theirs.fileno(), stdout=theirs.fileno())
        ours.setblocking(False)
        loop = asyncio.get_running_loop()
        _, channel = await loop.create_connection(lambda: Channel("x", Limits()), sock=ours)
        await channel.ready(5)
        assert (await channel.run(Command("export A=1", session="one"))).returncode == 0
        assert (await channel.run(Command("echo $A", session="one"))).output == b"1\n"
        for _ in range(2):
            with pytest.raises(SandboxLost, match=r"lost: its lifetime of 0\.5 s is over"):
                await channel.run(Command("sleep 9"))
        assert guest.wait(2) == 0

    asyncio.run(story())


# protection


def test_commands_of_the_same_user_cannot_read_the_guest(guest: Guest, tmp_path: Path) -> None:
    python = str(guest.process.args[0])  # type: ignore[index]
    if guest.run([python, "-c", "import ctypes"])[0]["rc"]:
        pytest.skip("this Python has no ctypes")
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip("no setpriv on this machine to give up the privileges of root")
    before = ("setpriv", "--bounding-set=-all", "--inh-caps=-all") if os.geteuid() == 0 else ()
    shut = Guest(python, str(tmp_path), {}, before=before)
    assert shut.answer(0) == ({"ok": True}, b"")
    for name in ("environ", "mem", "maps", "fd/0"):
        answer, output = shut.run(f"cat /proc/$PPID/{name}")
        assert answer["rc"] != 0
        assert b"ermission denied" in output
    assert b"SANDBOX_COMMAND" in shut.run("cat /proc/self/environ; ls /proc/self/fd > /dev/null")[1]
    assert shut.call("write", b"data", path="file")[0] == {"ok": True}
    assert shut.call("read", path="file")[1] == b"data"
    assert shut.run("cd /; export A=1", session="one")[0]["rc"] == 0
    assert shut.run("pwd; echo $A", session="one")[1] == b"/\n1\n"
    word = unique()
    assert shut.run(f"setsid sleep {word} & sleep {word}", timeout=0.1)[0]["late"]
    assert gone(word)
    assert shut.close() == 0


def test_while_the_disk_is_nearly_full_what_runs_is_ended_and_says_why(tmp_path: Path) -> None:
    namespaces()
    before = (*IN_NAMESPACE, 'mount -t tmpfs -o size=8m none "$0" && exec "$@"', str(tmp_path))
    small = Guest(sys.executable, str(tmp_path), {}, None, 100 << 20, before=before)
    assert small.answer(0) == ({"ok": True}, b"")
    # as much was never free, which does not matter
    assert small.run("sleep 0.6; echo fine")[1] == b"fine\n"
    word = unique()
    answer, output = small.run(f"setsid sleep {word} & echo said; head -c 6000000 /dev/zero > large; sleep {word}")
    assert (answer["rc"], answer["late"]) == (-9, False)
    assert output.startswith(b"said\n")
    assert output.splitlines()[-1].startswith(b"[killed: the disk of this machine is nearly full")
    assert gone(word)
    assert small.run("rm large; sleep 0.6; echo fine")[1] == b"fine\n"
    small.close()


def test_it_ends_when_the_stream_does_also_while_a_command_runs(guest: Guest) -> None:
    guest.write(guest.frame(op="run", run="sleep 1", cwd=None, env={}, timeout=9, cap=10))
    began = time.monotonic()
    assert guest.close() == 0
    assert time.monotonic() - began < 0.9


@given(st.lists(st.binary(max_size=30), max_size=20), st.integers(0, 60))
@example([b"x" * 200_000, b"y" * 200_000, b"z"], 11)
@example([b"x" * 70_000] * 3, 100_000)
def test_a_capture_keeps_head_and_tail_however_the_output_is_cut(chunks: list[bytes], cap: int) -> None:
    whole, capture = b"".join(chunks), Capture(cap)
    for chunk in chunks:
        capture.feed(chunk)
        assert len(capture.head) + len(capture.tail) <= 3 * cap + (1 << 16) + len(chunk)
    output, dropped = capture.close()
    if len(whole) <= cap:
        assert (output, dropped) == (whole, 0)
    else:
        head, tail = whole[: cap // 2], whole[len(whole) - (cap - cap // 2) :]
        assert dropped == len(whole) - cap
        assert output == head + b"\n[%d bytes dropped here]\n" % dropped + tail
