"""What is saved of a configuration, and how two that are saved differ."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from monkeys.spec.build import from_values
from monkeys.spec.command_specs import VerifyRunSpec
from monkeys.spec.identity import differences, identity, merged
from monkeys.spec.kinds import Object
from monkeys.spec.option import Place, places
from monkeys.spec.run import RunSpec
from tests.monkeys.spec.values import specs, values_of

SESSION = [place for place in places(RunSpec) if not place.option.saved]
SAVED = [place for place in places(RunSpec) if place.option.saved and not place.option.resolved]
# Each field of an object is a difference of its own.
SAVED = [place for place in SAVED if not isinstance(place.option.kind, Object)]


def test_the_saved_configuration_is_nested_and_holds_identity_alone() -> None:
    assert identity(from_values(RunSpec, {"tasks.ids": ["a"], "model.temperature": 1, "session.workers": 9})) == {
        "tasks": {"set": "quick", "ids": ["a"]},
        "agent": {"options": {}},
        "model": {"name": "monkey", "sampling": {"temperature": 1.0}, "reasoning": "keep", "first_turns": 1},
        "limits": {"tokens": 2_000_000, "seconds": 3600.0, "context": "stop"},
        "sandbox": {
            "platform": "",
            "limits": {"processes": 256, "disk_mb": 1024, "cpus": 2.0, "command_seconds": 120.0, "network": "none"},
        },
        "verify": {"seconds": 1800.0},
        "strategy": {"name": "independent"},
        "seed": 0,
    }


def test_the_order_of_ids_means_nothing() -> None:
    one, other = (identity(from_values(RunSpec, {"tasks.ids": ids})) for ids in (["a", "b"], ["b", "a"]))
    assert differences(one, other) == []
    assert differences(one, identity(from_values(RunSpec, {"tasks.ids": ["a"]})))


def test_a_verification_saves_what_it_has_of_it() -> None:
    spec = from_values(VerifyRunSpec, {"tasks.set": "quick", "sandbox.memory_mb": 99, "verify.calibration": "c.json"})
    assert identity(spec) == {
        "tasks": {"set": "quick", "ids": []},
        "sandbox": {"limits": {"memory_mb": 99}},
        "verify": {"seconds": 1800.0, "unstable": "majority"},
    }


@given(specs(RunSpec))
def test_what_is_saved_is_json_and_differs_from_itself_in_nothing(spec: RunSpec) -> None:
    saved = identity(spec)
    assert differences(json.loads(json.dumps(saved)), saved) == []


@given(st.data(), st.sampled_from(SESSION))
def test_session_options_may_change(data: st.DataObject, place: Place) -> None:
    spec = from_values(RunSpec, {place.path: data.draw(values_of(place.option.kind))})
    assert identity(spec) == identity(RunSpec())


@given(st.data(), st.sampled_from(SAVED))
def test_an_option_that_identifies_a_run_is_named_when_it_differs(data: st.DataObject, place: Place) -> None:
    value = data.draw(values_of(place.option.kind))
    before = identity(RunSpec())
    now = identity(from_values(RunSpec, {place.path: value}))
    assume(before != now)
    assume(place.path != "verify.unstable" and not (place.path == "tasks.suite" and value == "swe"))
    (told,) = differences(before, now)
    assert told.startswith(f"--{place.option.name} ")
    assert differences(now, before) != []


TOLD = [
    ({"limits": {"turns": 40}}, {"limits": {"turns": 8}}, ["--max-turns was 40 and is now 8"]),
    ({}, {"limits": {"window": 9}}, ["--context-window was not set and is now 9"]),
    ({"limits": {"window": None}}, {}, []),
    ({}, {"limits": {"tokens": 2_000_000}, "suite": "swe", "strategy": {"sampling": {"kind": "independent"}}}, []),
    ({"tasks": {"ids": []}}, {"tasks": {"ids": ["a", "b"]}}, ["--ids was not set and is now a b"]),
    ({"seed": 3}, {}, ["--seed was 3 and is now 0"]),
    ({"limits": {"seconds": 3600}}, {"limits": {"seconds": 3600.0}}, []),
    (
        {"model": {"sampling": {"temperature": 0.8}}},
        {"model": {"sampling": {"effort": "low", "think": False, "stop": None}}},
        [
            "--temperature was 0.8 and is now not set",
            "--extra-body effort was not set and is now low",
            "--extra-body think was not set and is now false",
        ],
    ),
    (
        {"agent": {"prompts": {"system": "x" * 99}, "tools": ["bash"], "scaffold": "tools"}},
        {"agent": {"prompts": {"system": "y" * 99}, "tools": ["rewrite"], "scaffold": "repair"}},
        ["--scaffold was tools and is now repair"],
    ),
    (
        {"agent": {"prompts": {"system": "x" * 99}, "tools": ["bash"], "scaffold": "tools"}},
        {"agent": {"prompts": {"system": "y" * 99}, "tools": ["rewrite"], "scaffold": "tools"}},
        ["--tools was bash and is now rewrite", "the prompt system is not the same"],
    ),
    ({"agent": {"scaffold": "repair"}}, {"agent": {"scaffold": "repair", "locate": "words"}}, []),
    (
        {"agent": {"scaffold": "repair"}},
        {"agent": {"scaffold": "repair", "locate": "tests"}},
        ["--locate was words and is now tests"],
    ),
    (
        {"agent": {"scaffold": "tools", "embeddings": "a"}},
        {"agent": {"scaffold": "tools"}},
        ["--embeddings-model was a and is now not set"],
    ),
    (
        {"agent": {"name": "loop", "scaffold": "tools", "actions": "native", "tools": ["bash"]}},
        {"agent": {"name": "oneshot"}},
        ["--agent was loop and is now oneshot"],
    ),
    (
        {"strategy": {"name": "fewest", "first": 5, "sampling": {"kind": "adaptive", "first": 5}}},
        {"strategy": {"name": "fewest", "first": 7, "sampling": {"kind": "adaptive", "first": 7}}},
        ["--first was 5 and is now 7"],
    ),
    (
        {"strategy": {"name": "mine", "depth": 2, "sampling": {"kind": "adaptive", "first": 2}}},
        {"strategy": {"name": "mine", "depth": 3, "sampling": {"kind": "adaptive", "first": 3}}},
        ["--strategy-options depth was 2 and is now 3"],
    ),
    (
        {"strategy": {"name": "mine", "sampling": {"kind": "adaptive", "first": 2}}},
        {"strategy": {"name": "mine", "sampling": {"kind": "adaptive", "first": 3}}},
        ["how attempts are sampled, first was 2 and is now 3"],
    ),
    (
        {"model": {"name": "replay:a", "recording": {"run": "a", "created": 1, "strict": False}}},
        {"model": {"name": "replay:b", "recording": {"run": "b", "created": 2, "strict": True}}},
        ["--model was replay:a and is now replay:b", "--replay-strict was false and is now true"],
    ),
    (
        {"agent": {"options": {"depth": 2}}},
        {"agent": {"options": {}}},
        ["--agent-options depth was 2 and is now not set"],
    ),
    ({"agent": {"name": "loop"}}, {"agent": {"name": "oneshot"}}, ["--agent was loop and is now oneshot"]),
    (
        {"model": {"content": "1a"}},
        {"model": {"content": "2b"}},
        ["the content of the file that --model names was 1a and is now 2b"],
    ),
    ({"model": {"name": "scripted:x"}}, {"model": {"name": "scripted:x", "content": "2b"}}, []),
    ({}, {"model": {"recording": {"strict": True}}}, ["--replay-strict was false and is now true"]),
    ({"model": {"served": {"args": ["-x"]}}}, {}, ["--serve-args was -x and is now not set"]),
    (
        {"strategy": {"name": "fewest", "first": 5}},
        {"strategy": {"name": "variance", "first": 5, "k": 25}},
        ["--strategy was fewest and is now variance"],
    ),
]


@pytest.mark.parametrize(("known", "now", "told"), TOLD)
def test_differences_name_options_and_missing_keys_mean_defaults(known: Any, now: Any, told: list[str]) -> None:
    assert differences(known, now) == told


def test_facts_are_put_over_what_the_options_say() -> None:
    assert merged({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 4, "e": {}}}) == {"a": {"b": 4, "c": 2, "e": {}}, "d": 3}
