"""The project as a whole: linters, types and import contracts pass; README and CONTRIBUTING tell what is there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent


@pytest.mark.parametrize(
    "command",
    [
        ("lint-imports", "--no-cache"),
        ("ruff", "check", "--no-cache"),
        ("ruff", "format", "--check", "--no-cache"),
        ("mypy", "--no-error-summary"),
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_a_checker_finds_nothing(command: tuple[str, ...]) -> None:
    done = subprocess.run([BIN / command[0], *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_module_opens_with_what_it_is() -> None:
    packages = ("agent", "envs", "monkeys", "tasks", "benchmarks")
    modules = [path for package in packages for path in (ROOT / package).rglob("*.py")]
    ours = [path for path in modules if "repo" not in path.relative_to(ROOT).parts and path.read_text().strip()]
    silent = [str(path) for path in ours if not path.read_text().lstrip().startswith('"""')]
    assert silent == []
    assert len(ours) > 30


def test_what_the_readme_shows_can_be_done() -> None:
    text = (ROOT / "README.md").read_text()
    for block in re.findall(r"```python\n(.*?)```", text, re.S):
        subprocess.run([sys.executable, "-W", "error", "-c", block], cwd=ROOT, check=True, capture_output=True)
    ours = "report show export runs verify calibrate images clean coverage fit predict compare cost select"
    commands = ["agent.swe", "monkeys", "monkeys images prefetch", "monkeys images remove"]
    commands += [f"monkeys {command}" for command in ours.split()]
    known = "".join(
        subprocess.run(
            [sys.executable, "-m", *command.split(), "--help"], cwd=ROOT, check=True, capture_output=True, text=True
        ).stdout
        for command in commands
    )
    own = [line for line in text.splitlines() if "agent.swe" in line or "monkeys " in line]
    options = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", "\n".join(own)))
    assert len(options) >= 10
    assert [option for option in options if option not in known] == []


def test_contributing_names_every_folder_of_tests_and_only_files_that_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    rows = {*re.findall(r"^\| `(tests/[\w/.]+)`", text, re.MULTILINE)}
    files = {path.relative_to(ROOT) for path in (ROOT / "tests").rglob("test_*.py")}
    told = {file for file in files if rows & {str(place) for place in (file, *file.parents)}}
    assert {str(file) for file in files - told} == set(), "add a row to the table of CONTRIBUTING.md"
    named = rows | {*re.findall(r"\b((?:agent|envs|monkeys|tasks|tests|docs)/[\w/]+(?:\.\w+)?)", text)}
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


def test_the_hooks_before_a_commit_fetch_nothing_and_the_workflow_runs_what_anybody_can_run() -> None:
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    assert re.findall(r"repo: *(.*)", hooks) == ["local"]
    assert {*re.findall(r"entry: \.venv/bin/(\S+)", hooks)} == {"ruff", "mypy", "lint-imports"}
    assert ".ci/run" in (ROOT / ".github/workflows/ci.yml").read_text()
