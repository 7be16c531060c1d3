"""The spectrum of a repository: which visible tests execute which lines, and which of these tests fail.

Spectrum-based fault localisation: a function that failing tests execute and passing tests do not is suspected most.
coverage.py collects in the sandbox, one context for each test function. Its pure Python files go there as one archive,
outside of the repository, since images seldom hold it. Nothing stays behind, and the tests' own output is kept.

Works where the test command starts unittest or pytest, with a Python that this coverage.py or the sandbox's own runs
on. `collect` gives None everywhere else.
"""

from __future__ import annotations

import io
import math
import re
import shlex
import tempfile
import zipfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from agent.scaffolds.functions import Function
from agent.tools import Workspace
from envs import Command, FileProblem

__all__ = ["Spectrum", "collect", "failed_tests", "measured", "spectrum_of"]

# The start of a test runner in a command, as a module of Python or as a program.
RUNNER = re.compile(
    r"(?<![\w./-])(?:(?P<python>[\w./-]*python[\d.]*(?: +-(?:[WX] ?[^\s-]\S*|(?![WX]|m )[A-Za-z]+))*)"
    r" +-m +(?P<module>pytest|unittest)|(?P<program>pytest|py\.test))(?![\w./-])"
)
OUTSIDE = ""  # as coverage.py names it
SETTINGS = "[run]\ndata_file = {folder}/data\ndynamic_context = test_function\nrelative_files = True\nsource = .\n"
UNITTEST = re.compile(r"^(?:FAIL|ERROR): (\w+) \(([\w.]+)\)", re.MULTILINE)
PYTEST = re.compile(r"^(?:(?:SUB)?FAILED(?:[\[(].*?[\])])*|ERROR) ([^\s:]+\.py)((?:::\w+)+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Spectrum:
    """`executed` holds, by path and line, the tests that executed this line; `failed` are those that fail.

    `OUTSIDE` stands for execution outside of any test function: at import, or in what is set up for tests.
    """

    executed: Mapping[str, Mapping[int, frozenset[str]]]
    tests: frozenset[str]
    failed: frozenset[str]

    @property
    def suspects(self) -> list[str]:
        """The paths of the files of which failing tests execute a line, those with most such lines first."""
        lines = {
            path: sum(not tests.isdisjoint(self.failed) for tests in held.values())
            for path, held in self.executed.items()
        }
        return sorted((path for path in lines if lines[path]), key=lambda path: (-lines[path], path))

    def suspicion(self, function: Function) -> float:
        """Ochiai's coefficient of a function, from 0 to 1: the cosine between its tests and the failing ones.

        Its tests are those that execute a line of its body, which is all of them where setting up does. Source: Abreu,
        Zoeteweij and van Gemund, "An Evaluation of Similarity Coefficients for Software Fault Localization", 2006.
        """
        lines = self.executed.get(function.path, {})
        tests = {test for line in range(function.body, function.last + 1) for test in lines.get(line, ())}
        if OUTSIDE in tests and function.body > function.first:  # the line of its head is executed at import
            tests = set(self.tests)
        tests.discard(OUTSIDE)
        return len(tests & self.failed) / math.sqrt(len(tests) * len(self.failed)) if tests and self.failed else 0.0


async def collect(workspace: Workspace) -> Spectrum | None:
    """Run the visible tests of a sandbox under coverage.py. None if none fails or nothing could be collected."""
    # A module of this name in the repository would be started instead.
    made = await workspace.shell("[ ! -e coverage ] && [ ! -e coverage.py ] && mktemp -d")
    folder = made.output.decode("utf-8", "replace").strip()
    if made.returncode or not folder.startswith("/"):
        return None
    try:
        await workspace.sandbox.write(f"{folder}/settings", SETTINGS.format(folder=folder).encode())
        await workspace.sandbox.write(f"{folder}/coverage.zip", _archive())
        for path in (f"{folder}/coverage.zip", ""):  # the sandbox's own may run on a Python that ours does not
            command = measured(workspace.test_command, f"{folder}/settings", path)
            if command is None:
                return None
            env = {"PYTHONDONTWRITEBYTECODE": "1"}
            done = await workspace.sandbox.run(Command(command, env=env, timeout=workspace.command_seconds))
            if done.timed_out:
                return None
            try:
                data = await workspace.sandbox.read(f"{folder}/data")
            except FileProblem:
                continue
            return spectrum_of(data, done.output.decode("utf-8", "replace"))
        return None
    except FileProblem:
        return None
    finally:
        await workspace.shell(f"rm -rf {shlex.quote(folder)}")


def measured(command: str, settings: str, path: str = "") -> str | None:
    """The test command with its runner started by coverage.py, which is imported from `path` if that is given.

    None if the command starts neither unittest nor pytest in a way that is known here.
    """

    def start(found: re.Match[str]) -> str:
        python, module = found["python"] or "python", found["module"] or "pytest"
        return f"{python} -m coverage run --rcfile={shlex.quote(settings)} -m {module}"

    text, times = RUNNER.subn(start, command, count=1)
    if not times:
        return None
    return f'export PYTHONPATH={shlex.quote(path)}"${{PYTHONPATH:+:$PYTHONPATH}}"; {text}' if path else text


def failed_tests(output: str) -> list[tuple[str, ...]]:
    """The names of the failing tests in an output of unittest or pytest, in parts: modules, class and function."""
    found = []
    for name, inside in UNITTEST.findall(output):
        parts = inside.split(".")
        found.append((*parts, *([] if parts[-1] == name else [name])))  # before Python 3.11 without the function
    for path, names in PYTEST.findall(output):
        found.append((*path.removesuffix(".py").split("/"), *names.removeprefix("::").split("::")))
    return found


def spectrum_of(data: bytes, output: str) -> Spectrum | None:
    """The spectrum in a data file of coverage.py, given the output of the tests. None if no failing test is in it."""
    from coverage import CoverageData
    from coverage.exceptions import CoverageException

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "data"
        file.write_bytes(data)
        held = CoverageData(str(file))
        try:
            held.read()
            everything = frozenset(held.measured_contexts()) - {OUTSIDE}
            same: dict[frozenset[str], frozenset[str]] = {}  # most lines have one of few sets of tests
            executed = {
                path: {
                    line: same.setdefault(tests, tests)
                    for line, tests in ((line, frozenset(by)) for line, by in held.contexts_by_lineno(path).items())
                }
                for path in held.measured_files()
            }
        except CoverageException:
            return None
        finally:
            held.close()
    failing = frozenset(test for parts in failed_tests(output) for test in _of_name(everything, parts))
    return Spectrum(executed, everything, failing) if failing else None


@cache
def _archive() -> bytes:
    """The Python files of coverage.py as one archive, from which Python can import it."""
    import coverage

    root = Path(coverage.__file__).parent
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(root.rglob("*.py")):
            archive.write(file, file.relative_to(root.parent))
    return held.getvalue()


def _of_name(tests: Collection[str], parts: tuple[str, ...]) -> list[str]:
    """The tests of a name, which agree as far as both tell the modules around them.

    A test that a class inherits is known by the class that defines it: then the name of its function decides.
    """

    def agree(test: str) -> bool:
        count = min(test.count(".") + 1, len(parts))
        return count > 1 and tuple(test.split(".")[-count:]) == parts[-count:]

    return [test for test in tests if agree(test)] or [test for test in tests if test.split(".")[-1] == parts[-1]]
