"""The typewriter monkey: deterministic, types only Python that compiles, leaves tests alone, never stumbles."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.actions.native import read_actions, schemas
from agent.models.model import Reply
from agent.models.monkey import Monkey
from agent.models.monkey.localization import is_test, suspected_files, suspected_units, vocabulary, wanted_names
from agent.models.monkey.memory import remember
from agent.models.monkey.mutations import KINDS, MutationContext, Vocabulary, mutate
from agent.models.monkey.policy import smallest_edit
from agent.models.monkey.source import read
from agent.tools import TOOLS
from agent.tools.edit import _replaced
from agent.trajectory import Message
from tests.helpers import attempt_scope

SHELF = '''\
"""A shelf of books."""

import re
from dataclasses import dataclass

LIMIT = 12
UNITS = {"cm": 1.0, "in": 2.54}


@dataclass
class Book:
    title: str
    pages: int = 0  # unknown if 0


class Shelf:
    """Books in the order in which they were put there."""

    def __init__(self, books=None, *, limit=LIMIT):
        self.books = list(books or [])
        self.limit = limit

    def put(self, book: Book) -> None:
        if len(self.books) >= self.limit and not book.title.startswith("ä"):
            raise ValueError(f"no room for {book.title}")
        self.books.append(book)

    def thick(self, least, most=None):
        """Those with so many pages."""
        found = []
        for index, book in enumerate(self.books):
            if book.pages < least or (most is not None and book.pages > most):
                continue
            try:
                found.append((index + 1, book.title.strip()))
            except AttributeError:
                break
        return found

    def width(self, unit="cm"):
        total = 0
        for book in self.books[1:]:
            total += (book.pages / 2 + 1) * 0.01
        return round(total / UNITS[unit], 2) if total else 0


def slug(title):
    words = [word for word in re.split(r"\\W+", title.lower()) if word]
    return "-".join(sorted(words, key=len))


def pairs(count, step=1):
    return {i: i ** 2 % 7 for i in range(count - step) if i & 1 or i == 0}
'''
HELPERS = """\
def clamp(value, low, high):
    if value < low:
        return low
    return min(value, high)
"""
FILES = {
    "library/__init__.py": "from library.shelf import Shelf\n",
    "library/shelf.py": SHELF,
    "library/helpers.py": HELPERS,
    "tests/test_shelf.py": "from library.shelf import Shelf\n\n\ndef test_thick():\n    assert not Shelf().thick(3)\n",
    "README.md": "# Library\n",
}
ISSUE = """\
<issue>
`Shelf.thick(300)` leaves out a book with exactly 300 pages, and `slug` gives "b-a".

Traceback (most recent call last):
  File "/home/me/library/shelf.py", line 34, in thick
KeyError: 'pages'
</issue>"""
PASSING = "test_thick ... ok\n\nOK\n"
FAILING = f"{'=' * 70}\nFAIL: test_thick (tests.test_shelf)\n\nFAILED (failures=1)\n[exit status 1]"
BROKEN = f"{'=' * 70}\nERROR: test_put (tests.test_shelf)\n\nFAILED (errors=1)\n[exit status 1]"
OUTPUTS = st.sampled_from([PASSING, FAILING, BROKEN])
OFFERED = schemas(TOOLS)
QUICKLY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def ask(messages: Sequence[Message], seed: int, tools: Sequence[dict[str, Any]] = OFFERED) -> Reply:
    return asyncio.run(Monkey().reply(messages, tools, scope=attempt_scope("task", 0, seed)))


def compiles(text: str) -> bool:
    """Whether it is Python, be it of a kind that Python warns about."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return bool(compile(text, "file", "exec", dont_inherit=True))


class World:
    """The tools on files held in memory. Test runs answer with the next of `outputs`, the last one for ever."""

    def __init__(self, files: dict[str, str] = FILES, outputs: Sequence[str] = (PASSING,)) -> None:
        self.files, self.outputs = dict(files), list(outputs)
        self.versions = [dict(files)]
        self.messages: list[Message] = [{"role": "system", "content": "Fix it."}, {"role": "user", "content": ISSUE}]

    def play(self, seed: int, turns: int = 12) -> World:
        for _ in range(turns):
            reply = ask(self.messages, seed)
            message, actions = read_actions(reply.message, TOOLS)
            assert message == reply.message, "valid as it is"
            self.messages.append(message)
            for call, action in zip(message.get("tool_calls", ()), actions, strict=True):
                name, arguments = call["function"]["name"], json.loads(call["function"]["arguments"])
                assert action.call_id == call["id"]
                self.messages.append({"role": "tool", "tool_call_id": call["id"], "content": self.act(name, arguments)})
                if name == "submit":
                    return self
        return self

    def act(self, name: str, arguments: dict[str, Any]) -> str:
        if name == "view":
            path = arguments["path"]
            return "\n".join(f"./{name}" for name in self.files) if path == "." else self.view(path)
        if name == "edit":
            path = arguments["path"]
            assert arguments["command"] == "replace"
            assert not is_test(path)
            after = _replaced(self.files[path].encode(), path, arguments["old"], arguments["new"]).decode()
            assert after != self.files[path]
            assert compiles(after)
            self.files[path] = after
            self.versions.append(dict(self.files))
            return f"[{path} written]"
        if name == "run_tests":
            return self.outputs.pop(0) if len(self.outputs) > 1 else self.outputs[0]
        return "[no match]"

    def view(self, path: str) -> str:
        rows = self.files[path].splitlines()
        return "\n".join(f"{number:6}\t{row}" for number, row in enumerate(rows, 1))

    def called(self, name: str) -> int:
        calls = [call for message in self.messages for call in message.get("tool_calls", ())]
        return sum(call["function"]["name"] == name for call in calls)


# The policy


@QUICKLY
@given(seed=st.integers(0, 2**63))
def test_an_attempt_is_a_function_of_its_messages_and_seed(seed: int) -> None:
    messages = World().play(seed).messages
    assert World().play(seed).messages == messages
    turns = [at for at, message in enumerate(messages) if message["role"] == "assistant"]
    for at in turns:  # also from the middle, by a monkey that saw nothing before
        assert ask(messages[:at], seed).message == messages[at]


def test_hash_randomisation_changes_nothing() -> None:
    script = "from tests.agent.test_monkey import *; print([World().play(seed).messages for seed in range(5)])"
    root, command = Path(__file__).parents[2], [sys.executable, "-c", script]
    worlds = ({**os.environ, "PYTHONHASHSEED": seed} for seed in ("1", "2"))
    seen = {subprocess.run(command, env=world, cwd=root, capture_output=True, check=True).stdout for world in worlds}
    assert len(seen) == 1


def test_different_seeds_type_different_things() -> None:
    ends = {json.dumps(World().play(seed).files) for seed in range(40)}
    assert len(ends) > 25


def test_neither_task_nor_attempt_is_looked_at() -> None:
    messages = World().play(3).messages[:-2]
    replies = [
        asyncio.run(Monkey().reply(messages, OFFERED, scope=attempt_scope(*who, 3))) for who in (("a", 0), ("b", 7))
    ]
    assert replies[0] == replies[1]


@QUICKLY
@given(seed=st.integers(0, 2**63), outputs=st.lists(OUTPUTS, min_size=1, max_size=6))
def test_every_edit_compiles_and_tests_are_left_alone(seed: int, outputs: list[str]) -> None:
    world = World(outputs=outputs).play(seed)  # `World.act` asserts both at each edit
    assert world.files["tests/test_shelf.py"] == FILES["tests/test_shelf.py"]
    assert all(world.files[path] == text for path, text in FILES.items() if not path.endswith(".py"))


def test_an_attempt_types_and_hands_in() -> None:
    worlds = [World().play(seed, turns=20) for seed in range(40)]
    assert all(world.called("submit") == 1 for world in worlds)
    assert sum(world.files != FILES for world in worlds) > 35


def test_undo_is_exact() -> None:
    undone = 0
    for seed in range(60):
        world = World(outputs=[FAILING, FAILING, BROKEN]).play(seed, turns=30)
        memory = remember(world.messages)
        undone += len(world.versions) - 1 > len(memory.standing)
        back = dict(world.files)
        for edit in reversed(memory.standing):
            back[edit.path] = back[edit.path].replace(edit.new, edit.old)
        assert back == FILES
        for page in memory.pages:  # and what is remembered of the files is what they hold
            assert page.text + "\n" == world.files[page.path]
    assert undone > 5


def test_what_mends_a_failing_test_is_kept() -> None:
    for seed in range(80):
        world = World(outputs=[FAILING, PASSING]).play(seed, turns=30)
        memory = remember(world.messages)
        mended = next((run for run in memory.runs if run.edits and not run.failing), None)
        if mended and memory.baseline and memory.baseline.failing:
            assert memory.standing[: len(mended.edits)] == list(mended.edits)
            assert world.called("submit") == 1


def test_persistence_differs_between_attempts() -> None:
    lengths = {World(outputs=[FAILING]).play(seed, turns=40).called("run_tests") for seed in range(60)}
    assert min(lengths) == 0
    assert max(lengths) > 4


def test_usage_counts_characters() -> None:
    messages: list[Message] = [{"role": "user", "content": "x" * 400}]
    reply = ask(messages, 1)
    assert reply.usage.prompt == 100
    assert reply.usage.completion > 10
    assert reply.finish_reason == "tool_calls"


# Odd conversations


def _call(name: str, arguments: Any) -> dict[str, Any]:
    return {"id": "a", "type": "function", "function": {"name": name, "arguments": arguments}}


def _told(content: Any, calls: Any, *answers: Message) -> list[Message]:
    return [{"role": "user", "content": content}, {"role": "assistant", "content": None, "tool_calls": calls}, *answers]


def _seen(content: Any, name: str, arguments: Any, observation: Any) -> list[Message]:
    answer = {"role": "tool", "tool_call_id": "a", "content": observation}
    return _told(content, [_call(name, arguments)], answer)


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [{"role": "user"}],
        [{"role": "user", "content": [{"type": "text", "text": ISSUE}, "odd"]}],
        _told(None, None),
        _told("", [{"id": "a"}, "odd", None], {"role": "tool"}),
        _told("", [_call("view", '["."]')], {"role": "tool", "tool_call_id": "b", "content": "?"}),
        _seen("Fix main.rs", "view", '{"path": "."}', "./main.rs"),
        _seen("", "view", "not json", None),
        _seen("", "edit", '{"path": 3}', "[error] 3"),
        _seen("a" * 300_000, "run_tests", "{}", "=" * 200_000),
        _seen(ISSUE, "view", '{"path": "a.py"}', "     1\tprint 'hi'"),
        _seen(ISSUE, "view", '{"path": "a.py"}', "     1\t" + "(" * 9999),
        _seen(ISSUE, "view", '{"path": "a.py"}', "     1\t\0"),
    ],
)
def test_odd_conversations_get_an_answer(messages: list[Message]) -> None:
    for seed in range(5):
        for more in ([], [{"role": "assistant", "content": "hm"}] * 5):
            reply = ask([*messages, *more], seed)
            assert reply.message["role"] == "assistant"
            assert {call["function"]["name"] for call in reply.message["tool_calls"]} <= {tool.name for tool in TOOLS}


@QUICKLY
@given(st.integers(0, 1000), st.text(max_size=300), st.sampled_from(["view", "search", "edit", "run_tests"]))
def test_any_observation_will_do(seed: int, noise: str, name: str) -> None:
    arguments = json.dumps({"path": "a.py", "old": noise, "new": "x"})
    rows = "\n".join(f"     {number}\t{row}" for number, row in enumerate(noise.split("\n"), 1))
    for text in (noise, rows):
        ask(_seen(noise, name, arguments, text), seed)


def test_without_python_it_gives_up_soon() -> None:
    world = World({"main.rs": "fn main() {}\n", "tests/test_main.py": "def test(): pass\n"}).play(1)
    assert world.called("submit") == 1
    assert world.called("edit") == 0


def test_tools_that_are_missing_are_not_called() -> None:
    messages = World().play(5).messages
    at = [number for number, message in enumerate(messages) if message["role"] == "assistant"]
    for number in at:
        reply = ask(messages[:number], 5, [tool for tool in OFFERED if tool["function"]["name"] == "view"])
        assert all(call["function"]["name"] == "view" for call in reply.message.get("tool_calls", ()))
    assert "tool_calls" not in ask(messages[:2], 5, []).message


# What it types


@QUICKLY
@given(seed=st.integers(0, 2**63), kind=st.sampled_from(sorted(KINDS)))
def test_each_kind_types_what_compiles_or_nothing(seed: int, kind: str) -> None:
    source = read(SHELF)
    assert source is not None
    for unit in source.units:
        change = KINDS[kind][0](MutationContext(source, unit, vocabulary(ISSUE), Random(seed)))
        page = source.edited(change) if change else None
        if page is not None:
            assert compiles(page)
            edit = smallest_edit("shelf.py", SHELF, page)
            assert edit is not None
            assert SHELF.replace(edit.old, edit.new) == page
            assert page.replace(edit.new, edit.old) == SHELF


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_each_kind_finds_something_to_type(kind: str) -> None:
    source = read(SHELF)
    assert source is not None
    contexts = [
        MutationContext(source, unit, vocabulary(ISSUE), Random(seed)) for unit in source.units for seed in range(60)
    ]
    changes = [change for context in contexts if (change := KINDS[kind][0](context))]
    assert any(source.edited(change) for change in changes)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("return a < b", "return a <= b"),
        ("return a < b", "return b < a"),
        ("return a + b * 2  # ä", "return (a + b) * 2  # ä"),
        ("x = 'ä'; return a + b", "x = 'ä'; return a - b"),
        ("return range(1, a)", "return range(1, a + 1)"),
        ("return g(a,  b)", "return g(b, a)"),
        ("return a", "return a.strip()"),
        ("return a[1:]", "return a[:]"),
        ("return a.x + a.y", "return a.y + a.y"),
        ("return g(a, key=False)", "return g(a, key=True)"),
        ("if a and a.b:\n        return 1", "if a or a.b:\n        return 1"),
        ("if not a:\n        return 1", "if a:\n        return 1"),
        ("for x in a:\n        g(x)\n        return x", "for x in a:\n        g(x)\n    return x"),
        ("a.g()\n    a.h()", "a.h()\n    a.g()"),
        ("a.g()\n    a.h()", "a.h()"),
        ("g('\x0c\u2028');\x0ca + b", "g('\x0c\u2028');\x0ca - b"),
    ],
)
def test_common_slips_are_within_reach(before: str, after: str) -> None:
    before, after = (f"def f(a, b):\n    {body}\n" for body in (before, after))
    source = read(before)
    assert source is not None
    benches = (MutationContext(source, source.units[-1], Vocabulary(), Random(seed)) for seed in range(4000))
    assert any(typed and typed[1] == after for typed in map(mutate, benches))


# What it reads


def test_a_page_from_the_middle_of_a_file_can_be_edited() -> None:
    rows = SHELF.split("\n")
    for first, last in ((24, 44), (30, 52), (20, 36)):
        page = "\n".join(rows[first:last])
        source = read(page)
        assert source is not None
        assert source.page == page
        assert any(unit.name for unit in source.units)
        for seed in range(40):
            unit = source.units[seed % len(source.units)]
            typed = mutate(MutationContext(source, unit, Vocabulary(), Random(seed)))
            if typed:
                assert compiles("\n".join([*rows[:first], typed[1], *rows[last:]]))


@pytest.mark.parametrize("page", ["print 'hi'", "fn main() {}", "(" * 3000, "\0", "a = 1\rb = 2\n"])
def test_what_is_not_python_is_not_read(page: str) -> None:
    assert read(page) is None


def test_the_edit_that_undoes_is_as_unique_as_the_edit() -> None:
    edit = smallest_edit("a.py", "a\nb\na\nc", "a\nb\nb\nc")
    assert edit is not None
    assert "a\nb\na\nc".count(edit.old) == 1
    assert "a\nb\nb\nc".count(edit.new) == 1
    assert smallest_edit("a.py", "a\nb", "a\nb") is None
    removed = smallest_edit("a.py", "a\nb\nc", "a\nc")
    assert removed is not None
    assert removed.new


def test_a_failed_edit_is_not_remembered_as_made() -> None:
    arguments = json.dumps({"command": "replace", "path": "a.py", "old": "x", "new": "y"})
    memory = remember(_seen("", "edit", arguments, "[error] the text to be replaced occurs 2 times in a.py"))
    assert not memory.standing
    assert memory.tried


def test_suspicion_follows_names_and_tracebacks() -> None:
    world, path = World(), "library/shelf.py"
    files = suspected_files(remember(_seen(ISSUE, "view", '{"path": "."}', world.act("view", {"path": "."}))))
    assert not any(is_test(path) for path in files)
    assert files[path] > 2 * files["library/helpers.py"] > 0
    units = suspected_units(remember(_seen(ISSUE, "view", json.dumps({"path": path}), world.view(path))))
    by_name = {unit.name: weight for (_, _, unit), weight in units.items()}
    assert max(by_name, key=by_name.__getitem__) == "Shelf.thick"
    assert by_name["slug"] > by_name["pairs"] > 0
    assert {"thick", "slug", "Shelf"} <= set(wanted_names(ISSUE))


@pytest.mark.parametrize(
    ("path", "left_alone"),
    [
        ("tests/test_a.py", True),
        ("a/tests/helpers.py", True),
        ("test_a.py", True),
        ("a/a_test.py", True),
        ("conftest.py", True),
        ("a/testing/b.py", True),
        ("a/latest.py", False),
        ("contest/a.py", False),
    ],
)
def test_what_counts_as_a_test(path: str, left_alone: bool) -> None:
    assert is_test(path) is left_alone


# Feedback


def heard(*told: tuple[str, str]) -> list[Message]:
    """A conversation that has viewed the shelf and made one edit, with feedback sent behind its result."""
    world = World()
    arguments = {"command": "replace", "path": "library/shelf.py", "old": "pages: int = 0", "new": "pages: int = 1"}
    said = "".join(f"\n\n[feedback: {kind}]\n{text}" for kind, text in told)
    seen = [("view", {"path": "."}), ("view", {"path": "library/shelf.py"}), ("edit", arguments)]
    for at, (name, given_) in enumerate(seen):
        call = {**_call(name, json.dumps(given_)), "id": f"call_{at}"}
        text = world.act(name, given_) + (said if name == "edit" else "")
        world.messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
        world.messages.append({"role": "tool", "tool_call_id": f"call_{at}", "content": text})
    return world.messages


def names_of(reply: Reply) -> list[str]:
    return [call["function"]["name"] for call in reply.message.get("tool_calls", ())]


NONE_NEW = "No visible test fails that did not fail before your changes."
FOUND = ("check", "These are new since your changes:\n- shelf.py:3: F821 Undefined name `x`")
WORSE = (
    "tests",
    "1 visible test fails that did not fail before your changes:\n- test_a (t.T.test_a)\n\nOf the first:\n- no",
)


def test_feedback_on_the_tests_is_remembered_as_a_run_of_them() -> None:
    worse = remember(heard(WORSE))
    assert worse.current_run
    assert worse.current_run.failing == {"test_a (t.T.test_a)"}
    still = remember(heard(("tests", f"{NONE_NEW} These failed before, and still fail:\n- a\n- b\n- and 3 more")))
    assert still.baseline
    assert still.current_run
    assert still.baseline.failing == still.current_run.failing == {"a", "b"}
    gone = remember(heard(("tests", f"{NONE_NEW} These failed before, and do not fail now:\n- a")))
    assert gone.baseline
    assert gone.current_run
    assert gone.baseline.failing == {"a"}
    assert not gone.current_run.failing
    assert gone.standing, "the edit before the feedback is known"


def test_what_the_check_calls_broken_is_undone() -> None:
    for seed in range(20):
        reply = ask(heard(FOUND), seed)
        first = json.loads(reply.message["tool_calls"][0]["function"]["arguments"])
        assert (first["old"], first["new"]) == ("1", "0") or ("= 1" in first["old"] and "= 0" in first["new"])


def test_a_new_failure_is_seldom_handed_in_and_hidden_tests_that_pass_are_at_once() -> None:
    handed = [names_of(ask(heard(WORSE), seed)) == ["submit"] for seed in range(60)]
    without = [names_of(ask(heard(), seed)) == ["submit"] for seed in range(60)]
    assert sum(handed) < 40 < 50 < sum(without)
    passing = ("oracle-count", "All hidden tests pass.")
    assert all(names_of(ask(heard(passing), seed)) == ["submit"] for seed in range(20))


@QUICKLY
@given(st.text(max_size=200), st.sampled_from(["tests", "check", "diff", "oracle-tests", "other"]), st.integers(0, 9))
def test_any_feedback_will_do(text: str, kind: str, seed: int) -> None:
    assert ask(heard((kind, text)), seed).message["role"] == "assistant"
