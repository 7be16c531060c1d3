"""What the copies of one mixed run compare does not tell which of them are true."""

from __future__ import annotations

import secrets
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.swe.altering import EDITS, LEFT, RIGHT, TRUE
from tasks.swe.falsify import Copy, mix
from tasks.swe.mixed_run import Change, Copies, Proof, Proofs, Sources, together

Pair = tuple[Any, Any]
DRAWS = 40


def ran(folder: Path, text: str, copies: Copies, answer: object, seen: Callable[[object, object], object]) -> list[Any]:
    """What `seen` makes of both sides of the comparison in each copy of `test_a`, a test of `answer()` and `same`."""
    mixed = mix(
        f"def test_a():\n    {text}\n",
        copies,
        hidden=frozenset({"test_a"}),
        nonce="0f3a",
        secret_path=str(folder / "secret"),
    )
    Path(mixed.secret_path).write_text(mixed.secret)
    found: list[Any] = []
    space = {"answer": lambda: answer, "assertEqual": lambda left, right: found.append(seen(left, right))}
    exec(compile(mixed.source, "test_a.py", "exec"), space)
    for each in copies["test_a"]:
        space[f"test_a_{each.suffix}" if each.suffix else "test_a"]()  # type: ignore[operator]
    return found


def copies_of_one() -> Copies:
    """The copies of a run of one test, which holds one assertion."""
    changes = {Change(form, 0, edit): {"test_a": "failed"} for form in (RIGHT, LEFT) for edit in range(EDITS)}
    proof = Proof(changes, frozenset({"test_a"}), True, True, last=0, seed=secrets.randbits(62))
    sources = Sources({}, {"test_a": frozenset({"test_a"})}, {})
    return together(Proofs(sources, {"test_a": proof}))


def most(pairs: list[Pair]) -> Pair:
    return Counter(pairs).most_common(1)[0][0]


def rarest(pairs: list[Pair]) -> Pair:
    return Counter(pairs).most_common()[-1][0]


def midmost(pairs: list[Pair]) -> Pair:
    def differences(pair: Pair) -> int:
        return sum(sum(map(str.__ne__, str(pair), str(each))) for each in set(pairs))

    return min(dict.fromkeys(pairs), key=differences)


def beside_another_result(pairs: list[Pair]) -> Pair:
    own = most([(result, None) for result, _ in pairs])[0]
    return own, next((told for result, told in pairs if result != own), most(pairs)[1])


def first(pairs: list[Pair]) -> Pair:
    return pairs[0]


GUESSES = (most, rarest, midmost, beside_another_result, first)


@pytest.mark.parametrize(("answer", "told"), [("six", "seven"), (60, 7000)])
def test_a_guess_at_the_true_value_is_right_by_chance_alone(answer: object, told: object, tmp_path: Path) -> None:
    right = Counter[str]()
    for _ in range(DRAWS):
        pairs = ran(tmp_path, f"assertEqual(answer(), {told!r})", copies_of_one(), answer, lambda *pair: pair)
        right.update(guess.__name__ for guess in GUESSES if guess(pairs) == (answer, told))
    assert all(number < DRAWS / 2 for number in right.values()), right


@pytest.mark.parametrize("text", ["assertEqual(answer(), same)", "assertEqual(same, answer())"])
@pytest.mark.parametrize(
    "told", ["70000", "7.5", "'seven'", "b'seven'", "[7000, 'xy']", "(7000, 1.5)", "{'a': 7000}", "[[7000], ['abc']]"]
)
def test_how_often_a_value_is_held_does_not_tell_a_true_copy(told: str, text: str, tmp_path: Path) -> None:
    copies = [Copy(f"c{number}" if number else "", number, form, 0) for number, form in enumerate([TRUE, RIGHT] * 7)]

    def counts(left: object, right: object) -> list[int]:
        side = right if text.endswith("same)") else left
        items = list(side.values()) if isinstance(side, dict) else side
        inside = [sys.getrefcount(item) for item in items] if isinstance(items, list | tuple) else []
        return [sys.getrefcount(side), *inside]

    found = ran(tmp_path, f"same = {told}\n    {text}", {"test_a": copies}, object(), counts)
    assert len(set(map(str, found))) == 1, found


@pytest.mark.parametrize(
    "told", ["7", "0", "-1", "2.5", "0.0", "1e-9", "10.0", "True", "''", "'a'", "'ab'", "'-'", "'12'", "b'a'", "[7, 7]"]
)
def test_there_are_seven_false_values_and_the_true_one_is_none_of_them(told: str, tmp_path: Path) -> None:
    copies = [Copy(f"c{number}", 1000 + number, RIGHT, 0) for number in range(21)]
    for answer in (eval(told), object()):
        found = ran(tmp_path, f"assertEqual(answer(), {told})", {"test_a": copies}, answer, lambda *pair: pair)
        assert all(left != right for left, right in found)
        assert found[:7] == found[7:14] == found[14:]
