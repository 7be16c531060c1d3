"""No secret leaves a run, whatever a server does with it: a canary is given to a run and looked for in all it left."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from agent.models.scripted import say
from monkeys.commands.main import main
from monkeys.store import Store
from tests.helpers import Answer, Listener, said

ROOT = Path(__file__).parents[2]
KEY = "sk-canary/5d41+402abc4b2a76"
USER, PASSWORD = "canary-user-7719", "canary-pass%2F811c9dc5"
HUB = "hf_canary0f1e2d3c4b5a"
TASK = "quick__tally-1"

Act = Callable[[str, int], Answer]


class Echo(Listener):
    """A server that repeats the credentials of each request. `act` gets them, and how often it was asked."""

    def __init__(self, act: Act) -> None:
        super().__init__()
        self._act, self.asked = act, 0
        self.commands = b""

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head.split("\r\n"))}
        await reader.readexactly(int(headers.get("content-length", 0)))
        answer = Answer(body={"data": []})
        if head.startswith("POST"):
            self.commands += _command_lines()
            answer = self._act(headers["authorization"], self.asked)
            self.asked += 1
        writer.write(answer.encoded())
        await writer.drain()
        return True


def _command_lines() -> bytes:
    lines = b""
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines += process.read_bytes() + b"\n"
        except OSError:
            continue
    return lines


def sampled(act: Act, place: Path, *options: str, url: str = "{}", **more: str) -> tuple[str, Echo]:
    """A run against such a server: what it printed, and the server."""

    async def run() -> tuple[str, Echo]:
        async with Echo(act) as server:
            address = url.format(server.url.removeprefix("http://"))
            (place / "tmp").mkdir(exist_ok=True)
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "agent.swe", "--model", "m", "--ids", TASK, "--workers", "1"),
                *(option.format(url=address) for option in options),
                cwd=place,
                env={
                    **os.environ,
                    "PYTHONPATH": str(ROOT),
                    "XDG_CACHE_HOME": str(place / "cache"),
                    "TMPDIR": str(place / "tmp"),
                    "CANARY": KEY,
                    "HF_TOKEN": HUB,
                    "MONKEYS_API_KEY_ENV": "CANARY",
                    **{name: value.format(url=address) for name, value in more.items()},
                },
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            out, _ = await asyncio.wait_for(process.communicate(), 120)
            return out.decode(), server

    return asyncio.run(run())


def forms(*secrets: str) -> set[bytes]:
    """The secrets, and what they look like when they are encoded."""
    texts = {form for secret in secrets for form in (secret, quote(secret, safe=""), secret.replace("/", "\\/"))}
    coded = {base64.b64encode(secret.encode()).decode().rstrip("=")[:-2] for secret in secrets}
    return {text.encode() for text in texts | coded}


def everything(place: Path, printed: str, run: str, capsys: pytest.CaptureFixture[str]) -> bytes:
    """All files below `place`, unpacked where the store packs them, and what the commands that read the run print."""
    capsys.readouterr()
    for command in (
        ["report", run],
        ["report", run, "--json"],
        ["runs"],
        ["runs", "--json"],
        ["show", run],
        ["show", run, "--json"],
        *(["export", run, "--format", form, "--out", f"out-{form}"] for form in ("predictions", "outcomes")),
        ["export", run, "--format", "trajectories", "--out", "out-trajectories"],
    ):
        main(command)
    store = Store.read(Path("runs") / run)
    for row in store.attempts():
        for more in ([], ["--json"], ["--full", "--log"]):
            assert main(["show", run, row.task, str(row.index), "--try", str(row.tries), *more]) == 0
        printed += json.dumps(store.conversation(row)) + str(store.trajectory(row))
    printed += json.dumps(store.sessions()) + json.dumps(store.config)
    store.close()
    said_now = capsys.readouterr()
    files = [path for path in place.rglob("*") if path.is_file() and not path.is_symlink()]
    assert any(path.name == "run.sqlite" for path in files)
    return "\n".join([printed, said_now.out, said_now.err]).encode() + b"".join(path.read_bytes() for path in files)


def escaped(text: str) -> bytes:
    return "".join(f"\\u{ord(character):04X}" for character in text).encode()


def test_nothing_that_a_run_leaves_holds_a_key_that_the_server_repeats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def act(credentials: str, number: int) -> Answer:
        key = credentials.removeprefix("Bearer ")
        coded = base64.b64encode(f"proxy:{key}".encode()).decode()
        echo = f"you are {credentials}, {quote(key, safe='')}, {coded} and {HUB}"
        call = say(("bash", {"command": f"echo '{echo}' > note.txt; cat note.txt"}))
        full = Answer(400, {"error": {"message": f"maximum context length is 10 tokens (request by {credentials})"}})
        answers = [  # each failure before an answer, so that little is waited for
            Answer(429, {"error": echo}, {"retry-after": "0.01", "x-request": key}),
            Answer(body=_message(call, echo)),
            Answer(500, {"error": {"message": echo}}),
            Answer(body=json.dumps(_message(say(("submit", {})), "$")).encode().replace(b"$", escaped(key))),
            Answer(body={"error": {"message": echo}}),  # within HTTP 200
            *(full, Answer(body=_message(call, echo)), full),  # looked into: a short message, and once more
            Answer(body=json.dumps({"choices": [], "note": "$"}).encode().replace(b"$", escaped(key))),
            Answer(body=_message(call, echo)),
            Answer(400, {"error": {"message": f"bad request by {credentials}"}}),  # later than the first turn
        ]
        return answers[min(number, len(answers) - 1)]

    monkeypatch.chdir(tmp_path)
    printed, server = sampled(
        act,
        tmp_path,
        *("--attempts", "3", "--retries", "0", "--run", "echoes", "--events", "events.jsonl"),
        MONKEYS_BASE_URL="http://{url}",
    )
    assert server.asked >= 9, printed
    left = everything(tmp_path, printed, "echoes", capsys)
    assert b"maximum context length" in left
    assert b"bad request by" in left
    assert b"[redacted]" in left
    for secret in forms(KEY, HUB):
        assert secret not in left
        assert secret not in server.commands


def test_an_error_that_ends_the_run_shows_neither_key_nor_password_nor_moves_the_cursor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def act(credentials: str, number: int) -> Answer:
        both = base64.b64decode(credentials.removeprefix("Basic ")).decode()
        return Answer(401, {"error": {"message": f"no\x1b[2J\x1b]0;t\x07 {credentials} is {both} at \u202e{KEY}"}})

    monkeypatch.chdir(tmp_path)
    options = ("--attempts", "1", "--run", "refused", "--events", "events.jsonl", "--base-url")
    printed, _ = sampled(act, tmp_path, *options, f"http://{USER}:{PASSWORD}@{{url}}")
    [line] = [line for line in printed.splitlines() if line.startswith("error:")]
    assert "server http://127.0.0.1" in line
    assert r"no\x1b[2J\x1b]0;t\x07 [redacted]" in line
    assert r"\u202e[redacted]" in line
    assert not set(printed) & set("\x1b\x07\u202e")
    left = everything(tmp_path, printed, "refused", capsys)
    assert b'"--base-url", "http://127.0.0.1' in left.replace(b'\\"', b'"')
    for secret in forms(KEY, PASSWORD, PASSWORD.replace("%2F", "/"), f"{USER}:{PASSWORD.replace('%2F', '/')}"):
        assert secret not in left


def _message(message: dict[str, Any], content: str) -> dict[str, Any]:
    body = said(content)
    body["choices"][0]["message"] |= {**message, "content": content}
    return body


def test_a_server_that_cannot_be_reached_is_named_without_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "votes.csv"
    table.write_text("task,correct,patch,question\na,1,x,why\na,0,y,why\n")
    address = "http://canary-user:canary-word-1@127.0.0.1:9/v1"
    assert main(["select", str(table), "--judge", "m", "--base-url", address]) == 2
    complaint = capsys.readouterr().err
    assert "server http://127.0.0.1:9/v1 cannot be reached" in complaint
    assert "canary" not in complaint
