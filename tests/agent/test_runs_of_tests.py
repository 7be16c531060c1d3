"""Which commands of a conversation ran tests."""

from __future__ import annotations

import json
import time

import pytest

from agent.runs_of_tests import runs_of_tests
from agent.trajectory import Message


def called(tool: str, shown: str, **arguments: str) -> list[Message]:
    call = {"id": "1", "function": {"name": tool, "arguments": json.dumps(arguments)}}
    return [
        {"role": "assistant", "content": "I look.", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": shown},
    ]


@pytest.mark.parametrize(
    "command",
    [
        "python -m pytest tests/test_a.py -q",
        "cd src && pytest",
        "cd src\npytest",
        "py.test -k b",
        "python -m unittest discover -v",
        "./tests/runtests.py utils",
        "python manage.py test app",
        "python tests/test_a.py",
        "python3.9 -W error test_a.py",
        "bin/test sympy/core",
        "make test",
        "make -C build check",
        "tox -e py39",
        "npm test",
        "cargo test",
    ],
)
def test_a_command_that_names_a_runner_or_runs_a_test_file_ran_tests(command: str) -> None:
    (run,) = runs_of_tests(called("bash", "test_a ... ok", command=command))
    assert "test_a ... ok" in run


@pytest.mark.parametrize(
    ("tool", "command"),
    [
        ("bash", "ls tests"),
        ("bash", "cat tests/test_a.py"),
        ("bash", "grep -rn test_a ."),
        ("bash", "python setup.py build"),
        ("bash", "git log --oneline"),
        ("bash", "python tool.py tests/test_a.py"),
        ("bash", "python -c 'open(\"tests/test_a.py\")'"),
        ("view", "pytest.ini"),
        ("search", "import pytest"),
        ("edit", "import pytest\npytest.main()"),
    ],
)
def test_looking_at_a_test_is_not_running_it(tool: str, command: str) -> None:
    assert list(runs_of_tests(called(tool, "tests/test_a.py", command=command))) == []


def test_a_call_of_run_tests_ran_tests_and_in_plain_text_the_reply_is_the_command() -> None:
    assert len(list(runs_of_tests(called("run_tests", "1 failed")))) == 1
    text: list[Message] = [
        {"role": "system", "content": "Run pytest."},
        {"role": "user", "content": "It fails; pytest says so."},
        {"role": "assistant", "content": "```bash\npytest -x\n```"},
        {"role": "user", "content": "Result of bash:\ntest_a FAILED"},
        {"role": "assistant", "content": "I would run pytest, but I look.\n```view a.py\n```"},
        {"role": "user", "content": "Result of view:\nx = 1"},
        {"role": "assistant", "content": [{"type": "text", "text": "```run_tests\n```"}]},
        {"role": "user", "content": "Result of run_tests:\n2 passed"},
        {"role": "assistant", "content": "pytest"},
    ]
    assert [run.rpartition("\n")[2] for run in runs_of_tests(text)] == ["test_a FAILED", "2 passed"]


def test_a_call_that_was_not_answered_or_is_no_call_is_read_without_fail() -> None:
    odd: list[Message] = [
        {"role": "assistant", "content": None, "tool_calls": [{"function": None}, {}, {"function": {"name": None}}]},
        {"role": "assistant", "tool_calls": [{"id": "2", "function": {"name": "bash", "arguments": "pytest"}}]},
    ]
    assert list(runs_of_tests(odd)) == ["pytest\n"]


@pytest.mark.parametrize("word", ["test", "make ", "python ", "python -a ", "python -a b ", "-", " "])
def test_a_very_long_command_is_searched_at_once(word: str) -> None:
    command = f"python {word * 100_000}"
    began = time.process_time()
    assert list(runs_of_tests(called("bash", "", command=command))) == []
    assert time.process_time() - began < 5
