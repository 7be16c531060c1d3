"""The configuration as a file: what is written can be read, and a mistake is named with its line."""

from __future__ import annotations

import math
import pickle
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monkeys.spec.build import build
from monkeys.spec.command_specs import CalibrateSpec, PrefetchSpec, VerifyRunSpec
from monkeys.spec.errors import ConfigError
from monkeys.spec.option import places
from monkeys.spec.run import RunSpec
from monkeys.spec.toml_file import parse_toml, read_toml, to_toml
from tests.monkeys.spec.values import specs

KINDS = (RunSpec, VerifyRunSpec, CalibrateSpec, PrefetchSpec)


@given(st.one_of([specs(kind) for kind in KINDS]))
def test_what_is_printed_is_read_as_the_same_configuration(spec: Any) -> None:
    text = to_toml(spec)
    assert build(type(spec), parse_toml(type(spec), text)) == spec


@given(specs(RunSpec))
def test_a_configuration_can_be_sent_to_another_process(spec: RunSpec) -> None:
    assert pickle.loads(pickle.dumps(spec)) == spec


@given(specs(RunSpec))
def test_every_option_is_printed_once(spec: RunSpec) -> None:
    lines = [line.removeprefix("# ") for line in to_toml(spec).splitlines()]
    keys = [line.replace(":", " =").split(" = ")[0] for line in lines if " = " in line or ": " in line]
    for place in places(RunSpec):
        assert place.key in keys


def test_the_printed_defaults_are_a_file_too() -> None:
    text = to_toml(RunSpec())
    keys = [line.removeprefix("# ") for line in text.splitlines()[1:]]
    values = parse_toml(RunSpec, "\n".join(line for line in keys if ": " not in line.partition("=")[0]))
    assert build(RunSpec, values).given == frozenset(values)
    assert {path: value for path, value in values.items() if path == "limits.tokens"} == {"limits.tokens": 2_000_000}


def test_times_lists_and_objects_have_short_forms() -> None:
    text = """
    [limits]
    seconds = "15m"
    [model]
    base_url = "http://one"
    stop = ["a", "b"]
    extra_body = '{"x": null}'
    [server]
    serve_args = "--a 'b c'"
    """
    spec = build(RunSpec, parse_toml(RunSpec, text))
    assert spec.limits.seconds == 900
    assert spec.model.base_url == ("http://one",)
    assert spec.model.sampling == {"stop": ["a", "b"], "x": None}
    assert spec.server.serve_args == ("--a", "b c")


MISTAKES = {
    "[limits]\nturn = 4\n": "f:2: [limits] has no key turn; did you mean turns?",
    "[limits]\n\n# turns = 1\nmax_turns = 4\n": "f:4: [limits] has no key max_turns; did you mean turns?",
    "[limits]\nmax-turns = 4\n": "f:2: [limits] has no key max-turns; did you mean turns?",
    "[limits]\ntemperature = 1\n": "f:2: [limits] has no key temperature; did you mean temperature in [model]?",
    "[limits]\nzzz = 1\n": (
        "f:2: [limits] has no key zzz; its keys are turns, tokens, dollars, seconds, window, context"
    ),
    "[tasks]\nset = 'a'\n[limit]\nturns = 4\n": "f:3: there is no section [limit]; did you mean [limits]?",
    "[budgets.x]\n": "f:1: there is no section [budgets]; did you mean [budget]?",
    "max_turns = 4\n": "f:1: max_turns stands outside of a section; did you mean turns in [limits]?",
    "limits = 4\n": "f:1: limits is a section: write [limits], then its keys",
    "[limits]\nturns = 'many'\n": "f:2: limits.turns: needs a whole number, not a string",
    "[limits]\nturns = 0\n": "f:2: limits.turns: must be at least 1, not 0",
    "[limits]\nturns = true\n": "f:2: limits.turns: needs a whole number, not true or false",
    "[limits]\nseconds = 'soon'\n": "f:2: limits.seconds: 'soon' is no time: give seconds, or a time such as 15m or 2h",
    "[limits]\nseconds = -1\n": "f:2: limits.seconds: -1 is no time: give seconds above 0, or a time such as '15m'",
    "[limits]\ncontext = 'elode'\n": "f:2: limits.context: 'elode' is unknown; choose from stop, elide, summarise",
    "[limits]\ndollars = inf\n": "f:2: limits.dollars: must be a positive number, not inf",
    "[verify]\nenabled = 0\n": "f:2: verify.enabled: needs true or false, not a whole number",
    "[tasks]\nids = [1]\n": "f:2: tasks.ids: needs a string, not a whole number",
    "[tasks]\nids = 1\n": "f:2: tasks.ids: needs a list, each of them a string, not a whole number",
    "[model]\nextra_body = {a = 1979-05-27}\n": ("f:2: model.extra_body: holds a date, for which JSON has no form"),
    "limits = {turns = 0}\n": "f:1: limits.turns: must be at least 1, not 0",
    "limits.turns = 0\n": "f:1: limits.turns: must be at least 1, not 0",
    "[model]\nname = '''\nturns = 0\n[limits]\n'''\n[limits]\nturns = 0\n": (
        "f:7: limits.turns: must be at least 1, not 0"
    ),
    "[limits]\nturns 4\n": "f:2: not TOML: Expected '=' after a key in a key/value pair",
    "[limits]\nturns = 4\nturns = 5\n": "f:3: limits.turns is given twice; give it once",
    "[limits]\nturns = 4\nturns = 5": "f:3: limits.turns is given twice; give it once",
    "[tasks]\nids = ['a']\n\nids = ['a',\n'b']\n": "f:4: tasks.ids is given twice; give it once",
    "[limits]\n[tasks]\n[limits]\nturns = 4\n": "f:3: limits is given twice; give it once",
    "limits.turns = 4\n[limits]\nturns = 5\n": "f:3: limits.turns is given twice; give it once",
    "[limits]\nturns = 4\n[limits.turns]\na = 5\n": "f:3: limits.turns is given twice; give it once",
    "[tasks]\nids = [\n'a'": "f:3: not TOML: Unclosed array",
    "[limits]\n\n[[tasks]]\nset = 'a'\n[[tasks]]\n": (
        "f:3: tasks is a section: write [tasks] once, not [[tasks]], then its keys"
    ),
    "[[limits.turns]]\na = 1\n": "f:1: limits.turns: needs a whole number, not a list",
    "[verify]\nno_verify = true\n": (
        "f:2: [verify] has no key no_verify; did you mean enabled, which says the opposite?"
    ),
    "[verify]\nno_cache = true\n": "f:2: [verify] has no key no_cache; did you mean cache, which says the opposite?",
    "no_verify = true\n": (
        "f:1: no_verify stands outside of a section; did you mean enabled in [verify], which says the opposite?"
    ),
    "[verify]\nverify = false\n": "f:2: [verify] has no key verify; did you mean enabled?",
    "[predictions]\n": "f:1: [predictions] is a section of monkeys verify, not of python -m agent.swe",
    "[limits]\nturns = 2020-01-01\n": "f:2: limits.turns: needs a whole number, not a date",
    "[tasks]\nset = {a = 1}\n": "f:2: tasks.set: needs a string, not a table",
    "[session]\nrun = 'a/b'\n": (
        "f:2: session.run: 'a/b' cannot be a run's name, for it has '/': a name has letters, digits, '.', '_' and '-', "
        "does not begin with '.', and has at most 100 characters; --runs DIR chooses another place"
    ),
}


@pytest.mark.parametrize("text", MISTAKES)
def test_a_mistake_is_one_line_with_the_file_the_line_and_what_would_be_right(text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_toml(RunSpec, text, "f")
    assert str(refused.value) == MISTAKES[text]


def test_a_file_of_another_command_is_told_with_both_commands() -> None:
    said = "f:2: attempts is an option of python -m agent.swe, not of monkeys verify"
    with pytest.raises(ConfigError, match=f"^{said}$"):
        parse_toml(VerifyRunSpec, "[tasks]\nattempts = 3\n", "f")
    with pytest.raises(ConfigError, match=r"^f:1: \[limits\] is a section of python -m agent.swe, not of monkeys cal"):
        parse_toml(CalibrateSpec, "[limits]\nturns = 3\n", "f")


@given(st.sampled_from(places(RunSpec)), st.integers(0, 5), st.booleans())
def test_the_line_of_a_wrong_value_is_found_wherever_it_stands(place: Any, above: int, dotted: bool) -> None:
    table = {"a": [math.nan]} if isinstance(place.standard, dict) else {}
    if table or not isinstance(place.standard, bool | int | float):
        return
    lines = ["# a comment", "", "[session]", 'run = "x = 1"'][: above if above < 3 else 0]
    lines = [line for line in lines if line != "[session]"]
    key = [f"{place.path} = []"] if dotted else [f"[{place.section.name}]", f"{place.key} = []"]
    text = "\n".join([*lines, *key])
    with pytest.raises(ConfigError, match=rf"^f:{len(lines) + len(key)}: {place.path}: needs "):
        parse_toml(RunSpec, text, "f")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^--config .*gone.toml cannot be read \(No such file or directory\)$"):
        read_toml(RunSpec, tmp_path / "gone.toml")
    (tmp_path / "latin.toml").write_bytes(b"# caf\xe9")
    with pytest.raises(ConfigError, match=r"latin.toml cannot be read \(it is not UTF-8\)$"):
        read_toml(RunSpec, tmp_path / "latin.toml")


def test_a_printed_file_is_toml() -> None:
    assert set(tomllib.loads(to_toml(RunSpec()))) == {place.section.name for place in places(RunSpec)}
