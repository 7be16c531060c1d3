"""The client against a real vLLM: that what we send is understood there, and what comes back is read right.

Skipped unless there is one: `MONKEYS_VLLM=http://127.0.0.1:8000/v1,NAME` names one that is up (best with
--enable-prompt-tokens-details --enable-auto-tool-choice --tool-call-parser hermes --scheduling-policy priority);
`MONKEYS_VLLM_MODEL=FOLDER` has one started where `vllm` is installed, on whatever it finds to run on, which is also
killed and started again.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import pytest

from agent.actions import Action, ActionError, make_actions
from agent.agent import AttemptScope
from agent.models import ContextExceeded, ModelError, ModelRefused, Reply
from agent.models.chat import ChatModel
from agent.models.http import HttpTransport
from agent.models.source import ModelRequest
from agent.models.sources import make_model
from agent.models.vllm_metrics import VllmMetrics
from agent.trajectory import Message
from envs.events import Sink, ignore
from tests.helpers import Heard, attempt_scope

TOLD, FOLDER = os.environ.get("MONKEYS_VLLM", ""), os.environ.get("MONKEYS_VLLM_MODEL", "")
pytestmark = pytest.mark.skipif(
    not TOLD and not (FOLDER and find_spec("vllm")),
    reason="name a vLLM that is up with MONKEYS_VLLM=URL,MODEL, or install one and set MONKEYS_VLLM_MODEL=FOLDER",
)

T = TypeVar("T")

NATIVE = make_actions("native")
STRUCTURED = make_actions("structured")
HI: list[Message] = [{"role": "user", "content": "List the files here."}]
LONG: list[Message] = [{"role": "user", "content": "The quick brown fox jumps over the lazy dog. " * 40}]
NAME = "served"
UP_SECONDS = 180.0
OPTIONS = (
    *("--enforce-eager", "--no-enable-chunked-prefill", "--max-num-batched-tokens", "8192", "--max-model-len", "8192"),
    *("--block-size", "32", "--enable-prefix-caching", "--enable-prompt-tokens-details"),
    *("--enable-auto-tool-choice", "--tool-call-parser", "hermes", "--scheduling-policy", "priority"),
)


class Vllm:
    """A vLLM of our own, in a process group of its own."""

    def __init__(self, model: Path, folder: Path) -> None:
        self._model, self._log = model, folder / "vllm.log"
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}/v1"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns once it answers."""
        command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--port", str(self._port), *OPTIONS]
        command += ["--host", "127.0.0.1", "--model", str(self._model), "--served-model-name", NAME]
        settings = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self._log.parent,
                env={**os.environ, **settings},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until = time.monotonic() + UP_SECONDS
        while not answers(self.url):
            if self._process.poll() is not None or time.monotonic() > until:
                self.kill()
                pytest.fail(f"vLLM did not come up:\n{self._log.read_text('utf-8', 'replace')[-3000:]}")
            time.sleep(0.2)

    def kill(self) -> None:
        """With all that it started."""
        if self._process is not None:
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self._process.wait()
            self._process = None


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/models", timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


@pytest.fixture(scope="module")
def vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vllm]:
    """Ours, that may be killed."""
    if not FOLDER or find_spec("vllm") is None:
        pytest.skip("install vllm and name a model's folder with MONKEYS_VLLM_MODEL")
    server = Vllm(Path(FOLDER).resolve(), tmp_path_factory.mktemp("vllm"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def served(request: pytest.FixtureRequest) -> tuple[str, str]:
    """The address of a vLLM and the name of its model."""
    if not TOLD:
        return request.getfixturevalue("vllm").url, NAME
    url, _, name = TOLD.partition(",")
    with urllib.request.urlopen(f"{url}/models", timeout=20) as response:
        return url, name or json.load(response)["data"][0]["id"]


def asker(attempt: int = 0) -> AttemptScope:
    return attempt_scope("task", attempt, 2**63 - 5 - attempt)


def model_of(served: tuple[str, str], events: Sink = ignore, **sampling: Any) -> ChatModel:
    sampling = {"max_tokens": 16, **sampling}
    model = make_model(ModelRequest(served[1], base_url=(served[0],), sampling=sampling, events=events))
    assert isinstance(model, ChatModel)
    return model


def play(model: ChatModel, what: Callable[[ChatModel], Awaitable[T]]) -> T:
    async def main() -> T:
        try:
            await model.check()
            return await what(model)
        finally:
            await model.close()

    return asyncio.run(main())


def ask(
    served: tuple[str, str],
    messages: Sequence[Message] = HI,
    tools: Sequence[dict[str, Any]] = (),
    attempt: int = 0,
    **sampling: Any,
) -> Reply:
    return play(model_of(served, **sampling), lambda model: model.reply(messages, tools, scope=asker(attempt)))


def refusal(served: tuple[str, str], messages: Sequence[Message] = HI, **sampling: Any) -> ModelError:
    with pytest.raises(ModelError) as caught:
        ask(served, messages, **sampling)
    assert "\n" not in str(caught.value)
    return caught.value


def page_of(served: tuple[str, str]) -> str:
    async def main() -> str:
        wire = HttpTransport(served[0], None)
        try:
            return (await wire.get("/metrics", 20.0, beside=True)).content.decode()
        finally:
            await wire.close()

    return asyncio.run(main())


def counter(page: str, name: str) -> float:
    lines = [line for line in page.splitlines() if line.startswith(f"vllm:{name}")]
    assert lines, f"no {name} in the page"
    return sum(float(line.split()[-1]) for line in lines)


# what is asked and answered


def test_an_answer_comes_with_its_usage_and_with_what_the_prefix_cache_held(served: tuple[str, str]) -> None:
    before = page_of(served)
    first, again = ask(served, LONG), ask(served, LONG)
    assert first.message["role"] == "assistant"
    assert isinstance(first.message["content"], str)
    assert first.usage.prompt == again.usage.prompt > 300
    assert 0 < first.usage.completion <= 16
    assert again.usage.cached > 200, "start it with --enable-prefix-caching --enable-prompt-tokens-details"
    assert again.usage.cached <= again.usage.prompt
    after = page_of(served)

    def grown(name: str) -> float:
        return counter(after, name) - counter(before, name)

    assert grown("prefix_cache_queries_total") >= 2 * first.usage.prompt
    assert grown("prefix_cache_hits_total") >= again.usage.cached
    assert grown("prompt_tokens_cached_total") >= again.usage.cached
    assert grown("generation_tokens_total") >= first.usage.completion + again.usage.completion


def test_a_reply_that_ends_at_its_length_says_so(served: tuple[str, str]) -> None:
    reply = ask(served, ignore_eos=True)
    assert reply.finish_reason == "length"
    assert reply.usage.completion == 16


def test_a_stop_ends_the_reply_and_is_left_out_of_it(served: tuple[str, str]) -> None:
    reply = ask(served, stop=[" ", "e"], max_tokens=200)
    assert reply.finish_reason == "stop"
    assert not {" ", "e"} & set(reply.message["content"])


def test_attempts_have_seeds_of_their_own_and_so_texts(served: tuple[str, str]) -> None:
    said = {ask(served, attempt=attempt, temperature=1.0, max_tokens=32).message["content"] for attempt in range(3)}
    assert len(said) > 1


def test_top_k_and_min_p_are_obeyed(served: tuple[str, str]) -> None:
    for narrow in ({"top_k": 1}, {"min_p": 1.0}):  # either leaves the likeliest token alone
        said = {ask(served, LONG, attempt=number, temperature=1.0, **narrow).message["content"] for number in range(3)}
        assert len(said) == 1


def test_there_are_as_many_choices_as_asked_for_and_usage_counts_them_all(served: tuple[str, str]) -> None:
    async def main() -> Any:
        wire = HttpTransport(served[0], None)
        body = {"model": served[1], "messages": HI, "n": 4, "max_tokens": 8, "ignore_eos": True, "seed": 1}
        try:
            return json.loads((await wire.post("/chat/completions", body, 120.0)).content)
        finally:
            await wire.close()

    data = asyncio.run(main())
    assert sorted(choice["index"] for choice in data["choices"]) == [0, 1, 2, 3]
    assert len({choice["message"]["content"] for choice in data["choices"]}) > 1
    assert data["usage"]["completion_tokens"] == 4 * 8


def test_token_ids_and_log_probabilities_are_those_of_the_tokens_that_usage_counts(served: tuple[str, str]) -> None:
    reply = ask(served, return_token_ids=True, logprobs=True, max_tokens=6)
    assert reply.tokens is not None
    assert len(reply.tokens.prompt) == reply.usage.prompt
    assert len(reply.tokens.completion) == len(reply.tokens.logprobs) == reply.usage.completion
    assert all(value <= 0 for value in reply.tokens.logprobs)


# actions


def test_a_call_that_is_forced_is_read_and_its_result_is_taken_back(served: tuple[str, str]) -> None:
    strict = [{**one, "function": {**one["function"], "strict": True}} for one in NATIVE.schemas]
    forced = {"type": "function", "function": {"name": "bash"}}
    replies = [ask(served, HI, strict, attempt, tool_choice=forced, max_tokens=400) for attempt in range(3)]
    read = [(NATIVE.read(reply.message, cut=reply.finish_reason == "length")) for reply in replies]
    message, [action] = next((one for one in read if isinstance(one[1][0], Action)), read[0])
    assert isinstance(action, Action)
    assert action.tool.name == "bash"
    history = [*HI, message, *NATIVE.observations([(action, "a.py\n")])]
    assert ask(served, history, NATIVE.schemas).usage.prompt > ask(served, HI, NATIVE.schemas).usage.prompt


def test_a_call_that_is_cut_off_is_a_fault_and_what_goes_back_is_taken(served: tuple[str, str]) -> None:
    reply = ask(served, HI, NATIVE.schemas, tool_choice="required", max_tokens=4)
    message, [fault] = NATIVE.read(reply.message, cut=reply.finish_reason == "length")
    assert isinstance(fault, ActionError)
    assert "cut off" in fault.text
    assert ask(served, [*HI, message, *NATIVE.observations([(fault, fault.text)])], NATIVE.schemas).usage.prompt


def test_a_call_of_a_tool_with_arguments_of_any_shape_is_read(served: tuple[str, str]) -> None:
    forced = {"type": "function", "function": {"name": "bash"}}
    for attempt in range(2):  # without "strict" the arguments may be any JSON
        reply = ask(served, HI, NATIVE.schemas, attempt, tool_choice=forced, max_tokens=200)
        message, [done] = NATIVE.read(reply.message, cut=reply.finish_reason == "length")
        assert ask(served, [*HI, message, *NATIVE.observations([(done, "x")])], NATIVE.schemas).usage.prompt


def test_structured_actions_are_accepted_and_obeyed(served: tuple[str, str]) -> None:
    async def several(model: ChatModel) -> list[Reply]:
        return await asyncio.gather(*(model.reply(HI, [], scope=asker(attempt)) for attempt in range(6)))

    model = model_of(served, **STRUCTURED.body, max_tokens=300, temperature=0.8)
    whole = [reply for reply in play(model, several) if reply.finish_reason == "stop"]
    assert whole  # the rest ran on to its length
    for reply in whole:
        message, [action] = STRUCTURED.read(reply.message)
        assert isinstance(action, Action), message


# what is refused


def test_a_conversation_that_is_too_long_is_told_from_a_parameter_that_is_wrong(served: tuple[str, str]) -> None:
    too_long: list[Message] = [{"role": "user", "content": "word " * 200_000}]
    assert isinstance(refusal(served, too_long), ContextExceeded)
    for wrong in ({"temperature": -3}, {"temperature": "hot"}, {"max_tokens": 0}, {"max_tokens": 10**7}):
        error = refusal(served, **wrong)
        assert isinstance(error, ModelRefused), wrong
        assert next(iter(wrong)) in str(error)


def test_a_model_that_it_does_not_serve_is_refused_by_name(served: tuple[str, str]) -> None:
    error = refusal((served[0], "nobody"))
    assert isinstance(error, ModelRefused)
    assert "nobody" in str(error)


# load


def test_a_priority_is_taken_where_it_schedules_by_it(served: tuple[str, str]) -> None:
    model = make_model(ModelRequest(served[1], base_url=(served[0],), sampling={"max_tokens": 4}, scheduled=True))
    assert isinstance(model, ChatModel)
    later = [*HI, {"role": "assistant", "content": "a.py"}, {"role": "user", "content": "go on"}]
    try:
        reply = play(model, lambda model: model.reply(later, [], scope=asker()))
    except ModelRefused as error:
        if "priority" not in str(error).lower():
            raise
        pytest.skip("start it with --scheduling-policy priority")
    assert reply.usage.completion


def test_its_gauges_tell_what_it_runs_and_more_is_sent_than_at_first(served: tuple[str, str]) -> None:
    async def main(model: ChatModel) -> VllmMetrics:
        wire = HttpTransport(served[0], None)
        asked = [asyncio.create_task(model.reply(HI, [], scope=asker(number))) for number in range(24)]
        try:
            async with asyncio.timeout(100):
                while True:
                    page = (await wire.get("/metrics", 20.0, beside=True)).content.decode()
                    gauges = VllmMetrics.read(page)
                    assert gauges is not None
                    if gauges.running > 8:
                        return gauges
                    assert not all(task.done() for task in asked)
                    await asyncio.sleep(0.05)
        finally:
            for task in asked:
                task.cancel()
            await asyncio.wait(asked)
            await wire.close()

    gauges = play(model_of(served, max_tokens=400, ignore_eos=True), main)
    assert 0 < gauges.cache <= 1
    assert gauges.preemptions >= 0


def test_a_server_that_is_killed_is_waited_for(vllm: Vllm) -> None:
    async def main(model: ChatModel) -> list[str]:
        asked = [asyncio.create_task(model.reply(HI, [], scope=asker(number))) for number in range(4)]
        await running(model)
        vllm.kill()
        async with asyncio.timeout(60):
            while not heard.texts:
                await asyncio.sleep(0.05)
        await asyncio.to_thread(vllm.start)
        replies = await asyncio.wait_for(asyncio.gather(*asked), 300)
        assert all(reply.usage.completion == 500 for reply in replies)
        return heard.texts

    async def running(model: ChatModel) -> None:
        wire = HttpTransport(vllm.url, None)
        async with asyncio.timeout(60):
            while True:
                gauges = VllmMetrics.read((await wire.get("/metrics", 20.0, beside=True)).content.decode())
                if gauges is not None and gauges.running >= 4:
                    return await wire.close()
                await asyncio.sleep(0.02)

    heard = Heard()
    down, *_, up = play(model_of((vllm.url, NAME), heard, max_tokens=500, ignore_eos=True), main)
    assert "is down" in down
    assert up == ""
