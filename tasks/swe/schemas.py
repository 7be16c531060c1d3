"""Rows in the schemas of other data sets and of earlier versions, brought to the schema of swebench 5.

Two kinds are brought over, with nothing from the network: SWE-bench's rows of before version 5, whose image follows
from the id and whose test command follows from the repository and its version; and SWE-rebench's, which name both in
`install_config`. A row of a data set that lacks what a verdict needs is refused with what is missing and where it is.

Guarantees: a row that has the schema of swebench 5 stays as it is. The eval script of an older row is, word for word,
the one that the current copies of SWE-bench's data sets have for it.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.swe.harness import parser_of_repository
from tasks.task import TaskError

__all__ = ["END", "GRADED_BY", "START", "current", "is_foreign"]

GRADED_BY = ("image", "eval_script", "log_parser", "eval_type")  # since swebench 5
START, END = ">>>>> Start Test Output", ">>>>> End Test Output"
NEEDED = f"write {', '.join(GRADED_BY)} into each row to use it"


@dataclass(frozen=True, slots=True)
class _Foreign:
    """A data set whose rows cannot be graded by what they hold. `marks` are fields that only its rows have together."""

    name: str
    marks: frozenset[str]
    missing: str


FOREIGN = (
    _Foreign(
        "SWE-bench Pro",
        frozenset({"dockerhub_tag", "selected_test_files_to_run"}),
        "test command and log parser, which are run_script.sh and parser.py of each instance in the folder run_scripts "
        "of github.com/scaleapi/SWE-bench_Pro-os",
    ),
    _Foreign(
        "Multi-SWE-bench",
        frozenset({"org", "number", "fix_patch"}),
        "image, test command and log parser, which the package multi-swe-bench has by repository and number "
        "(github.com/multi-swe-bench/multi-swe-bench)",
    ),
    _Foreign(
        "R2E-Gym",
        frozenset({"docker_image", "expected_output_json"}),
        "base commit, test patch and names of tests: they lie in its images, as run_tests.sh and r2e_tests, and "
        "github.com/R2E-Gym/R2E-Gym reads them",
    ),
    _Foreign(
        "SWE-bench-Live",
        frozenset({"test_cmds", "pull_number"}),
        "image and a log parser of swebench, which github.com/microsoft/SWE-bench-Live has by instance",
    ),
)
SMITH = _Foreign(
    "SWE-smith",
    frozenset({"image_name", "FAIL_TO_PASS"}),
    "base commit, test patch and test command: its bug is a branch of its mirror of the repository, and its commands "
    "are in the package swesmith by repository (github.com/SWE-bench/SWE-smith)",
)


def is_foreign(row: Mapping[str, Any]) -> bool:
    """Whether a row without an instance_id is known to be of another data set of issues."""
    return _foreign(row) is not None


def current(where: str, row: Mapping[str, Any]) -> Mapping[str, Any]:
    """The row in the schema of swebench 5. `where` is its place, for messages. Raises `TaskError`."""
    if all(key in row for key in GRADED_BY) or "test_command" in row:
        return row
    if foreign := _foreign(row):
        raise TaskError(f"{where}: a row of {foreign.name}, which lacks {foreign.missing}; {NEEDED}")
    texts = all(isinstance(row.get(key), str) for key in ("instance_id", "repo", "base_commit", "test_patch"))
    if not texts or any(key in row for key in GRADED_BY):
        return row  # which field is missing is told where all are checked
    found = _of_rebench(where, row) if "install_config" in row else _of_swebench(where, row)
    return {**row, "version": str(row.get("version") or ""), **found}


def _foreign(row: Mapping[str, Any]) -> _Foreign | None:
    if "test_patch" not in row and row.keys() >= SMITH.marks:
        return SMITH
    return next((each for each in FOREIGN if row.keys() >= each.marks), None)


# SWE-bench before version 5

PYTEST, EDITABLE = "pytest -rA", "python -m pip install -e ."
SETUP = "python setup.py install"
RUNTESTS = "./tests/runtests.py --verbosity 2"
DJANGO = f"{RUNTESTS} --settings=test_sqlite --parallel 1"
UTF8 = (
    "export LANG=en_US.UTF-8",
    "export LC_ALL=en_US.UTF-8",
    "export PYTHONIOENCODING=utf8",
    "export LANGUAGE=en_US:en",
)
LOCALE = (
    "sed -i '/en_US.UTF-8/s/^# //g' /etc/locale.gen && locale-gen",
    "export LANG=en_US.UTF-8",
    "export LANGUAGE=en_US:en",
    "export LC_ALL=en_US.UTF-8",
)
NAMED_AFTER = re.compile(r"diff --git a/.* b/(.*)")
# Files of these kinds in a test patch are no tests.
NO_TESTS = (".json", ".png", "csv", ".txt", ".md", ".jpg", ".jpeg", ".pkl", ".yml", ".yaml", ".toml")


@dataclass(frozen=True, slots=True)
class _Recipe:
    """How the tests of a repository are run: `before` prepares the shell, `install` the package."""

    test: str = PYTEST
    install: str = EDITABLE
    before: tuple[str, ...] = ()


RECIPES: Mapping[str, _Recipe] = {
    "astropy/astropy": _Recipe(install="python -m pip install -e .[test] --verbose"),
    "django/django": _Recipe(DJANGO),
    "marshmallow-code/marshmallow": _Recipe(install="python -m pip install -e '.[dev]'"),
    "matplotlib/matplotlib": _Recipe(),
    "mwaskom/seaborn": _Recipe("pytest --no-header -rA", "python -m pip install -e .[dev]"),
    "pallets/flask": _Recipe(),
    "psf/requests": _Recipe(install="python -m pip install ."),
    "pvlib/pvlib-python": _Recipe(install="python -m pip install -e .[all]"),
    "pydata/xarray": _Recipe(),
    "pydicom/pydicom": _Recipe(),
    "pylint-dev/astroid": _Recipe(),
    "pylint-dev/pylint": _Recipe(),
    "pytest-dev/pytest": _Recipe(),
    "pyvista/pyvista": _Recipe(),
    "scikit-learn/scikit-learn": _Recipe(install="python -m pip install -v --no-use-pep517 --no-build-isolation -e ."),
    "sphinx-doc/sphinx": _Recipe("tox --current-env -epy39 -v --", "python -m pip install -e .[test]"),
    "sqlfluff/sqlfluff": _Recipe(),
    "sympy/sympy": _Recipe("PYTHONWARNINGS='ignore::UserWarning,ignore::SyntaxWarning' bin/test -C --verbose"),
}
# Versions whose recipe is another one than that of their repository.
AT_VERSIONS: Sequence[tuple[str, Iterable[str], _Recipe]] = (
    (
        "astropy/astropy",
        ("0.1", "0.2", "0.3", "0.4", "1.1", "1.2", "1.3"),
        _Recipe("pytest -rA -vv -o console_output_style=classic --tb=no", "python -m pip install -e .[test] --verbose"),
    ),
    ("django/django", ("1.4", "1.5", "1.6"), _Recipe(DJANGO, SETUP)),
    ("django/django", ("1.7", "1.8", "1.10", "1.11", "2.0", "2.1", "2.2"), _Recipe(DJANGO, SETUP, UTF8)),
    ("django/django", ("1.9",), _Recipe(RUNTESTS, SETUP, UTF8)),
    ("django/django", ("3.0", "3.1", "3.2"), _Recipe(DJANGO, before=LOCALE)),
    (
        "matplotlib/matplotlib",
        ("3.8", "3.9"),
        _Recipe(install='python -m pip install --no-build-isolation -e ".[dev]"'),
    ),
    (
        "matplotlib/matplotlib",
        ("1.0", "1.1", "1.2", "1.3", "1.4", "1.5", "2.0", "2.1", "2.2"),
        _Recipe(install="python setup.py build; python setup.py install"),
    ),
    ("mwaskom/seaborn", ("0.11",), _Recipe("pytest --no-header -rA")),
)


def _of_swebench(where: str, row: Mapping[str, Any]) -> dict[str, str]:
    """What a row of SWE-bench's older schema lacks."""
    repository, version = row["repo"], str(row.get("version") or "")
    if repository not in RECIPES:
        raise TaskError(
            f"{where}: the row names no {', no '.join(GRADED_BY)}, as SWE-bench's rows before swebench 5, and the test "
            f"command of {repository} is unknown here. Rows of SWE-bench's own sets have these fields in the current "
            "copies on the hub, such as SWE-bench/SWE-bench_Multilingual; for SWE-Gym they are in "
            f"github.com/SWE-Gym/SWE-Bench-Package; {NEEDED}"
        )
    others = (found for name, versions, found in AT_VERSIONS if name == repository and version in versions)
    recipe = next(others, RECIPES[repository])
    return {
        "image": f"swebench/sweb.eval.x86_64.{row['instance_id'].replace('__', '_1776_')}:latest".lower(),
        "eval_script": _conda_script(row, recipe),
        "log_parser": parser_of_repository(repository),
        "eval_type": "pass_and_fail",
    }


def _conda_script(row: Mapping[str, Any], recipe: _Recipe) -> str:
    """The eval script of an image with SWE-bench's environment `testbed`."""
    base, patch = row["base_commit"], row["test_patch"]
    reset = " ".join(["git checkout", base, *NAMED_AFTER.findall(patch)])
    activate = ("source /opt/miniconda3/bin/activate", "conda activate testbed")
    lines = [
        "#!/bin/bash",
        "set -uxo pipefail",
        *activate,
        "cd /testbed",
        *recipe.before,
        "git config --global --add safe.directory /testbed",
        "cd /testbed",
        "git status",
        "git show",
        f"git -c core.fileMode=false diff {base}",
        *activate,
        *([recipe.install] if recipe.install else []),
        reset,
        *_with_tests(patch, [" ".join([recipe.test, *_tests(row["repo"], patch)])]),
        reset,
    ]
    return "\n".join(lines) + "\n"


def _with_tests(patch: str, commands: Sequence[str]) -> list[str]:
    end = "EOF_114329324912"
    return [f"git apply -v - <<'{end}'\n{patch}\n{end}", f": '{START}'", *commands, f": '{END}'"]


def _tests(repository: str, patch: str) -> list[str]:
    """The tests that a test patch names: files, or modules for Django's runner."""
    files = [name for name in NAMED_AFTER.findall(patch) if not name.endswith(NO_TESTS)]
    if repository != "django/django":
        return files
    return [name.removesuffix(".py").removeprefix("tests/").replace("/", ".") for name in files]


# SWE-rebench

LANGUAGE = "LANG=C.UTF-8 LC_ALL=C.UTF-8"


def _of_rebench(where: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """What a row of SWE-rebench lacks; `install_config` has the commands, in both of its versions."""
    setup = row["install_config"]
    if isinstance(setup, str):
        try:
            setup = json.loads(setup)
        except (ValueError, RecursionError):
            setup = None
    image = row.get("docker_image") or row.get("image_name")
    commands = setup.get("test_cmd") if isinstance(setup, Mapping) else None
    commands = [commands] if isinstance(commands, str) else commands
    if not isinstance(setup, Mapping) or not isinstance(commands, list) or not commands:
        raise TaskError(f"{where}: a row of SWE-rebench without test_cmd in its install_config; remove the row")
    if not isinstance(image, str):
        raise TaskError(
            f"{where}: a row of SWE-rebench without an image: it has neither docker_image nor image_name; use its "
            "split filtered, whose images are on Docker Hub, or build the image and write its name there"
        )
    parser = setup.get("log_parser")
    found = {"image": image, "log_parser": parser, "eval_type": "pass_and_fail"}
    if "base_image_name" in setup or "language" in row:  # its version 2, where a repository has a folder of its name
        folder = "/" + row["repo"].rpartition("/")[2]
        lines = [
            "#!/bin/bash",
            "set -uxo pipefail",
            f"cd {shlex.quote(folder)}",
            f"git config --global --add safe.directory {shlex.quote(folder)}",
            *_with_tests(row["test_patch"], commands),
        ]
        return {**found, "eval_script": "\n".join(lines) + "\n", "workdir": folder}
    install = setup.get("install")
    install = install if isinstance(install, str) else " && ".join(install or ())
    recipe = _Recipe(f"{LANGUAGE} {commands[-1]}", f"{LANGUAGE} {install}" if install else "")
    return {**found, "eval_script": _conda_script(row, recipe)}
