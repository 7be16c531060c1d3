"""Views: what they hold of a run, their JSON, and a renderer that has nothing else."""

from __future__ import annotations

import dataclasses
import json
import pickle
import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.agent import AttemptSpec
from agent.scan import Sign
from agent.trajectory import Exit, Message, Trajectory, Usage
from monkeys.commands.main import main
from monkeys.report import configuration, views
from monkeys.report.record import Record, json_text
from monkeys.report.summary import Summary
from monkeys.report.terminal.tables import overview
from monkeys.report.views import attempt_view, run_view, runs_view, task_view
from monkeys.store import Store
from monkeys.store.finding import find_attempt
from monkeys.strategies.strategy import SamplingDesign
from tasks.task import Outcome, Submission, TaskSet
from tests.monkeys.report.test_report import BAD, CONFIG, GOOD, Tries, make_run, make_task

DOCS = Path(__file__).parents[3] / "docs"
PATCH = b"diff --git a/a b/a\n--- a/a\n+++ b/a\n@@ -1 +1,2 @@\n-x\n+y\n+z\n"
LATIN = b"diff --git a/a b/a\n@@ -1 +1 @@\n-caf\xe9\n+th\xe9\n"
KINDS: list[type[Any]] = [kind for name in views.__all__ if isinstance(kind := getattr(views, name), type)]
NESTED: dict[str, Any] = {
    "suite": "swe",
    "tasks": {"set": "lite", "ids": ["a", "b"]},
    "agent": {
        "name": "loop",
        "scaffold": "tools",
        "prompts": {"system": "You are an engineer.", "issue": "$problem_statement"},
        "tools": ["bash", "submit"],
    },
    "model": {"name": "some/model", "sampling": {"temperature": 0.8}},
    "limits": {"turns": 40, "window": None, "context": "stop"},
    "sandbox": {"name": "docker", "platform": "", "limits": {"memory_mb": 512}},
    "strategy": {"name": "variance", "first": 5, "k": 10, "sampling": {"kind": "adaptive", "first": 5}},
    "seed": 0,
}


def called(*calls: tuple[str, str, Any], content: Any = "", **more: Any) -> Message:
    """A reply with calls of (id, tool, arguments as they were written)."""
    made = [{"id": name, "function": {"name": tool, "arguments": written}} for name, tool, written in calls]
    return {"role": "assistant", "content": content, "tool_calls": made, **more}


def conversation() -> tuple[Message, ...]:
    return (
        {"role": "user", "content": "It fails."},
        called(("1", "bash", '{"command": "git log --all"}'), content="I look.", reasoning_content="Hm."),
        {"role": "tool", "tool_call_id": "1", "content": [{"type": "text", "text": "nothing"}]},
        {"role": "user", "content": "Go on."},
        called(("1", "edit", "no JSON"), ("2", "submit", None)),
        {"role": "tool", "tool_call_id": "2", "content": "done"},
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tries: dict[str, Tries] = {
        "one": [(PATCH, GOOD), Exit.SANDBOX_FAILED, (b"", BAD), (LATIN, BAD), (b"x", None)],
        "two": [(b"a", BAD)],
    }
    return make_run(tmp_path / "runs" / "run", tries, conversation())


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    store = Store.read(folder)
    yield store
    store.close()


def strict(text: str) -> Any:
    """JSON without NaN and infinity."""
    return json.loads(text, parse_constant=lambda name: pytest.fail(name))


# What views hold


def test_a_run_has_its_configuration_its_sessions_and_its_summary(store: Store) -> None:
    view = run_view(store)
    assert view.name == "run"
    assert view.configuration == CONFIG
    (session,) = view.sessions
    assert (session.note, session.tries, session.environment) == ("done", 6, {"python": "3"})
    assert session.seconds is not None
    assert [issue.id for issue in view.summary.issues] == ["one", "two"]


def test_a_session_that_has_not_ended_has_no_length(tmp_path: Path) -> None:
    store = Store.write(tmp_path / "run", CONFIG, TaskSet("quick", (make_task("one"),)), {})
    assert [session.seconds for session in run_view(store).sessions] == [None]
    store.close()


def test_a_task_has_every_try_and_knows_which_count(store: Store) -> None:
    view = task_view(store, "one")
    assert [(one.index, one.try_number, one.counts) for one in view.tries] == [
        (0, 0, True),
        (1, 0, False),
        (1, 1, True),
        (2, 0, True),
        (3, 0, True),
    ]
    assert [one.outcome for one in view.counted] == [GOOD, BAD, BAD, None]
    assert view.resolved == 1
    first = view.tries[0]
    assert (first.lines_added, first.lines_removed, first.submission_bytes) == (2, 1, len(PATCH))
    assert first.usage == Usage(2000, 40, 800)
    assert first.dollars is None


def test_an_attempt_is_read_from_its_opening_to_its_verdict(store: Store) -> None:
    view = attempt_view(store, find_attempt(store, "one", 0, None))
    assert [(message.role, message.text) for message in view.opening] == [("user", "It fails.")]
    first, second = view.turns
    assert (first.text, first.reasoning, first.usage) == ("I look.", "Hm.", Usage(1000, 20, 400))
    assert [(call.tool, call.arguments, call.observation) for call in first.calls] == [
        ("bash", {"command": "git log --all"}, "nothing")
    ]
    assert [message.text for message in first.messages] == ["Go on."]
    cut_short, submit = second.calls
    assert (cut_short.arguments, cut_short.written, cut_short.observation) == (None, "no JSON", None)
    assert (submit.arguments, submit.observation) == ({}, "done")
    assert view.submission == Submission(PATCH)
    assert view.tests == {"test_a": "passed", "test_b": "passed"}
    assert view.log == "Ran 2 tests\n"
    assert view.signs == (Sign("looks at other history", 0, "git log --all"),)


def test_an_infra_error_has_no_tests_and_no_log(store: Store) -> None:
    view = attempt_view(store, find_attempt(store, "one", 1, 0))
    assert (view.tries, view.tests, view.log, view.turns) == (2, {}, "", ())
    assert view.attempt.outcome is Outcome.INFRA_ERROR


def test_runs_are_listed_newest_first_and_those_that_cannot_be_read_last(folder: Path) -> None:
    runs = folder.parent
    (runs / "broken").mkdir()
    (runs / "broken" / "run.sqlite").write_bytes(b"no database" * 99)
    make_run(runs / "later", {"one": [(b"x", BAD)]})
    view = runs_view([runs / "broken", runs / "run", runs / "later"])
    assert [row.run for row in view.runs] == ["later", "run", "broken"]
    assert [row.coverage for row in view.runs] == [0.0, 0.5, None]
    assert (view.runs[1].attempts, view.runs[1].model, view.runs[1].tasks) == (5, "monkey", "quick")
    assert "not a run" in view.runs[2].error


# JSON and pickle


def test_views_can_be_pickled_and_compared(store: Store) -> None:
    row = find_attempt(store, "one", 2, None)
    for view in (run_view(store), task_view(store, "one"), attempt_view(store, row), runs_view([store.folder])):
        assert pickle.loads(pickle.dumps(view)) == view


def test_json_has_every_number_at_full_precision_and_null_where_there_is_none(store: Store) -> None:
    data = strict(json_text(run_view(store)))
    assert data["created"] == store.created
    assert data["configuration"] == CONFIG
    assert data["summary"]["issues"][0]["n"] == 3
    assert data["summary"]["dollars"] is None


def test_a_submission_in_json_is_text_or_base64(store: Store) -> None:
    def submission(index: int) -> Any:
        view = attempt_view(store, find_attempt(store, "one", index, None))
        return strict(json_text(view))["submission"]

    assert submission(0) == {"body": PATCH.decode(), "kind": "patch"}
    assert submission(2)["body"].keys() == {"base64"}


def test_numbers_that_are_none_become_null() -> None:
    assert strict(json_text({"a": float("nan"), "b": (float("inf"), 0.1)})) == {"a": None, "b": [None, 0.1]}


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_of_a_view_is_a_key_that_the_documentation_names(kind: type[Any]) -> None:
    text = (DOCS / "views.md").read_text()
    (row,) = re.findall(rf"^\| `{kind.__name__}` \| (.*) \|$", text, re.M)
    assert set(re.findall(r"`(\w+)`", row)) >= {field.name for field in dataclasses.fields(kind)}


def test_the_keys_of_a_summary_are_those_that_the_documentation_names(store: Store) -> None:
    (row,) = re.findall(r"^\| `Summary` \| (.*) \|$", (DOCS / "views.md").read_text(), re.M)
    assert re.findall(r"`(\w+)`", row) == list(run_view(store).summary.to_json())


@pytest.mark.parametrize(
    ("words", "key"),
    [((), "summary"), (("one",), "tries"), (("one", "0"), "turns"), (("one", "1", "--try", "0"), "log")],
)
def test_show_prints_each_view_as_json(
    folder: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], key: str
) -> None:
    assert main(["--runs", str(folder.parent), "show", "run", *words, "--json"]) == 0
    assert key in strict(capsys.readouterr().out)


def test_runs_prints_json_also_where_there_is_none(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--runs", str(folder.parent), "runs", "--json"]) == 0
    assert [row["run"] for row in strict(capsys.readouterr().out)["runs"]] == ["run"]
    (tmp_path / "empty").mkdir()
    assert main(["--runs", str(tmp_path / "empty"), "runs", "--json"]) == 0
    assert strict(capsys.readouterr().out) == {"runs": []}


# The configuration


def test_a_nested_configuration_is_shown_with_the_names_of_its_sections() -> None:
    assert list(configuration.lines(NESTED)) == [
        ("suite", "swe"),
        ("tasks", "lite"),
        ("tasks ids", "a, b"),
        ("agent", "loop, scaffold tools"),
        ("agent prompts", "system, issue (whole in the run)"),
        ("agent tools", "bash, submit"),
        ("model", "some/model"),
        ("model sampling", "temperature 0.8"),
        ("limits", "turns 40, context stop"),
        ("sandbox", "docker"),
        ("sandbox limits", "memory mb 512"),
        ("strategy", "variance, first 5, k 10"),
        ("strategy sampling", "kind adaptive, first 5"),
        ("seed", "0"),
    ]


@pytest.mark.parametrize(
    ("config", "name"), [(NESTED, "variance"), ({}, "independent"), ({"strategy": {}}, "independent")]
)
def test_the_strategy_of_a_configuration_is_independent_unless_it_names_one(config: dict[str, Any], name: str) -> None:
    assert configuration.strategy_name(config) == name


@pytest.mark.parametrize(
    ("config", "replay"),
    [
        ({"model": {"name": "replay:run", "recording": {"run": "run"}}}, True),
        ({"model": {"name": "monkey"}}, False),
        ({}, False),
    ],
)
def test_a_replay_is_known_by_its_recording(config: dict[str, Any], replay: bool) -> None:
    assert configuration.is_replay(config) is replay


def test_what_a_configuration_names_is_in_the_summary_and_in_the_list_of_runs(tmp_path: Path) -> None:
    store = Store.write(tmp_path / "run", NESTED, TaskSet("lite", (make_task("one"),)), {})
    store.record_attempt(AttemptSpec("one", 0, 1), Trajectory(Exit.SUBMITTED, (), (), Submission(b"x"), 0.5))
    view = run_view(store)
    store.close()
    assert (view.summary.tasks, view.summary.model, view.summary.strategy) == ("lite", "some/model", "variance")
    assert view.summary.sampling == SamplingDesign("adaptive", 5)
    assert any("allocated by outcomes (variance)" in note for note in view.summary.notes)
    assert [row.model for row in runs_view([tmp_path / "run"]).runs] == ["some/model"]
    assert len(list(overview(view))) == 4


# A renderer of one's own


def test_a_renderer_needs_nothing_but_its_own_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = DOCS / "examples" / "markdown_renderer.py"
    code = [line for line in path.read_text().partition('"""\n\n')[2].splitlines() if line.strip()]
    assert len(code) <= 30
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", [str(path), str(folder)])
        runpy.run_path(str(path), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "# run"
    assert "| one | 3 | 1 |" in lines
    assert "| k | pass@k |" in lines
    assert "| 1 | 16.7% |" in lines


def test_every_view_is_a_frozen_record() -> None:
    assert len(KINDS) >= 9
    assert all(issubclass(kind, Record) and vars(kind)["__dataclass_params__"].frozen for kind in [*KINDS, Summary])
