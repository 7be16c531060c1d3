"""The scaffold `repair`: shows one function and asks for it without the mistake. For models too small for tools.

Each attempt is shown one function of the repository, drawn by its seed in proportion to its relevance to the issue and
to the output of the visible tests. So many attempts look in many places: a small model cannot find the place, and their
number makes up for that. The reply replaces the function; when the visible tests then pass, the attempt is submitted.

Needs a server that answers in text, and Python sources in the sandbox; Python itself is not needed there.
"""

from __future__ import annotations

import random
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from string import Template
from typing import Any

from agent.agent import AttemptScope
from agent.prompts import with_brief
from agent.scaffolds.failures import Failure, first_failure
from agent.scaffolds.functions import Function, find_functions
from agent.scaffolds.relevance import weights, words
from agent.scaffolds.rewrite import FORM, Rewrite, Rewriting, visible_tests
from agent.scaffolds.scaffold import Opening, Unsuited
from agent.tools import Workspace
from agent.trajectory import Message
from envs import Command, FileProblem
from tasks.task import Task

__all__ = ["Repair"]

FOLDER = Path(__file__).parent / "texts"
# How much of a repository is read, and how much of it a prompt holds.
FILES, FILE_KB, SEARCH_WORDS, LIST_BYTES = 24, 256, 40, 1024 * 1024
FUNCTION_CHARACTERS, TITLE_CHARACTERS, TEST_CHARACTERS = 1800, 200, 2000
LISTED = re.compile(rb"^\./(.+\.py):(\d+)$", re.MULTILINE)
# Folders that hold no source of the project, and names of tests.
SKIPPED = r"\( -name '.?*' -o -name tests -o -name site-packages \)"
TESTS = r"\( -name 'test_*' -o -name '*_test.py' -o -name conftest.py -o -name setup.py \)"

# A bug, a function, and the function without the bug. After several of these a small model answers as it should, with a
# copy that has a small change.
EXAMPLE = re.compile(r"Bug: (.*)\n\n```python\n((?:.*\n)+?)```\n\n```python\n((?:.*\n)+?)```")


class Repair:
    """Draws one function for each attempt and asks for it without the mistake."""

    name = "repair"
    form = FORM
    tools = (Rewrite.name,)

    def __init__(self) -> None:
        self.texts: dict[str, str] = {
            path.stem: path.read_text("utf-8").strip() for path in sorted(FOLDER.glob("*.md"))
        }
        # The length of the functions that are shown, and no more: small models do not stop by themselves.
        self.sampling: dict[str, Any] = {"max_completion_tokens": 300, "stop": ["\n```\n"]}
        self.body: dict[str, Any] = {}

    async def opening(self, task: Task, workspace: Workspace, scope: AttemptScope) -> Opening:
        statement = task.statement.strip()
        failure, test = await _failure(workspace)
        seen = f"{failure.full}\n{test}" if failure else ""
        functions = await _functions(workspace, f"{statement}\n{seen}")
        if not functions:
            raise Unsuited(
                f"scaffold repair finds no Python function to show in the repository of {task.id}; "
                "leave the issue out with --ids, or use --scaffold tools"
            )
        [shown] = random.Random(scope.spec.seed).choices(functions, weights(functions, statement, seen))
        # A small model writes about what comes last, so the function comes last.
        problem = with_brief(_title(statement) + (f"\n{failure.said}" if failure and test else ""), scope.spec.brief)
        asked = self._asked(problem, shown.text)
        tool = Rewrite(shown, list(dict.fromkeys(one.path for one in functions)))
        return Opening((*self._examples(), asked), Rewriting(tool, asked["content"]))

    def _examples(self) -> Iterator[Message]:
        for problem, wrong, right in EXAMPLE.findall(self.texts["examples"]):
            yield self._asked(problem, wrong)
            yield {"role": "assistant", "content": self._text("answer", function=right.rstrip())}

    def _asked(self, problem: str, function: str) -> Message:
        return {"role": "user", "content": self._text("repair", problem=problem, function=function.rstrip())}

    def _text(self, prompt: str, /, **fields: str) -> str:
        return Template(self.texts[prompt]).substitute(fields)


async def _failure(workspace: Workspace) -> tuple[Failure | None, str]:
    """The first failure of the visible tests, and the text of that test where it is known and short."""
    done = await visible_tests(workspace)
    if done.timed_out or not done.returncode:
        return None, ""
    failure = first_failure(done.output.decode("utf-8", "replace"))
    return failure, await _test(workspace, failure)


async def _test(workspace: Workspace, failure: Failure) -> str:
    """The text of the test that failed; empty if it is not known or too long."""
    try:
        source = await workspace.sandbox.read(failure.path) if failure.path else b""
    except FileProblem:
        return ""
    for function in find_functions(failure.path, source):
        if function.first <= failure.line <= function.last:
            return function.text if len(function.text) <= TEST_CHARACTERS else ""
    return ""


def _title(statement: str) -> str:
    """The first line with words; more would distract a small model from the function."""
    first = next((line for line in statement.splitlines() if re.search(r"\w", line)), "")
    return first.lstrip("# ")[:TITLE_CHARACTERS]


async def _functions(workspace: Workspace, about: str) -> list[Function]:
    """The functions in the sources that share most words with a text, if short enough to be shown."""
    functions = []
    for path in await _files(workspace, about):
        try:
            source = await workspace.sandbox.read(path)
        except FileProblem:
            continue
        functions += find_functions(path, source)
    return [function for function in functions if len(function.text) <= FUNCTION_CHARACTERS]


async def _files(workspace: Workspace, about: str) -> list[str]:
    """At most `FILES` Python files; first those in which most lines hold a word of the text."""
    sought = sorted(words(about), key=len, reverse=True)[:SEARCH_WORDS]
    patterns = " ".join(f"-e {shlex.quote(word)}" for word in sought or ["def"])
    script = (
        f"find . {SKIPPED} -prune -o -type f -name '*.py' ! {TESTS} -size -{FILE_KB}k "
        f"-exec grep -ciHF {patterns} {{}} +"
    )
    done = await workspace.sandbox.run(Command(script, timeout=workspace.command_seconds, output_cap=LIST_BYTES))
    found = [(-int(count), path.decode("utf-8", "replace")) for path, count in LISTED.findall(done.output)]
    return [path for _, path in sorted(found)[:FILES]]
