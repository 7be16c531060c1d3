"""docs/configuration.md: its files are read, its commands work, its messages are the real ones."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest

from agent.swe import main
from monkeys.spec.build import build
from monkeys.spec.errors import ConfigError
from monkeys.spec.run import RunSpec
from monkeys.spec.toml_file import parse_toml, read_toml, to_toml

PAGE = (Path(__file__).parents[3] / "docs" / "configuration.md").read_text()
BLOCKS = re.findall(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for _, name, text in BLOCKS:
        if name:
            Path(name).write_text(text)
    return tmp_path / "study.toml"


def test_the_file_is_read_and_comes_back_the_same(study: Path) -> None:
    spec = build(RunSpec, read_toml(RunSpec, study))
    assert (spec.tasks.attempts, spec.strategy.name, spec.limits.seconds) == (100, "fewest", 900)
    assert build(RunSpec, parse_toml(RunSpec, to_toml(spec))) == spec


def test_the_commands_print_a_configuration(
    study: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = [line for kind, _, text in BLOCKS if kind == "sh" for line in text.splitlines()]
    assert len(commands) == 6
    for command in commands:
        words = shlex.split(command)
        start = words.index("python")
        with monkeypatch.context() as context:
            for name, _, value in (word.partition("=") for word in words[:start]):
                context.setenv(name, value)
            with pytest.raises(SystemExit) as end:
                main(words[start + 3 :])
        assert end.value.code == 0
        said = capsys.readouterr()
        assert said.err == ""
        spec = build(RunSpec, parse_toml(RunSpec, said.out))
        if "study.toml" in command:
            assert spec.limits.turns == (20 if "20" in command else 30)
        assert spec.given


def test_the_messages_are_the_real_ones(study: Path) -> None:
    text = study.read_text()
    wrong = [text.replace("turns = 30", "max_turn = 30"), text.replace('"15m"', '"soon"')]
    (block,) = (text for kind, _, text in BLOCKS if kind == "text")
    for text, line in zip(wrong, block.splitlines(), strict=True):
        with pytest.raises(ConfigError) as refused:
            parse_toml(RunSpec, text, "study.toml")
        assert f"error: {refused.value}" == line


def test_a_wrong_file_is_one_line_and_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "c.toml"
    path.write_text("[limits]\nturn = 1\n")
    assert main(["--config", os.fspath(path), "--runs", os.fspath(tmp_path)]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", f"error: {path}:2: [limits] has no key turn; did you mean turns?\n")
