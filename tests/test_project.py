"""The ground: the floors hold, the linters and the type checker pass, the project speaks of itself alone."""

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
def test_a_checker_has_nothing_to_say(command: tuple[str, ...]) -> None:
    done = subprocess.run([BIN / command[0], *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_module_opens_with_what_it_is() -> None:
    modules = [
        path for room in ("agent", "envs", "monkeys", "tasks", "benchmarks") for path in (ROOT / room).rglob("*.py")
    ]
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
