"""The scaffold `repair`: one function, one question, one function back. For models too small for tools.

What an attempt is shown is drawn for it alone, by its seed: a function of the repository,
the likelier the more it has to do with the issue and with what the visible tests say. So
many attempts look in many places, and what a small model cannot do (find the place) is left
to their number. The reply replaces that function; when the visible tests then pass, the
attempt is handed in.

Asks nothing of a server but text. Needs Python sources, not Python, in the sandbox.
"""

from __future__ import annotations

import random
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from string import Template
from typing import Any

from agent.models.model import Call
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
# What is looked at of a repository, and what a prompt holds of it.
FILES, FILE_KB, SEARCH_WORDS, LIST_BYTES = 24, 256, 40, 1024 * 1024
FUNCTION_CHARACTERS, TITLE_CHARACTERS, TEST_CHARACTERS = 1800, 200, 2000
LISTED = re.compile(rb"^\./(.+\.py):(\d+)$", re.MULTILINE)
# Places that hold no source of the project's own, and names of tests.
SKIPPED = r"\( -name '.?*' -o -name tests -o -name site-packages \)"
TESTS = r"\( -name 'test_*' -o -name '*_test.py' -o -name conftest.py -o -name setup.py \)"

# What goes wrong, a function, and the same without the mistake. With several before it, an answer is what it
# should be, a copy with a small change.
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
        # A function as long as those that are shown, and no more: small models do not stop by themselves.
        self.sampling: dict[str, Any] = {"max_completion_tokens": 300, "stop": ["\n```\n"]}
        self.body: dict[str, Any] = {}

    async def opening(self, task: Task, workspace: Workspace, call: Call) -> Opening:
        statement = task.problem_statement.strip()
        failure, test = await _failure(workspace)
        seen = f"{failure.full}\n{test}" if failure else ""
        functions = await _functions(workspace, f"{statement}\n{seen}")
        if not functions:
            raise Unsuited(
                f"scaffold repair finds no Python function to show in the repository of {task.id}; "
                "leave the issue out with --ids, or use --scaffold tools"
            )
        [shown] = random.Random(call.seed).choices(functions, weights(functions, statement, seen))
        # What stands last is what a small model writes about, so the function does.
        problem = _title(statement) + (f"\n{failure.said}" if failure and test else "")
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
    """The first failure of the visible tests, and the text of the test where that can be told and is short."""
    done = await visible_tests(workspace)
    if done.timed_out or not done.returncode:
        return None, ""
    failure = first_failure(done.output.decode("utf-8", "replace"))
    return failure, await _test(workspace, failure)


async def _test(workspace: Workspace, failure: Failure) -> str:
    """The text of the test that failed, from the start to what failed; empty if it cannot be told."""
    try:
        source = await workspace.sandbox.read(failure.path) if failure.path else b""
    except FileProblem:
        return ""
    for function in find_functions(failure.path, source):
        if function.first <= failure.line <= function.last:
            return function.text if len(function.text) <= TEST_CHARACTERS else ""
    return ""


def _title(statement: str) -> str:
    """Its first line that says something; more than that draws a small model away from the function."""
    first = next((line for line in statement.splitlines() if re.search(r"\w", line)), "")
    return first.lstrip("# ")[:TITLE_CHARACTERS]


async def _functions(workspace: Workspace, about: str) -> list[Function]:
    """The functions of the sources that share most words with a text, short enough to be shown."""
    functions = []
    for path in await _files(workspace, about):
        try:
            source = await workspace.sandbox.read(path)
        except FileProblem:
            continue
        functions += find_functions(path, source)
    return [function for function in functions if len(function.text) <= FUNCTION_CHARACTERS]


async def _files(workspace: Workspace, about: str) -> list[str]:
    """At most `FILES` Python files, those first in which most lines hold one of the text's words."""
    sought = sorted(words(about), key=len, reverse=True)[:SEARCH_WORDS]
    patterns = " ".join(f"-e {shlex.quote(word)}" for word in sought or ["def"])
    script = (
        f"find . {SKIPPED} -prune -o -type f -name '*.py' ! {TESTS} -size -{FILE_KB}k "
        f"-exec grep -ciHF {patterns} {{}} +"
    )
    done = await workspace.sandbox.run(Command(script, timeout=workspace.command_seconds, output_cap=LIST_BYTES))
    found = [(-int(count), path.decode("utf-8", "replace")) for path, count in LISTED.findall(done.output)]
    return [path for _, path in sorted(found)[:FILES]]
