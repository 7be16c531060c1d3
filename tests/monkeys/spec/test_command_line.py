"""The command line of a configuration, and which of its sources counts."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from monkeys.spec.build import from_values
from monkeys.spec.command_line import Parser, add_options, spec_of
from monkeys.spec.command_specs import CalibrateSpec, ImagesSpec, PrefetchSpec, RunsSpec, VerifyRunSpec
from monkeys.spec.errors import ConfigError
from monkeys.spec.identity import identity
from monkeys.spec.option import Place, places
from monkeys.spec.run import RunSpec
from tests.monkeys.spec.values import specs

KINDS = (RunSpec, VerifyRunSpec, CalibrateSpec, ImagesSpec, PrefetchSpec, RunsSpec)


def parsed(kind: type, *words: str, **environment: str) -> Any:
    parser = Parser(prog="program")
    add_options(parser, kind)
    return spec_of(kind, parser.parse_args(words), environment)


def words_of(spec: Any) -> list[str]:
    """The command line that gives what the configuration was given."""
    words: list[str] = []
    last: list[str] = []
    for place in places(type(spec)):
        if place.path in spec.given:
            value = getattr(getattr(spec, place.section.name), place.key)
            if place.positional:
                last = ["--", str(value)]
            elif place.option.flag:
                opposite = f"no-{place.option.name}".removeprefix("no-no-")
                words.append(place.label if value != place.option.negative else f"--{opposite}")
            else:
                words += option_words(place, value)
    return [*words, *last]


def option_words(place: Place, value: Any) -> list[str]:
    return [f"{place.label}={value!r}" if isinstance(value, float) else f"{place.label}={value}"]


# What is parsed


@pytest.mark.parametrize("kind", KINDS)
def test_without_words_everything_has_its_default_and_nothing_is_given(kind: Any) -> None:
    required = [place for place in places(kind) if place.required]
    if not required:
        assert parsed(kind) == kind()
        assert parsed(kind).given == frozenset()
        return
    with pytest.raises(ConfigError, match=f"^{required[0].label}.* must be given; --help describes it$"):
        parsed(kind)


@given(specs(RunSpec))
def test_a_command_line_gives_what_it_says_and_no_more(spec: RunSpec) -> None:
    simple = {
        place.path: getattr(getattr(spec, place.section.name), place.key)
        for place in places(RunSpec)
        if place.path in spec.given and not isinstance(place.standard, tuple | dict)
    }
    wanted = from_values(RunSpec, simple)
    assert parsed(RunSpec, *words_of(wanted)) == wanted


def test_options_of_several_values_take_words_and_quoted_words() -> None:
    spec = parsed(RunSpec, "--ids", "a", "b c", "--stop", "END", "--serve-args=--one 1 --two 'x y'")
    assert spec.tasks.ids == ("a", "b c")
    assert spec.model.sampling == {"stop": ["END"]}
    assert spec.server.serve_args == ("--one", "1", "--two", "x y")


def test_kinds_of_feedback_are_names_with_commas_and_none_is_what_is_not_given() -> None:
    assert parsed(RunSpec, "--feedback", "tests:submit, diff,diff").agent.feedback == ("tests:submit", "diff")
    assert parsed(RunSpec, "--feedback", "none").agent.feedback == ()
    assert from_values(RunSpec, {"agent.feedback": ["check", "diff"]}).agent.feedback == ("check", "diff")
    for wrong in ("check,,diff", "", "none,check"):
        with pytest.raises(ConfigError, match=r"holds an empty name|give none alone"):
            from_values(RunSpec, {"agent.feedback": wrong})


def test_a_default_that_is_typed_counts_as_given() -> None:
    assert parsed(RunSpec, "--attempts", "250").given == {"tasks.attempts"}


def test_what_a_variable_sets_is_given_but_not_typed() -> None:
    spec = parsed(RunSpec, "--attempts", "250", MONKEYS_FIRST="3")
    assert spec.given == {"tasks.attempts", "strategy.first"}
    assert spec.typed == {"tasks.attempts"}
    assert from_values(RunSpec, {"limits.turns": 3}).typed == {"limits.turns"}


def test_earlier_names_of_options_go_on_working() -> None:
    assert parsed(RunSpec, "--max-attempt-seconds", "5m").limits.seconds == 300
    assert parsed(RunSpec, "--allocate", "uniform").strategy.name == "independent"
    assert parsed(RunSpec, "--allocate", "stop").strategy.name == "stop"
    assert parsed(RunSpec, MONKEYS_ALLOCATE="uniform").given == {"strategy.name"}


def test_the_model_is_the_one_given_or_the_one_served_or_the_built_in_one() -> None:
    assert parsed(RunSpec).model_name == "monkey"
    assert parsed(RunSpec, "--serve", "folder").model_name == "folder"
    assert parsed(RunSpec, "--serve", "folder", "--model", "name").model_name == "name"


def test_the_body_of_requests_holds_what_is_given_and_the_extra_body_over_it() -> None:
    spec = parsed(RunSpec, "--temperature", "1", "--no-logprobs", "--extra-body", '{"temperature": null, "x": 1}')
    assert spec.model.sampling == {"temperature": None, "x": 1}


@pytest.mark.parametrize("kind", KINDS)
def test_every_option_is_in_the_help_with_a_word_about_it(kind: Any) -> None:
    parser = Parser(prog="program")
    add_options(parser, kind)
    text = parser.format_help()
    assert all(place.label in text and len(place.option.help) > 8 for place in places(kind))
    assert "%(" not in text


def test_no_two_options_have_the_same_name_or_the_same_path() -> None:
    for kind in KINDS:
        names = [name for place in places(kind) for name in place.variables]
        assert len(names) == len(set(names))
        assert len({place.path for place in places(kind)}) == len(places(kind))


# Where it comes from

SOURCES = [
    ("--max-turns", {"MONKEYS_MAX_TURNS": "2"}, "[limits]\nturns = 3", "1", 1),
    ("", {"MONKEYS_MAX_TURNS": "2"}, "[limits]\nturns = 3", "", 2),
    ("", {}, "[limits]\nturns = 3", "", 3),
    ("", {"MONKEYS_MAX_TURNS": ""}, "", "", None),
]


@pytest.mark.parametrize(("option", "environment", "text", "value", "turns"), SOURCES)
def test_the_command_line_is_over_the_environment_over_the_file_over_the_default(
    tmp_path: Path, option: str, environment: Mapping[str, str], text: str, value: str, turns: int | None
) -> None:
    (tmp_path / "c.toml").write_text(text + "\n[session]\nworkers = 9\n")
    words = [option, value] if option else []
    spec = parsed(RunSpec, "--config", str(tmp_path / "c.toml"), *words, **environment)
    assert spec.limits.turns == turns
    assert spec.session.workers == 9
    assert spec.given == {"session.workers", *(["limits.turns"] if turns else [])}


def test_a_flag_can_be_taken_back_on_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("[verify]\nenabled = false\ncache = false\n[session]\novercommit = true\n")
    spec = parsed(RunSpec, "--config", str(tmp_path / "c.toml"), "--verify", "--no-overcommit", MONKEYS_QUIET="1")
    assert (spec.verify.enabled, spec.verify.cache, spec.session.overcommit) == (True, False, False)
    assert spec.session.quiet


def test_required_options_may_come_from_a_file_or_the_environment(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('[predictions]\nsource = "p.jsonl"\n')
    spec = parsed(VerifyRunSpec, "--config", str(tmp_path / "c.toml"), MONKEYS_TASKS="quick")
    assert (spec.predictions.source, spec.tasks.set) == ("p.jsonl", "quick")


def test_print_config_prints_what_can_be_read_and_ends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--model", "m", "--ids", "a", "--no-verify", "--extra-body", '{"a": null}')
    with pytest.raises(SystemExit) as end:
        parsed(RunSpec, *words, "--print-config")
    assert end.value.code == 0
    (tmp_path / "c.toml").write_text(capsys.readouterr().out)
    assert parsed(RunSpec, "--config", str(tmp_path / "c.toml")) == parsed(RunSpec, *words)


def test_print_config_needs_no_argument_that_the_command_needs(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        parsed(VerifyRunSpec, "--print-config")
    assert end.value.code == 0
    assert "[predictions]\n# source: must be given\n" in capsys.readouterr().out


def test_an_id_that_is_given_twice_is_one_id() -> None:
    assert parsed(RunSpec, "--ids", "a", "a", "b", "a").tasks.ids == ("a", "b")
    assert identity(parsed(RunSpec, "--ids", "a", "a")) == identity(parsed(RunSpec, "--ids", "a"))


# Mistakes

MISTAKES = [
    ("--run .", "argument --run: '.' cannot be a run's name, for it begins with '.': a name has letters, digits, "),
    ("--run ../x", "argument --run: '../x' cannot be a run's name, for it has '/'"),
    ("--run /tmp/x", "argument --run: '/tmp/x' cannot be a run's name, for it has '/'"),
    ("--run ~/x", "argument --run: '~/x' cannot be a run's name, for it has '~'"),
    ("--run .hidden", "argument --run: '.hidden' cannot be a run's name, for it begins with '.'"),
    (f"--run {'x' * 300}", f"argument --run: '{'x' * 16}...' cannot be a run's name, for it has 300 characters"),
    ("--attempts 0", "argument --attempts: must be at least 1, not 0"),
    ("--attempts 2.5", "argument --attempts: '2.5' is not a whole number"),
    ("--temperature nan", "argument --temperature: must be a finite number, not nan"),
    ("--cpus 0", "argument --cpus: must be a positive number, not 0"),
    ("--max-cost inf", "argument --max-cost: must be a positive number, not inf"),
    ("--max-time soon", "argument --max-time: 'soon' is no time: give seconds, or a time such as 15m or 2h"),
    ("--max-time m", "argument --max-time: 'm' is no time"),
    ("--recheck 1.5", "argument --recheck: must be a share from 0 to 1, not 1.5"),
    ("--image-quota much", "argument --image-quota: 'much' is not a number of gigabytes"),
    ("--unstable maybe", "argument --unstable: 'maybe' is unknown; choose from majority, exclude, keep"),
    ("--extra-body [1]", "argument --extra-body: '[1]' is not a JSON object"),
    ("--extra-body x", "argument --extra-body: 'x' is not JSON"),
    ('--extra-body {"top_p":NaN}', "argument --extra-body: '{\"top_p\":NaN}' is not JSON (NaN is no"),
    ("--temperature nan", "argument --temperature: must be a finite number, not nan"),
    ("--serve-args=' ", 'argument --serve-args: "\' " is no list of words'),
    ("--frobnicate", "unrecognized arguments: --frobnicate"),
]


@pytest.mark.parametrize(("words", "said"), MISTAKES)
def test_a_mistake_is_one_line_that_names_the_option(words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        parsed(RunSpec, *(words.split(" ", 1) if not words.startswith("--serve-args") else [words]))
    assert end.value.code == 2
    line = capsys.readouterr().err
    assert line.startswith(f"error: {said}")
    assert line.endswith("; `program --help` lists the options\n")
    assert line.count("\n") == 1


@pytest.mark.parametrize(
    "option", ["model", "run", "tasks", "serve", "agent", "strategy", "executor", "sandbox", "suite", "base-url", "ids"]
)
@pytest.mark.parametrize("value", ["", " "])
def test_an_empty_name_is_refused(option: str, value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        parsed(RunSpec, f"--{option}", value)
    assert end.value.code == 2
    line = capsys.readouterr().err
    assert line.startswith(f"error: argument --{option}: is empty; give a name, or leave it out")
    assert line.count("\n") == 1
    path = next(place.path for place in places(RunSpec) if place.option.name == option)
    with pytest.raises(ConfigError, match=f"^{path}: is empty"):
        from_values(RunSpec, {path: value})
    (tmp_path / "c.toml").write_text(f'[{path.partition(".")[0]}]\n{path.partition(".")[2]} = "{value}"\n')
    with pytest.raises(ConfigError, match="is empty; give a name"):
        parsed(RunSpec, "--config", str(tmp_path / "c.toml"))


def test_a_mistake_in_python_names_the_path() -> None:
    with pytest.raises(ConfigError, match=r"^limits.turns: must be at least 1, not 0$"):
        from_values(RunSpec, {"limits.turns": 0})
    with pytest.raises(ConfigError, match=r"^RunSpec has no option 'limits.turn'; did you mean limits.turns\?$"):
        from_values(RunSpec, {"limits.turn": 1})
    wrong = {"ids": {"a"}, "attempts": None, "set": b"x", "seed": (1, 2)}
    types = {"ids": "a set", "attempts": "None", "set": "a bytes", "seed": "a list"}
    for key, value in wrong.items():
        with pytest.raises(ConfigError, match=rf"^tasks.{key}: needs .*, not {types[key]}$"):
            from_values(RunSpec, {f"tasks.{key}": value})
    with pytest.raises(ConfigError, match=r"^model.extra_body: holds a set, for which JSON has no form$"):
        from_values(RunSpec, {"model.extra_body": {"a": {1}}})
    assert from_values(RunSpec, {"tasks.set": Path("x.jsonl"), "tasks.ids": Path("a")}).tasks.set == "x.jsonl"
    assert from_values(RunSpec, {"limits.seconds": "2h", "tasks.ids": ["a"]}).given == {"limits.seconds", "tasks.ids"}


# The environment


def test_a_variable_with_a_wrong_value_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^environment variable MONKEYS_WARM: 'x' is not a whole number$"):
        parsed(RunSpec, MONKEYS_WARM="x")
    with pytest.raises(ConfigError, match=r"^environment variable MONKEYS_QUIET: 'maybe' is neither yes nor no"):
        parsed(RunSpec, MONKEYS_QUIET="maybe")


def test_variables_of_flags_say_yes_or_no_and_those_of_several_values_hold_words() -> None:
    spec = parsed(RunSpec, MONKEYS_NO_VERIFY="yes", MONKEYS_OVERCOMMIT="0", MONKEYS_IDS="a 'b c'")
    assert (spec.verify.enabled, spec.session.overcommit, spec.tasks.ids) == (False, False, ("a", "b c"))
    assert parsed(RunSpec, MONKEYS_NO_VERIFY="0").verify.enabled


def test_the_opposite_of_a_flag_has_a_variable_too() -> None:
    assert not parsed(RunSpec, MONKEYS_VERIFY="0").verify.enabled
    assert parsed(RunSpec, MONKEYS_VERIFY="1").verify.enabled
    assert not parsed(RunSpec, MONKEYS_VERDICT_CACHE="no").verify.cache
    assert not parsed(RunSpec, MONKEYS_NO_OVERCOMMIT="1").session.overcommit
    assert parsed(RunSpec, MONKEYS_NO_OVERCOMMIT="0").session.overcommit
    assert not parsed(RunSpec, MONKEYS_VERIFY="0", MONKEYS_NO_VERIFY="1").verify.enabled
    said = "^environment variables MONKEYS_NO_VERIFY and MONKEYS_VERIFY contradict each other; set one of them$"
    with pytest.raises(ConfigError, match=said):
        parsed(RunSpec, MONKEYS_VERIFY="1", MONKEYS_NO_VERIFY="1")


def test_a_variable_that_sets_nothing_gets_a_warning_whatever_the_command_prints(
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = ("MONKEYS_MAX_TURN", "MONKEYS_PUBLISHED_COUNTS", "MONKEYS_VLLM", "MONKEYS_VLLM_MODEL", "MONKEYS_REPEATS")
    parsed(RunSpec, **dict.fromkeys(names, "1"))
    said = capsys.readouterr().err
    assert said == ("warning: environment variable MONKEYS_MAX_TURN sets no option; did you mean MONKEYS_MAX_TURNS?\n")
    with pytest.raises(SystemExit):
        parsed(RunSpec, "--print-config", MONKEYS_FROBNICATE="1")
    assert capsys.readouterr().err == "warning: environment variable MONKEYS_FROBNICATE sets no option\n"
    parsed(RunSpec, MONKEYS_CONFIG="c.toml")
    assert "name the file with --config" in capsys.readouterr().err
    parsed(RunSpec, "--quiet", MONKEYS_MAX_TURN="1")
    assert capsys.readouterr().err == ""


# The front doors

HEAVY = ["numpy", "scipy", "openai", "docker", "swebench", "rich", "git", "asyncio", "sqlite3"]
HEAVY += ["tomllib", "importlib.metadata", "difflib", "envs.docker", "envs.local", "envs.pool", "tasks"]


@pytest.mark.parametrize("door", ["agent.swe", "monkeys.commands.main"])
def test_help_answers_at_once_because_nothing_heavy_is_imported(door: str) -> None:
    code = (
        "import sys, time\n"
        f"from {door} import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        f"print(sorted(set({HEAVY}) & set(sys.modules)), time.process_time(), file=sys.stderr)"
    )
    spent = []
    for _ in range(5):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        heavy, _, seconds = done.stderr.rpartition(" ")
        assert heavy == "[]"
        spent.append(float(seconds))
    bare = subprocess.run([sys.executable, "-c", "import time; print(time.process_time())"], capture_output=True)
    assert min(spent) - float(bare.stdout) < 0.1
