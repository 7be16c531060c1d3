"""A model is found by its exact name, and what cannot work is refused in one line with what would."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.agent import AttemptScope
from agent.models import ModelRefused
from agent.models.chat import ChatModel
from agent.models.monkey import Monkey
from agent.models.replay import replayed
from agent.models.shared_first_turn import SharedFirstTurn
from agent.models.source import FileSource, ModelRequest
from agent.models.sources import (
    MODELS,
    check_suited,
    find_source,
    make_model,
    make_server,
    model_names,
)
from agent.scaffolds import Unsuited, make_scaffold
from agent.servers import Serve
from envs import Origin
from envs.registry import Registry
from tasks import Submission, Task
from tests.helpers import ChatServer, attempt_scope, completion, said

URL = "http://127.0.0.1:9/v1"
TASK = Task(id="task", statement="It is broken.", group="some/project", origin=Origin(""), test_command="true")


def test_a_served_model_may_begin_like_a_built_in_one() -> None:
    async def main() -> list[str]:
        async with ChatServer(completion()) as server:
            names = []
            for name in ("monkey-7b", "monkey", "replay:gold", "smollm2"):
                model = make_model(ModelRequest(name, base_url=(server.url,)))
                assert isinstance(model, ChatModel)
                reply = await model.reply([{"role": "user", "content": "go"}], [], scope=attempt_scope())
                assert reply.message["content"] == said()["choices"][0]["message"]["content"]
                names.append(server.requests[-1].body["model"])
                await model.close()
            return names

    assert asyncio.run(main()) == ["monkey-7b", "monkey", "replay:gold", "smollm2"]
    source = find_source(ModelRequest("monkey-7b", base_url=(URL,)))
    assert source.priced
    check_suited("monkey-7b", source, make_scaffold("tools", "text"))
    check_suited("monkey-7b", source, make_scaffold("repair"))
    assert find_source(ModelRequest("smollm2", base_url=(URL,))).scaffold == "tools"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("monkey-7b", "(did you mean monkey?)"),
        ("monkey:fast", "(did you mean monkey?)"),
        ("smollm2-135m", "(did you mean smollm2?)"),
        ("replay", ""),
        ("replay:", "did you mean replay:"),
        ("scripted", "(did you mean scripted:FILE?)"),
        ("gpt-x", ""),
    ],
)
def test_an_unknown_name_without_a_server_is_refused_with_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(ModelRefused) as refused:
        find_source(ModelRequest(name))
    text = str(refused.value)
    assert text.startswith(f"there is no model {name!r}")
    assert hint in text
    assert "--base-url URL" in text
    assert "\n" not in text


def test_with_a_key_any_other_name_is_one_of_the_openai_endpoint() -> None:
    assert isinstance(make_model(ModelRequest("gpt-x", api_key="key")), ChatModel)
    assert isinstance(make_model(ModelRequest("monkey", api_key="key")), Monkey)


def test_first_turns_are_shared_where_more_than_one_is_asked_for() -> None:
    assert isinstance(make_model(ModelRequest("tiny", base_url=(URL,), first_turns=8)), SharedFirstTurn)


def test_what_is_built_in_costs_nothing_and_what_others_serve_does() -> None:
    own = ("monkey", "smollm2", "replay:gold", "scripted:file.json")
    assert [find_source(ModelRequest(name)).priced for name in own] == [False] * 4
    assert not find_source(ModelRequest("any", serve=Serve("some/weights"))).priced
    assert find_source(ModelRequest("any", base_url=(URL,))).priced


def test_a_source_says_what_suits_its_model() -> None:
    assert find_source(ModelRequest("smollm2")).scaffold == "repair"
    assert find_source(ModelRequest("monkey")).scaffold == "tools"
    monkey, replay = (find_source(ModelRequest(name)) for name in ("monkey", "replay:gold"))
    check_suited("monkey", monkey, make_scaffold())
    check_suited("replay:gold", replay, None)
    for scaffold, complaint in (
        (make_scaffold("tools", "text"), "model monkey takes --actions native, not text"),
        (make_scaffold("repair"), "model monkey works with the tools; leave out --scaffold repair"),
        (None, "model monkey works with tools alone; use --agent loop"),
    ):
        with pytest.raises(Unsuited, match=f"^{complaint}$"):
            check_suited("monkey", monkey, scaffold)


def test_a_server_is_started_or_named_and_not_both() -> None:
    with pytest.raises(ModelRefused, match="give one of them"):
        find_source(ModelRequest("any", base_url=(URL,), serve=Serve("some/weights")))
    served = ModelRequest("any", base_url=(URL,), serve=Serve(tensor_parallel=2))
    with pytest.raises(ModelRefused, match="model any has no server of its own"):
        make_server(find_source(served), served)


def test_known_solutions_come_from_the_suite() -> None:
    def known(task: Task) -> Submission | None:
        return Submission(b"42", "answer") if task is TASK else None

    def says(model: str, scope: AttemptScope) -> str:
        request = ModelRequest(model, tasks=(TASK,), known=known)
        return str(asyncio.run(make_model(request).reply([], [], scope=scope)).message["content"])

    assert says("replay:gold", attempt_scope()) == "42"
    assert says("replay:gold", attempt_scope("another")) == ""
    assert says("replay:empty", attempt_scope()) == says("replay:noop", attempt_scope()) == ""
    assert make_model(ModelRequest("replay:gold")).name == "replay:gold"


PREDICTED: list[dict[str, Any]] = [
    {"instance_id": "task", "model_patch": "first"},
    {"instance_id": "task", "model_patch": None},
    {"instance_id": "more", "model_patch": "--- a/x\n+++ b/x\n"},
]


def predicting(folder: Path, rows: Sequence[Mapping[str, Any]] = PREDICTED, **fields: Any) -> ModelRequest:
    path = folder / "p.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return ModelRequest(f"replay:{path}", tasks=(TASK,), **fields)


def test_each_attempt_replays_a_row_of_its_own(tmp_path: Path) -> None:
    request = predicting(tmp_path, attempts=2)
    source = find_source(request)
    assert isinstance(source, FileSource)
    assert source.file(request) == tmp_path / "p.jsonl"

    def says(index: int) -> str:
        return str(
            asyncio.run(source.model(request).reply([], [], scope=attempt_scope(index=index))).message["content"]
        )

    assert [says(0), says(1)] == ["first\n", ""]
    with pytest.raises(ModelRefused, match=r"p\.jsonl have no row 2 for task, counted from 0$"):
        says(2)


def test_answers_are_replayed_where_the_suite_has_these(tmp_path: Path) -> None:
    request = predicting(tmp_path, [{"instance_id": "task", "answer": 42}], kind="answer")
    reply = asyncio.run(make_model(request).reply([], [], scope=attempt_scope()))
    assert reply.message["content"] == "42"
    with pytest.raises(ModelRefused, match=r"p\.jsonl:1: no model_patch for task"):
        make_model(replace(request, kind="patch"))


@pytest.mark.parametrize(
    ("tasks", "attempts", "why"),
    [
        (
            ("task",),
            3,
            "have 2 rows for task to replay, not 3; give --attempts 2, leave that task out with --ids, or add",
        ),
        (("task", "more"), 2, "have 1 row for more to replay, not 2; give --attempts 1, leave that task out with"),
        (("task", "other"), 1, "have no row for other to replay; choose other tasks with --ids, or add rows"),
        (("other", "third", "task"), 1, "have no row for other and 1 more to replay; choose other tasks with --ids"),
    ],
)
def test_a_replay_that_needs_more_rows_than_there_are_is_refused(
    tmp_path: Path, tasks: tuple[str, ...], attempts: int, why: str
) -> None:
    request = replace(predicting(tmp_path, attempts=attempts), tasks=tuple(replace(TASK, id=name) for name in tasks))
    source = find_source(request)
    assert isinstance(source, FileSource)
    with pytest.raises(ModelRefused) as refused:
        source.file(request)
    assert why in str(refused.value)


def test_known_solutions_are_replayed_any_number_of_times() -> None:
    for name in ("replay:gold", "replay:empty"):
        source = find_source(ModelRequest(name, tasks=(TASK,), attempts=999))
        assert isinstance(source, FileSource)
        assert source.file(ModelRequest(name, tasks=(TASK,), attempts=999)) is None


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("[", "cannot be read"),
        ("[" * 100_000, "cannot be read"),
        ("{}", "is not a list; give a JSON list of messages such as"),
        ("[]", "holds no message; give a JSON list of messages such as"),
        ('[{"role": "assistant", "content": ""}, "hello"]', "item 2 is not an object"),
        ('[{"role": "user", "content": ""}]', "item 1 has the role 'user', and a script holds what the model says"),
        ('[{"content": ""}]', "item 1 has the role None"),
    ],
    ids=lambda text: text[:20],
)
def test_a_script_is_a_list_of_what_a_model_says(tmp_path: Path, script: str, why: str) -> None:
    path = tmp_path / "script.json"
    path.write_text(script)
    with pytest.raises(ModelRefused) as refused:
        make_model(ModelRequest(f"scripted:{path}"))
    assert why in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_replay_is_of_a_file_or_run_but_for_three() -> None:
    names = ("replay:a/b.jsonl", "replay:gold", "replay:empty", "replay:noop", "replay:", "replay", "replayed:x")
    assert [replayed(name) for name in names] == ["a/b.jsonl", "", "", "", "", "", ""]
    with pytest.raises(ModelRefused, match=r"no such file, and no run .*; did you mean replay:noop\?"):
        make_model(ModelRequest("replay:nop"))


def test_a_package_brings_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / "site"
    info = site / "parrot-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: parrot\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[coding_monkeys.models]\nparrot = parrot_model:ParrotSource\nbroken = not_there:Source\n"
    )
    (site / "parrot_model.py").write_text(
        "from agent.models.built_in import MonkeySource\nclass ParrotSource(MonkeySource):\n    names = ('parrot',)\n"
    )
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setattr("agent.models.sources.MODELS", Registry("models", "model", MODELS.protocol, MODELS.built_in))
    assert isinstance(make_model(ModelRequest("parrot")), Monkey)
    assert model_names()[-2:] == ["broken", "parrot"]
    with pytest.raises(ModelRefused, match="did you mean parrot"):
        find_source(ModelRequest("parrot-2"))
