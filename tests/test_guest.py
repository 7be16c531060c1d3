"""The guest on its own, spoken to over pipes as the Docker back end does, on every Python that is there."""

from __future__ import annotations

import json
import os
import random
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

from envs.docker import _guest_source
from envs.guest import Capture

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
    """A guest process and the host's end of its stream."""

    def __init__(self, python: str, workdir: Path, **env: str) -> None:
        self.process = subprocess.Popen(
            [python, "-E", "-s", "-S", "-c", _guest_source(), repr((str(workdir), env))],
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
    guest = Guest(python, tmp_path, GIVEN="to all")
    assert guest.answer(0) == ({"ok": True}, b"")
    yield guest
    if guest.process.poll() is None:
        guest.close()


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
    words = [f"1000.{random.SystemRandom().randrange(10**12):012d}" for _ in range(3)]
    late = f"setsid sleep {words[0]} & env -i setsid sleep {words[1]} & trap '' TERM; sleep {words[2]}; sleep 9"
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
    word = f"1000.{random.SystemRandom().randrange(10**12):012d}"
    answer, output = guest.run(f"setsid sleep {word} & echo said; exec >&-; exit 2")
    assert (answer["rc"], output) == (2, b"said\n")
    assert answer["s"] < 3
    assert guest.run("echo next")[1] == b"next\n"
    assert guest.call("quiet")[0] == {"ok": True}
    deadline = time.monotonic() + 2
    while alive(word) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not alive(word)


def test_frames_may_come_in_pieces_of_any_size(guest: Guest) -> None:
    frames = guest.frame(b"12345", op="write", path="x") + guest.frame(op="read", path="x")
    for start in range(0, len(frames), 7):
        guest.write(frames[start : start + 7])
    assert guest.answer(1) == ({"ok": True}, b"")
    assert guest.answer(2) == ({"ok": True}, b"12345")


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
