"""Rules that choose one of several candidates to hand in when the verdicts are not known.

A rule is given a task's candidates and which of them were drawn, and returns *the probability that each drawn one is
handed in*. Ties are shared evenly, so that a rule has no randomness of its own. Rules can be composed:

    Random()                                        any of them
    Plurality()                                     the class with the most members: normalised patches, answers
    Best("reward")                                  the highest score: a reward model, P(YES) of a judge
    Plurality("reward")                             the class with the most reward
    Tournament()                                    the most wins when a judge compares them two by two
    Agreement()                                     the set that passes the same tests: members x tests (CodeT)
    Top("regression", 1, Plurality())               of those that break the fewest tests, plurality (Agentless)
    Top("votes", 3, Best("length", least=True))     of the top three by tests' votes the shortest (CodeMonkeys)
    Top("reward", 10, Best("votes"))                hybrid: of ten by a reward model the one most tests pass (R2E-Gym)

Sources: Monkeys arXiv 2407.21787, Agentless 2407.01489, CodeMonkeys 2501.14723, CodeT 2207.10397, R2E-Gym 2504.07164,
SWE-Gym 2412.21139.

The module takes plain arrays. What models or tests say of candidates is in their scores: a rule asks no model itself.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from envs.errors import MonkeysError

__all__ = [
    "Agreement",
    "Best",
    "Candidates",
    "Plurality",
    "Random",
    "Rule",
    "SelectionError",
    "Top",
    "Tournament",
    "classes_of",
    "votes",
]

IntArray: TypeAlias = NDArray[np.int64]
FloatArray: TypeAlias = NDArray[np.float64]
BoolArray: TypeAlias = NDArray[np.bool_]
Value = TypeVar("Value", bound=Hashable)

NOTHING = -1  # the class of an empty submission
_CELLS = 2**21  # numbers held at once by a tournament


class SelectionError(MonkeysError, ValueError):
    """A rule cannot be applied to these candidates; the message says what is missing and how to give it."""


@dataclass(frozen=True)
class Candidates:
    """One task's candidates with their verdicts and scores. Arrays run in parallel, shape (n,)."""

    task: str
    correct: BoolArray
    """The verdicts, for the evaluation alone; no rule looks at them."""
    classes: IntArray | None = None
    """The class of equal candidates that each is in, from 0; -1 for an empty submission. See `classes_of`."""
    scores: Mapping[str, FloatArray] = field(default_factory=dict)
    """Scores by name, the higher the better unless a rule says otherwise; NaN where there is none."""
    preferences: FloatArray | None = None
    """Probability that candidate i is better than j, shape (n, n); NaN where they were not compared."""

    passes: BoolArray | None = None
    """Whether a test passes with a candidate, shape (tests, n); tests that are known before the verdict."""

    def __post_init__(self) -> None:
        if not self.n:
            raise SelectionError(f"{self.task} has no candidates: there is nothing to choose from")
        columns = [("classes", self.classes), *self.scores.items()]
        for name, column in columns:
            if column is not None and column.shape != (self.n,):
                raise SelectionError(f"{self.task}: {name} has shape {column.shape} beside {self.n} candidates")
        if self.passes is not None and (self.passes.ndim != 2 or self.passes.shape[1] != self.n):
            raise SelectionError(f"{self.task}: passes has shape {self.passes.shape} beside {self.n} candidates")
        if self.preferences is not None and self.preferences.shape != (self.n, self.n):
            raise SelectionError(f"{self.task}: preferences must be a table of {self.n} by {self.n} candidates")

    @property
    def n(self) -> int:
        return int(self.correct.size)

    def score(self, name: str) -> FloatArray:
        """The scores of that name. Raises `SelectionError` where there are none."""
        if name not in self.scores:
            there = ", ".join(self.scores) or "none"
            raise SelectionError(f"{self.task} has no scores {name!r} (there are {there}); give them, or another rule")
        return self.scores[name]


class Rule(Protocol):
    """Chooses among the drawn candidates of a task."""

    @property
    def name(self) -> str:
        """What the rule is called in tables and pictures."""

    def weigh(self, task: Candidates, drawn: IntArray, allowed: BoolArray) -> FloatArray:
        """With what probability each drawn candidate is handed in.

        Args:
            task: the candidates.
            drawn: indices of the drawn ones, shape (subsets, k), each at most once in a row.
            allowed: which of them may be chosen, same shape, at least one a row.

        Returns:
            Probabilities of the same shape; each row sums to 1 and is 0 where it is not allowed.
        """


@dataclass(frozen=True)
class Random:
    """Any of them: pass@1."""

    name: str = "random"

    def weigh(self, task: Candidates, drawn: IntArray, allowed: BoolArray) -> FloatArray:
        return _even(allowed)


@dataclass(frozen=True)
class Best:
    """The highest score (the lowest with `least`). One without a score is chosen only where none has any."""

    column: str
    least: bool = False
    title: str = ""

    @property
    def name(self) -> str:
        return self.title or f"{'least' if self.least else 'best'} {self.column}"

    def weigh(self, task: Candidates, drawn: IntArray, allowed: BoolArray) -> FloatArray:
        scores = _scores(task, self.column, self.least, drawn, allowed)
        return _even(allowed & (scores == scores.max(axis=1, keepdims=True)))


@dataclass(frozen=True)
class Top:
    """Of those with the `many` highest scores, and of all that tie with the last of these, what `then` chooses."""

    column: str
    many: int
    then: Rule
    least: bool = False
    title: str = ""

    @property
    def name(self) -> str:
        return self.title or f"top {self.many} {self.column}, {self.then.name}"

    def weigh(self, task: Candidates, drawn: IntArray, allowed: BoolArray) -> FloatArray:
        if self.many < 1:
            raise SelectionError(f"the top {self.many} of the candidates are none: ask for at least 1")
        scores = _scores(task, self.column, self.least, drawn, allowed)
        place = max(0, scores.shape[1] - self.many)
        bar = np.partition(scores, place, axis=1)[:, place, None]
        return self.then.weigh(task, drawn, allowed & (scores >= bar))


@dataclass(frozen=True)
class Plurality:
    """Any member of the class with the most members, or with the largest sum of the scores `weights`.

    Empty submissions have no vote, and win only where all are empty.
    """

    weights: str | None = None
    title: str = ""

    @property
    def name(self) -> str:
        return self.title or ("plurality" if self.weights is None else f"{self.weights}-weighted plurality")

    def weigh(self, task: Candidates, drawn: IntArray, allowed: BoolArray) -> FloatArray:
        if task.classes is None:
            raise SelectionError(f"{task.task} has no classes of equal candidates: give patches or answers to compare")
        classes = task.classes[drawn]
        votes = allowed & (classes >= 0)
        weight: Any = None
        if self.weights is not None:
            scores = task.score(self.weights)
            if (scores < 0).any():
                raise SelectionError(
                    f"{task.task}: {self.weights} has scores below 0, and many bad members would make a class worse; "
                    "map them to [0, 1] first, by a logistic function for example"
                )
            weight = np.nan_to_num(scores)[drawn][votes]
        rows, many = drawn.shape[0], int(classes.max(initial=0)) + 1
        cell = np.arange(rows)[:, None] * many + np.maximum(classes, 0)
        totals = np.bincount(cell[votes], weight, rows * many).reshape(rows, many)
        own = np.where(votes, np.take_along_axis(totals, np.maximum(classes, 0), axis=1), -1.0)
        most = own.max(axis=1, keepdims=True)
        return _even(np.where(most < 0, allowed, votes & (own == most)))


@dataclass(frozen=True)
class Agreement:
    """Any member of the set that passes the same tests whose tests times root of members are most: dual execution
    agreement.

    A candidate is likelier to be right the more others behave as it does, and the more tests it passes. The root is
    that of CodeT's own figures: without it many candidates that fail alike outweigh a few that pass more tests.
    """

    name: str = "agreement"

    def weigh(self, task: Candidates, drawn: IntArray, allowed: BoolArray) -> FloatArray:
        if task.passes is None:
            raise SelectionError(
                f"{task.task} has no outcomes of tests: give a column passes, a list for each candidate"
            )
        _, alike = np.unique(task.passes, axis=1, return_inverse=True)
        # The square of tests times root of members, in whole numbers: a sum over the members of their tests squared.
        sets = replace(task, classes=alike.ravel(), scores={"tests": votes(task.passes) ** 2})
        return Plurality("tests").weigh(sets, drawn, allowed)


@dataclass(frozen=True)
class Tournament:
    """The most wins when each is compared with each other; two that were not compared are even."""

    name: str = "tournament"

    def weigh(self, task: Candidates, drawn: IntArray, allowed: BoolArray) -> FloatArray:
        if task.preferences is None:
            raise SelectionError(f"{task.task} has no preferences: a tournament needs a judge's comparisons")
        better = np.nan_to_num(task.preferences, nan=0.5)
        np.fill_diagonal(better, 0.0)
        wins = np.empty(drawn.shape)
        rows = max(1, _CELLS // drawn.shape[1] ** 2)
        for start in range(0, drawn.shape[0], rows):
            part = slice(start, start + rows)
            some = drawn[part]
            met = better[some[:, :, None], some[:, None, :]] * allowed[part][:, None, :]
            wins[part] = np.round(met.sum(axis=2), 9)  # sums of the same numbers in another order are a tie
        wins = np.where(allowed, wins, -1.0)
        return _even(allowed & (wins == wins.max(axis=1, keepdims=True)))


def classes_of(values: Sequence[Value | None], equivalent: Callable[[Value, Value], bool] | None = None) -> IntArray:
    """The class of each value, numbered by first appearance; -1 for None and for empty ones.

    Equal values are of one class. With `equivalent`, so are values that it says are the same as the first of a class:
    one call for each distinct value and class, for it may be slow.
    """
    numbers: dict[Value, int] = {}
    firsts: list[Value] = []

    def number(value: Value) -> int:
        if value not in numbers:
            alike = range(len(firsts)) if equivalent else ()
            found = next((at for at in alike if equivalent and equivalent(firsts[at], value)), len(firsts))
            if found == len(firsts):
                firsts.append(value)
            numbers[value] = found
        return numbers[value]

    return np.array([NOTHING if value is None or value == "" else number(value) for value in values], np.int64)


def votes(passes: ArrayLike, before: ArrayLike | None = None) -> FloatArray:
    """Each candidate's votes: how many tests pass with it.

    Args:
        passes: whether a test passes with a candidate, shape (tests, candidates); visible tests, or ones that models
            wrote. False where it could not be run.
        before: whether each test passes without any change, shape (tests,). Those that do show nothing of the issue and
            have no vote, as in CodeMonkeys (arXiv 2501.14723).
    """
    table = np.asarray(passes, dtype=np.bool_)
    if table.ndim != 2:
        raise SelectionError(f"passes has shape {table.shape}: a row a test and a column a candidate are needed")
    if before is not None:
        idle = np.asarray(before, dtype=np.bool_)
        if idle.shape != table.shape[:1]:
            raise SelectionError(f"before has shape {idle.shape} beside {table.shape[0]} tests: one value a test")
        table = table[~idle]
    return np.asarray(table.sum(axis=0), dtype=np.float64)


def _scores(task: Candidates, column: str, least: bool, drawn: IntArray, allowed: BoolArray) -> FloatArray:
    """The scores of the drawn ones, the higher the better; minus infinity for one without a score or not allowed."""
    scores = task.score(column)
    known = np.where(np.isnan(scores), -np.inf, -scores if least else scores)[drawn]
    return np.asarray(np.where(allowed, known, -np.inf))


def _even(chosen: BoolArray) -> FloatArray:
    return np.asarray(chosen / chosen.sum(axis=1, keepdims=True), dtype=np.float64)
