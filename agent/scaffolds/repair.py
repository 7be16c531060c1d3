"""The scaffold `repair`: shows one function and asks for it without the mistake. For models too small for tools.

Each attempt is shown one function of the repository, drawn by its seed in proportion to its relevance to the issue and
to the output of the visible tests, and to how much more failing tests execute it than passing ones. So many attempts
look in many places: a small model cannot find the place, and their number makes up for that. The reply replaces the
function; when the visible tests then pass, the attempt is submitted.

Needs a server that answers in text, and Python sources in the sandbox. Where Python is not there, or no visible test
fails, the words of the issue alone decide.
"""

from __future__ import annotations

import asyncio
import random
import re
import shlex
from collections import defaultdict
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from string import Template
from typing import Any

from agent.agent import AttemptScope
from agent.prompts import with_brief
from agent.scaffolds.failures import Failure, first_failure
from agent.scaffolds.functions import Function, find_functions
from agent.scaffolds.relevance import suspected, weights
from agent.scaffolds.rewrite import FORM, Rewrite, Rewriting, visible_tests
from agent.scaffolds.scaffold import Opening, Unsuited
from agent.scaffolds.spectrum import Spectrum, collect
from agent.tools import Workspace
from agent.trajectory import Message
from agent.words import words
from envs import Command, FileProblem
from tasks.task import Task

__all__ = ["Repair"]

FOLDER = Path(__file__).parent / "texts"
# How much of a repository is read, and how much of it a prompt holds.
FILES, FILE_KB, SEARCH_WORDS, LIST_BYTES = 24, 256, 40, 1024 * 1024
FUNCTION_CHARACTERS, SHORT_CHARACTERS, TITLE_CHARACTERS, TEST_CHARACTERS = 1800, 300, 200, 2000
LISTED = re.compile(rb"^\./(.+\.py):(\d+)$", re.MULTILINE)
# Folders that hold no source of the project, and names of tests.
SKIPPED = r"\( -name '.?*' -o -name tests -o -name site-packages \)"
TESTS = r"\( -name 'test_*' -o -name '*_test.py' -o -name conftest.py -o -name setup.py \)"

IS_TEST = re.compile(r"(?:^|/)(?:\..*|tests|site-packages|test_[^/]*|[^/]*_test\.py|conftest\.py|setup\.py)(?:/|$)")

NOT_MEASURED = "the function was drawn by words alone: coverage.py could not run the visible tests in this sandbox"
# A bug, a function, and the function without the bug. After several of these a small model answers as it should, with a
# copy that has a small change.
EXAMPLE = re.compile(r"Bug: (.*)\n\n```python\n((?:.*\n)+?)```\n\n```python\n((?:.*\n)+?)```")


class Repair:
    """Draws one function for each attempt and asks for it without the mistake.

    `locate` is "tests" or "words": whether what failing visible tests execute counts beside the words of the issue.
    Raises `Unsuited`.
    """

    name = "repair"
    form = FORM
    tools = (Rewrite.name,)

    def __init__(self, locate: str = "tests") -> None:
        if locate == "tests" and find_spec("coverage") is None:
            raise Unsuited(
                "scaffold repair finds functions by what failing tests execute with the package coverage, which is not "
                "installed here; install it: pip install 'coding-monkeys[small]', or give --locate words"
            )
        self.options: dict[str, Any] = {"locate": locate}
        # The base is the same for every attempt at a task, so its tests are measured once.
        self._spectra: dict[str, Spectrum | None] = {}
        self._measuring: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
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
        spectrum = await self._spectrum(task, workspace, scope) if failure else None
        functions = await _functions(workspace, f"{statement}\n{seen}", spectrum.suspects if spectrum else ())
        if not functions:
            raise Unsuited(
                f"scaffold repair finds no Python function to show in the repository of {task.id}; "
                "leave the issue out with --ids, or use --scaffold tools"
            )
        chances = weights(functions, statement, seen)
        if spectrum:
            chances = suspected(chances, [spectrum.suspicion(function) for function in functions])
        [shown] = random.Random(scope.spec.first_seed).choices(functions, chances)
        # A small model writes about what comes last, so the function comes last.
        problem = with_brief(_summary(statement) + (f"\n{failure.said}" if failure and test else ""), scope.spec.brief)
        asked = self._asked(problem, shown.text)
        tool = Rewrite(shown, list(dict.fromkeys(one.path for one in functions)))
        return Opening((*self._examples(), asked), Rewriting(tool, asked["content"]))

    async def _spectrum(self, task: Task, workspace: Workspace, scope: AttemptScope) -> Spectrum | None:
        if self.options["locate"] != "tests":
            return None
        async with self._measuring[task.id]:
            if task.id not in self._spectra:
                self._spectra[task.id] = await collect(workspace)
        if self._spectra[task.id] is None:
            scope.remark = NOT_MEASURED
        return self._spectra[task.id]

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


def _summary(statement: str) -> str:
    """A short statement in one line, or else its first line with words: more would distract a small model."""
    lines = [line for line in statement.splitlines() if re.search(r"\w", line)]
    if len(statement) <= SHORT_CHARACTERS:
        return " ".join(line.strip("# ") if line[-1] in ".!?:" else f"{line.strip('# ')}." for line in lines)
    return next(iter(lines), "").lstrip("# ")[:TITLE_CHARACTERS]


async def _functions(workspace: Workspace, about: str, suspects: Sequence[str] = ()) -> list[Function]:
    """The functions in the suspected sources and in those that share most words with a text, if short enough."""
    functions = []
    paths = [path for path in suspects if path.endswith(".py") and not IS_TEST.search(path)]
    for path in list(dict.fromkeys((*paths, *await _files(workspace, about))))[:FILES]:
        try:
            source = await workspace.sandbox.read(path)
        except FileProblem:
            continue
        functions += find_functions(path, source)
    return [function for function in functions if len(function.text) <= FUNCTION_CHARACTERS]


def searched_words(about: str) -> list[str]:
    """The longest words of a text; of equally long ones the first by name, so that every process searches for them."""
    return sorted(words(about), key=lambda word: (-len(word), word))[:SEARCH_WORDS]


async def _files(workspace: Workspace, about: str) -> list[str]:
    """At most `FILES` Python files; first those in which most lines hold a word of the text."""
    sought = searched_words(about)
    patterns = " ".join(f"-e {shlex.quote(word)}" for word in sought or ["def"])
    script = (
        f"find . {SKIPPED} -prune -o -type f -name '*.py' ! {TESTS} -size -{FILE_KB}k "
        f"-exec grep -ciHF {patterns} {{}} +"
    )
    done = await workspace.sandbox.run(Command(script, timeout=workspace.command_seconds, output_cap=LIST_BYTES))
    found = [(-int(count), path.decode("utf-8", "replace")) for path, count in LISTED.findall(done.output)]
    return [path for _, path in sorted(found)[:FILES]]
