"""A scaffold opens each attempt by its seed alone, and takes a small model's function however it is written."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.loop import USELESS_IN_A_ROW
from agent.models.scripted import Scripted
from agent.scaffolds import SCAFFOLDS, Unsuited, make_scaffold
from agent.scaffolds.failures import first_failure
from agent.scaffolds.functions import find_functions, same_code, with_function
from agent.scaffolds.repair import SEARCH_WORDS, searched_words
from agent.scaffolds.replies import written_code, written_functions
from agent.swe import main
from agent.trajectory import Exit, Trajectory
from envs import Origin
from monkeys.store import Store
from tasks import Task
from tasks.task import Outcome
from tests.helpers import Answer, ChatServer, attempt_scope, git_repository, said, tool_loop, workspace

TESTS = "python3 -m unittest discover -s tests -t ."
GOOD = "```python\ndef twice(number):\n    return 2 * number\n```"
FILES = {
    "sums/__init__.py": b"",
    "sums/plain.py": b'''"""Sums."""


def twice(number):
    return 3 * number


class Account:
    class Book:
        @staticmethod
        def entry(amount: int) -> int:
            return amount

    async def balance(self):
        return twice(self.Book.entry(1))
''',
    "sums/other.py": b"def half(number):\n    return number / 2\n",
    "tests/__init__.py": b"",
    "tests/test_plain.py": b"""import unittest

from sums.plain import twice


class TestPlain(unittest.TestCase):
    def test_twice(self):
        self.assertEqual(twice(4), 8)
""",
}


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Origin:
    return git_repository(tmp_path_factory.mktemp("scaffolds") / "repository", FILES)


def task(origin: Origin, statement: str = "`twice(4)` gives 12\n\nI expected 8.") -> Task:
    return Task(id="sums-1", statement=statement, group="we/sums", origin=origin, test_command=TESTS)


def opened(
    origin: Origin,
    *seeds: int,
    statement: str = "`twice(4)` gives 12",
    tests: str = TESTS,
    locate: str = "words",
) -> list[str]:
    """What the attempts with these seeds are shown."""

    async def main() -> list[str]:
        async with workspace(origin, tests) as room:
            scaffold = make_scaffold("repair", locate=locate)
            openings = [
                await scaffold.opening(task(origin, statement), room, attempt_scope("sums-1", 0, seed))
                for seed in seeds
            ]
            return [str(opening.messages[-1]["content"]) for opening in openings]

    return asyncio.run(main())


def played(origin: Origin, *replies: str, tests: str = TESTS, seed: int = 0, **limits: Any) -> Trajectory:
    """An attempt that is shown `twice`, and its replies."""

    async def main() -> Trajectory:
        async with workspace(origin, tests) as room:
            model = Scripted([{"role": "assistant", "content": reply} for reply in replies])
            agent = tool_loop(model, make_scaffold("repair", locate="words"), **{"turns": len(replies), **limits})
            return await agent.run(
                replace(task(origin), test_command=tests), room.sandbox, attempt_scope("sums-1", 0, seed)
            )

    return asyncio.run(main())


def drawn(prompt: str) -> str:
    """The name of the function that a prompt shows."""
    return prompt.rpartition("```python\n")[2].partition("def ")[2].partition("(")[0]


def told(trajectory: Trajectory) -> str:
    """What the model reads last."""
    return str(trajectory.messages[-1]["content"])


# what an attempt is shown


def test_there_is_a_scaffold_of_each_name_and_no_other() -> None:
    assert [make_scaffold(name).name for name in SCAFFOLDS] == list(SCAFFOLDS)
    with pytest.raises(Unsuited, match="choose one of tools, repair"):
        make_scaffold("scaffolding")
    with pytest.raises(Unsuited, match="leave out --actions text"):
        make_scaffold("repair", "text")


def test_the_same_seed_draws_the_same_function_and_others_draw_others(origin: Origin) -> None:
    first, again = (opened(origin, *range(30)) for _ in range(2))
    assert first == again
    shown = {drawn(prompt) for prompt in first}
    assert {"twice", "balance", "half"} <= shown


def test_the_words_that_are_searched_for_do_not_hang_on_the_process() -> None:
    """Or else a replay and a continuation would be shown another function than the attempt."""
    alike = [f"{first}{second}olumn" for first in "abcdefghk" for second in "rstuvw"]
    assert len(alike) > SEARCH_WORDS
    assert searched_words(" ".join(reversed(alike))) == sorted(alike)[:SEARCH_WORDS]


def test_what_the_failing_test_calls_is_drawn_most(origin: Origin) -> None:
    prompts = opened(origin, *range(40))
    assert sum(drawn(prompt) == "twice" for prompt in prompts) > 10


def test_what_the_failing_test_alone_executes_is_drawn_nearly_always(origin: Origin) -> None:
    about = "The balance of the book is half of what it should be"
    prompts = opened(origin, *range(20), statement=about, locate="tests")
    assert sum(drawn(prompt) == "twice" for prompt in prompts) > 15


def test_a_short_statement_is_told_whole_and_of_a_long_one_the_title(origin: Origin) -> None:
    short, long = "# `twice(4)` is 12\n\nI expected 8.", "# `twice(4)` is 12\n\nI expected 8" + " or so" * 60
    assert "Bug: `twice(4)` is 12. I expected 8.\n" in opened(origin, 0, statement=short)[0]
    assert "Bug: `twice(4)` is 12\n" in opened(origin, 0, statement=long)[0]
    assert "Bug: \n" in opened(origin, 0, statement="-" * 400, tests="true")[0]


def test_an_attempt_says_where_its_tests_could_not_be_measured(origin: Origin) -> None:
    async def remark(tests: str, locate: str) -> str:
        async with workspace(origin, tests) as room:
            scope = attempt_scope("sums-1")
            await make_scaffold("repair", locate=locate).opening(task(origin), room, scope)
            return scope.remark

    hidden = "echo 'FAIL: test_twice (tests.test_plain.TestPlain)'; exit 1"
    assert "drawn by words alone" in asyncio.run(remark(hidden, "tests"))
    assert asyncio.run(remark(hidden, "words")) == ""
    assert asyncio.run(remark(TESTS, "tests")) == ""
    assert asyncio.run(remark("true", "tests")) == ""  # no test fails


def test_how_functions_are_found_belongs_to_scaffold_repair_and_is_recorded() -> None:
    assert make_scaffold("repair").options == {"locate": "tests"}
    assert make_scaffold("repair", locate="words").options == {"locate": "words"}
    assert make_scaffold().options == {}
    with pytest.raises(Unsuited, match="scaffold tools shows no function; leave out --locate"):
        make_scaffold(locate="words")


def test_a_repository_without_python_is_refused_in_one_line(tmp_path: Path) -> None:
    origin = git_repository(
        tmp_path / "shell", {"run.sh": b"echo\n", "bad.py": b"def f(:\n", "tests/a.py": b"def f(): 0"}
    )
    with pytest.raises(Unsuited, match="finds no Python function to show in the repository of sums-1; leave"):
        opened(origin, 1)


def test_a_large_repository_is_looked_at_in_part_and_the_prompt_stays_short(tmp_path: Path) -> None:
    body = "\n".join(f"def filler_{n}(x):\n    return x + {n}\n" for n in range(20))
    files = {f"pack/part_{n}.py": body.encode() for n in range(120)}
    huge = "def twice_all(numbers):\n" + "    numbers = [2 * number for number in numbers]\n" * 300
    files |= {"pack/right.py": b"def twice(number):\n    return 3 * number\n", "pack/huge.py": huge.encode()}
    origin = git_repository(tmp_path / "large", files)
    prompts = opened(origin, *range(5), statement="twice gives too much " + "and so on " * 2000, tests="true")
    assert all(len(prompt) < 4000 for prompt in prompts)
    assert any("def twice(" in prompt for prompt in prompts)
    assert not any("twice_all" in prompt for prompt in prompts)


def test_a_sandbox_that_is_lost_at_the_opening_is_an_infra_error(origin: Origin) -> None:
    async def main() -> Trajectory:
        async with workspace(origin, TESTS) as room:
            await room.sandbox.close()
            agent = tool_loop(Scripted([]), make_scaffold("repair"))
            return await agent.run(task(origin), room.sandbox, attempt_scope("sums-1"))

    trajectory = asyncio.run(main())
    assert trajectory.exit is Exit.SANDBOX_FAILED
    assert trajectory.messages == ()
    assert "is lost" in trajectory.detail


# what a reply does


def test_an_attempt_is_handed_in_when_the_visible_tests_pass(origin: Origin) -> None:
    trajectory = played(origin, GOOD, GOOD)
    assert trajectory.exit is Exit.SUBMITTED
    assert len(trajectory.turns) == 1
    assert b"-    return 3 * number\n+    return 2 * number\n" in trajectory.submission.body


def test_a_single_turn_that_fails_the_tests_is_salvaged(origin: Origin) -> None:
    trajectory = played(origin, GOOD.replace("2", "4"))
    assert trajectory.exit is Exit.TURN_LIMIT
    assert b"+    return 4 * number\n" in trajectory.submission.body
    assert "AssertionError: 16 != 8" in told(trajectory)


def test_what_failed_is_told_and_the_next_reply_takes_its_place(origin: Origin) -> None:
    trajectory = played(origin, GOOD.replace("2", "4"), "Hm.", GOOD)
    assert trajectory.exit is Exit.SUBMITTED
    assert b"+    return 2 * number\n" in trajectory.submission.body
    assert b"4 *" not in trajectory.submission.body


def test_the_function_as_it_was_is_no_answer_later_either(origin: Origin) -> None:
    trajectory = played(origin, GOOD.replace("2", "4"), GOOD.replace("2", "3"), seed=seed_of("twice", origin))
    assert "the same code" in told(trajectory)
    assert b"+    return 4 * number\n" in trajectory.submission.body


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ("```python\ndef twice(number):\n    return 3 * number  # right\n```", "the same code"),
        ('```python\ndef twice(number):\n    """Doc."""\n    return 3*number\n```', "the same code"),
        ("```python\ndef twice(number):\n    return 2 *\n```", "`twice` is not valid Python"),
        ("```python\ndef thrice(number):\n    return 3\n```", "not `thrice`"),
    ],
)
def test_what_cannot_be_put_in_is_told_and_nothing_is_written(origin: Origin, reply: str, words: str) -> None:
    trajectory = played(origin, reply, seed=seed_of("twice", origin))
    assert words in told(trajectory)
    assert trajectory.submission.body == b""


def test_replies_without_code_end_an_attempt(origin: Origin) -> None:
    trajectory = played(origin, *["I am sorry."] * 9)
    assert trajectory.exit is Exit.STOPPED
    assert len(trajectory.turns) == USELESS_IN_A_ROW
    assert "there is no function in the answer" in told(trajectory)


def test_a_function_of_another_name_goes_to_the_only_place_that_has_it(origin: Origin) -> None:
    trajectory = played(
        origin, "```python\ndef half(number):\n    return number // 2\n```", seed=seed_of("twice", origin)
    )
    assert b"+++ b/sums/other.py" in trajectory.submission.body


def seed_of(name: str, origin: Origin) -> int:
    """A seed whose attempt is shown the function of this name."""
    return next(n for n, prompt in enumerate(opened(origin, *range(60))) if drawn(prompt) == name)


# how a reply may be written


@pytest.mark.parametrize(
    "reply",
    [
        "```python\ndef f(x):\n    return x\n```",
        "```\ndef f(x):\n    return x\n```",
        "Sure! Here it is:\n\n```py\ndef f(x):\n    return x\n```\nIt works because:\n- x",
        "```python\ndef f(x):\n    return x\n",
        "def f(x):\n    return x\n\nThis returns x.",
        "The function:\n    def f(x):\n        return x\nand that is all.",
        "```python\n    def f(x):\n        return x\n```",
        "```python\nclass C:\n    def f(x):\n        return x\n```",
        "```python\ndef f(x):\n    return x\n```\n```python\nprint(f(\n```",
        "```python\nreturn x\n```",
        "```python\n    return x\n```",
        "```bash\nls\n```\n```python\ndef f(x):\n    return x\n```",
        "```python\ndef f(x):\n    return x\n```python\nprint(3)\n```",
        "~~~python\ndef f(x):\n    return x\n~~~",
    ],
)
def test_a_function_is_found_however_it_is_written(reply: str) -> None:
    [found] = written_functions(written_code(reply), "def f(x):")
    assert (found.name, found.problem) == ("f", "")
    assert same_code(found.text, "def f(x):\n    return x\n")


@pytest.mark.parametrize(
    "reply", ["", "No.", "```python\nprint(f(3))\n```", "```bash\ndef f(): 0\n```", "``` ```", "\0"]
)
def test_what_is_no_function_is_none(reply: str) -> None:
    assert written_functions(written_code(reply), "def f(x):") == []


def test_a_mistake_in_a_function_does_not_cut_it_down_to_what_is_right() -> None:
    [found] = written_functions(written_code("```python\ndef f(x):\n    x += 1\n    return (x\n```"), "def f(x):")
    assert "line 3" in found.problem


def test_of_a_reply_that_was_cut_only_whole_functions_count() -> None:
    reply = "```python\ndef f(x):\n    return x\n\ndef g(x):\n    y = x"
    assert [one.name for one in written_functions(written_code(reply, cut=True))] == ["f"]
    assert [one.name for one in written_functions(written_code(reply))] == ["f", "g"]
    assert written_code("```python\ndef f(x):\n    y = x", cut=True) == ""


# where a function is put


def put(source: bytes, qualname: str, text: str) -> bytes:
    return with_function(source, qualname, text)


def test_every_function_that_is_found_is_put_back_to_the_byte() -> None:
    for path in [*Path("agent").rglob("*.py"), *Path("envs").rglob("*.py")]:
        source = path.read_bytes()
        for function in find_functions(str(path), source):
            assert with_function(source, function.qualname, function.text) == source


def test_functions_are_found_in_classes_of_classes_with_decorators_and_async() -> None:
    found = {one.qualname: one.text for one in find_functions("plain.py", FILES["sums/plain.py"])}
    assert list(found) == ["twice", "Account.Book.entry", "Account.balance"]
    assert found["Account.Book.entry"].startswith("@staticmethod\ndef entry(")
    assert found["Account.balance"].startswith("async def balance(self):\n    return")


def test_a_method_goes_back_to_its_depth_and_keeps_decorators_that_were_left_out() -> None:
    new = put(FILES["sums/plain.py"], "Account.Book.entry", "def entry(amount: int) -> int:\n  return -amount")
    assert (
        b"        @staticmethod\n        def entry(amount: int) -> int:\n          return -amount\n\n    async" in new
    )
    again = put(new, "Account.Book.entry", "@classmethod\ndef entry(cls):\n    return 0\n")
    assert b"        @classmethod\n        def entry(cls):\n            return 0\n\n    async" in again
    assert b"staticmethod" not in again


def test_line_ends_and_marks_of_a_file_are_kept() -> None:
    source = b"\xef\xbb\xbf# caf\xc3\xa9\r\ndef f(x):\r\n    return x\r\n\r\nY = 1"
    assert put(source, "f", "def f(x):\n    return -x\n") == source.replace(b"return x", b"return -x")


@pytest.mark.parametrize(
    "source",
    [
        b"def f(x):\r\n    return x\n",
        b"def f(x):\n    return '\xff'\n",
        b"def f(:\n",
        b"if x:\n    def f(x): 0\n",
        b"def f(): 0\ndef f(): 1\n",
        b"class C:\n    def f(self):\n        return '''\nx\n'''\n",
        b"x = " + b"(" * 5000,
        b"\0",
    ],
)
def test_what_could_not_be_put_back_is_not_offered(source: bytes) -> None:
    assert find_functions("odd.py", source) == []


def test_a_function_that_would_break_its_file_is_refused() -> None:
    for text in ("def g(x):\n    return x\n", "def f(x:\n", "x = 1"):
        with pytest.raises(ValueError, match="the file would no"):
            put(b"def f(x):\n    return 1\n", "f", text)


# what failing tests say


def test_the_first_failure_is_told_in_two_lines() -> None:
    output = """test_a (t.T.test_a) ... FAIL

======
FAIL: test_a (t.T.test_a)
------
Traceback (most recent call last):
  File "/r/tests/t.py", line 4, in test_a
    self.assertEqual(one(), 2)
    ~~~~~~~~~~~~~~~~^^^^^^^^^^
  File "/r/one.py", line 9, in one
    raise KeyError(1)
KeyError: 1

Ran 1 test
"""
    failure = first_failure(output)
    assert failure.said == "self.assertEqual(one(), 2)\nKeyError: 1"
    assert (failure.path, failure.line) == ("/r/tests/t.py", 4)
    assert "in one\n" in failure.full


def test_what_pytest_marks_is_told_and_of_anything_else_the_end() -> None:
    output = (
        "    def test_a():\n>       assert one() == 2\nE       assert 1 == 2\n\ntests/test_t.py:4: AssertionError\n"
    )
    failure = first_failure(output)
    assert failure.said == "assert one() == 2\nassert 1 == 2"
    assert (failure.path, failure.line) == ("tests/test_t.py", 4)
    assert first_failure("x" * 1000 + "not ok 1").said.endswith("not ok 1")
    assert len(first_failure("x" * 1000).said) < 500


# as a whole


def test_the_main_job_asks_any_server_for_text_alone_and_records_the_scaffold(tmp_path: Path) -> None:
    gold = "def overlaps(self, other: Span) -> bool:\n    return self.start < other.end and other.start < self.end"

    async def job() -> list[Any]:
        async with ChatServer(Answer(body=said(f"```python\n{gold}\n```"))) as server:
            words = f"--model tiny --base-url {server.url} --scaffold repair --ids quick__spans-1 --attempts 2 --run r"
            more = ["--max-turns", "1", "--runs", str(tmp_path), "--sandbox", "local", "--quiet"]
            job = await asyncio.create_subprocess_exec(sys.executable, "-m", "agent.swe", *words.split(), *more)
            assert await job.wait() == 0
            return [request.body for request in server.requests if request.body]

    bodies = asyncio.run(job())
    assert len(bodies) == 2
    assert all(set(body) == {"model", "messages", "seed", "max_tokens", "stop"} for body in bodies)
    store = Store.read(tmp_path / "r")
    assert [row.outcome for row in store.attempts()] == [Outcome.RESOLVED] * 2
    agent, model = store.config["agent"], store.config["model"]
    assert (agent["scaffold"], agent["actions"], agent["tools"]) == ("repair", "function", ["rewrite"])
    assert model["sampling"] == {"max_completion_tokens": bodies[0]["max_tokens"], "stop": bodies[0]["stop"]}
    assert "$function" in agent["prompts"]["repair"]


@pytest.mark.parametrize("model", ["monkey", "replay:gold"])
def test_built_in_models_need_their_tools(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--model", model, "--scaffold", "repair", "--runs", str(tmp_path)]) == 2
    assert f"error: model {model} works with the tools; leave out --scaffold repair" in capsys.readouterr().err
