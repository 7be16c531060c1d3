"""Mixed runs: which copies of which tests a run holds, and what its log must then show.

`Proofs` says what is known of a task's falsified tests from runs with the known solution. `together` and `apart` draw,
by secret chance, the copies of one run: all of them in one process, or a single one of each test where a test cannot
run twice in one. `judge` reads the result.

A false copy alters one assertion, so that the others of its test are examined too: for the most part that at which the
test fails without a solution. Chance decides which copies are true. A false value is one of seven, the same for each
copy of a test, and a true copy is as rare as each of them. So a patch that sees all that the copies compare before it
decides which of them pass must still guess which value is the true one.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tasks.swe.altering import AT_THE_END, EDITS, EVERY, FROM, LEFT, RIGHT, SHARES, TRUE, WIDE_LEFT, WIDE_RIGHT
from tasks.swe.falsify import Copy, MixedFile, function_of, mix, named_tests, renamed

__all__ = [
    "AT_END",
    "AT_END_ONLY",
    "FAILING",
    "MOST_FALSIFIED",
    "MOST_OTHERS",
    "NO_STRICT",
    "TRUTH",
    "Change",
    "Copies",
    "Proof",
    "Proofs",
    "Sources",
    "apart",
    "at_every_try",
    "expected_proofs",
    "failing_places",
    "ids_in",
    "is_covered",
    "judge",
    "judge_proof",
    "proving",
    "single",
    "together",
]

MOST_FALSIFIED = 40  # FAIL_TO_PASS functions of which a run has several copies
MOST_OTHERS = 40  # PASS_TO_PASS functions of which a run has several copies
MOST_PLACES = 3  # at which one function fails without a solution; a parametrised test may have more
COPIES = {1: 16, 2: 10, 3: 6, 4: 5, 5: 4}  # of each function, by how many there are; 3 where there are more
APART_RUNS = {1: 10, 2: 6}  # by how many functions there are, so that a coin seldom passes them all; 4 for more
FAILING = ("failed", "error")
NO_STRICT = "no FAIL_TO_PASS test could be falsified: beyond the screen this is the official verdict"
"""The flag of a verdict that goes no further than the task's own tests do."""
AT_END_ONLY = (
    "falsified at its end only: no assertion of a FAIL_TO_PASS test could be altered, so an object that equals "
    "everything would not be found out"
)
"""The flag of a verdict that finds tests which are not run or whose failures are swallowed, and nothing else."""


class Change(NamedTuple):
    """What makes a copy false: its form, the place of the assertion that is altered, and which near value is taken."""

    form: int
    place: int
    edit: int = 0

    @classmethod
    def drawn(cls, form: int, place: int) -> Change:
        """A change to any of the near values."""
        return cls(form, place, secrets.randbelow(EDITS))


TRUTH = Change(TRUE, EVERY)
AT_END = Change(AT_THE_END, EVERY)
LEVELS = ((RIGHT, LEFT), (WIDE_RIGHT, WIDE_LEFT), (AT_THE_END,))
"""Forms by how hard they are to tell from a true one: a later level is used where no earlier one is proved."""

Copies = Mapping[str, Sequence[Copy]]
"""The copies of each test function, by its name."""


@dataclass(frozen=True, slots=True)
class Sources:
    """The Python files of a task's hidden tests, and the expected tests in them by the name of their function."""

    files: Mapping[str, str]
    fail_to_pass: Mapping[str, frozenset[str]]
    """Expected ids, FAIL_TO_PASS and PASS_TO_PASS, of each function that has one of FAIL_TO_PASS."""
    others: Mapping[str, frozenset[str]]
    """Those of each function that has PASS_TO_PASS tests alone."""

    @classmethod
    def of(cls, files: Mapping[str, str], fail_to_pass: Sequence[str], pass_to_pass: Sequence[str]) -> Sources:
        """Find the expected tests in these files. Files that are not Python of this version are left out."""
        readable: dict[str, str] = {}
        functions: dict[str, str] = {}
        for path, text in files.items():
            try:
                tests = named_tests(text)
                compile(text, path, "exec", dont_inherit=True)
            except (SyntaxError, ValueError, RecursionError):
                continue
            readable[path] = text
            functions |= {name: function for function, names in tests.items() for name in names}
        ids: dict[str, set[str]] = {}
        for test in (*fail_to_pass, *pass_to_pass):
            function = functions.get(function_of(test)) or functions.get(test.strip())
            if function:
                ids.setdefault(function, set()).add(test)
        first = {function for function, tests in ids.items() if not tests.isdisjoint(fail_to_pass)}
        return cls(
            readable,
            {function: frozenset(tests) for function, tests in ids.items() if function in first},
            {function: frozenset(tests) for function, tests in ids.items() if function not in first},
        )

    def ids(self, function: str) -> frozenset[str]:
        """The expected tests that this function makes."""
        return self.fail_to_pass.get(function) or self.others[function]

    def write(
        self, copies: Copies, hidden: Collection[str], trace_path: str = "", *, alone: bool = False
    ) -> dict[str, MixedFile]:
        """The mixed files, by path; see `tasks.swe.falsify.mix`."""
        return {
            path: mix(
                text,
                copies,
                hidden=frozenset(hidden),
                alone=alone,
                nonce=secrets.token_hex(4),
                secret_path=f"/tmp/{secrets.token_hex(8)}",
                trace_path=trace_path,
            )
            for path, text in self.files.items()
        }


@dataclass(frozen=True, slots=True)
class Proof:
    """What runs with the known solution have shown of one test function.

    `changes` gives, for each that makes it fail, the status of each expected id that does; "" is either failure.
    `passing` are the ids whose true copies pass. `repeats` says whether they do so again and again in one process.
    `places` are those of the assertions at which it fails without a solution, as far as they are known, and `last` is
    that of the last one. `again` are those that it tries again until they hold, so that a single false one fails
    nothing. `seed` starts the chance by which its values are altered, as it did in the runs that prove it.
    """

    changes: Mapping[Change, Mapping[str, str]]
    passing: frozenset[str]
    repeats: bool
    hidden: bool
    places: frozenset[int] = frozenset()
    last: int = EVERY
    seed: int = 0
    again: frozenset[int] = frozenset()

    @property
    def best(self) -> list[Change]:
        """The changes that are used: at each place the nearest that are proved, none before the first of `places`.

        Without any, the one at the end; empty if not even that is proved.
        """
        first = min(self.places, default=0)
        found: dict[int, list[Change]] = {}
        for level in LEVELS[:-1]:
            at_level: dict[int, list[Change]] = {}
            for each in self.changes:
                if each.form in level and not EVERY < each.place < first:
                    at_level.setdefault(each.place, []).append(each)
            found = at_level | found
        return sorted(each for some in found.values() for each in some) or [AT_END] * (AT_END in self.changes)

    @property
    def alters(self) -> bool:
        """Whether an assertion is altered, and the test is not only made to fail at its end."""
        return any(each.form != AT_THE_END for each in self.best)

    @property
    def sharpest(self) -> list[Change]:
        """The best changes at the places where it fails without a solution, or else all of the best."""
        return [each for each in self.best if each.place % FROM in self.places] or self.best


@dataclass(frozen=True, slots=True)
class Proofs:
    """The proofs of a task's tests, by the name of the function.

    `left_out` are FAIL_TO_PASS functions of which nothing was tried, since chance drew others.
    """

    sources: Sources
    of: Mapping[str, Proof] = field(default_factory=dict)
    left_out: frozenset[str] = frozenset()

    @property
    def falsified(self) -> list[str]:
        """The FAIL_TO_PASS functions that can be falsified."""
        return [name for name in self.sources.fail_to_pass if name in self.of and self.of[name].best]

    @property
    def repeating(self) -> list[str]:
        """Those of them that can run several times in one process."""
        return [name for name in self.falsified if self.of[name].repeats]

    def flags(self, fail_to_pass: Collection[str]) -> tuple[str, ...]:
        """What a reader of a verdict must know of how far it goes."""
        wanted = frozenset(fail_to_pass)
        altered = wanted & self._ids([name for name in self.falsified if self.of[name].alters])
        at_end = (wanted & self._ids(self.falsified)) - altered
        left_out = wanted & self._ids(self.left_out)
        bare = wanted - altered - at_end - left_out
        if not altered and not at_end:
            return (NO_STRICT,)
        found = [AT_END_ONLY] if not altered else []
        of = f"of {len(wanted)} tests"
        if altered and at_end:
            found.append(f"{len(at_end)} {of} falsified at the end only")
        if bare:
            found.append(f"{len(bare)} {of} could not be falsified")
        if left_out:
            found.append(f"{len(left_out)} {of} left out by chance, since no more are falsified at a time")
        return tuple(found)

    def _ids(self, functions: Collection[str]) -> frozenset[str]:
        return frozenset(test for name in functions for test in self.sources.fail_to_pass[name])

    def write(self, copies: Copies) -> dict[str, MixedFile]:
        """The mixed files of a run with these copies, by path."""
        return self.sources.write(copies, [name for name in copies if self.of[name].hidden])


def _copies(changes: Sequence[Change], seed: int, *, own_name: bool = True) -> tuple[Copy, ...]:
    """Copies in the order in which runners take them: the test itself first, if `own_name`, then by name."""
    chance = secrets.SystemRandom()
    names = {""} if own_name else set()
    while len(names) < len(changes):
        names.add("".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=5)))
    return tuple(
        Copy(name, chance.randrange(1 << 27) * EDITS + each.edit, each.form, each.place, seed)
        for name, each in zip(sorted(names), changes, strict=True)
    )


def single(changes: Mapping[str, Change], seeds: Mapping[str, int] | None = None) -> Copies:
    """One copy of each of these functions."""
    return {name: _copies([change], (seeds or {}).get(name, 0)) for name, change in changes.items()}


def proving(functions: Collection[str], others: Collection[str], places: Mapping[str, Collection[int]]) -> Copies:
    """The copies of a run with the known solution: false ones between two true ones.

    False at the `places` where a function fails without a solution, at some spread over it, and at its end.
    """
    chance = secrets.SystemRandom()
    count, edits = _how_many(functions)
    plan: dict[str, tuple[Copy, ...]] = {}
    for name in functions:
        # All near values in turn, and far ones between, since not every near one fails an assertion.
        edits_in_turn = chance.sample(range(EDITS), EDITS)
        changes = [
            Change(chance.choice(LEVELS[share % 5 == 4]), EVERY - 1 - share, edits_in_turn[share % EDITS])
            for share in sorted(chance.sample(range(SHARES), count))
        ]
        for place in sorted(places.get(name, ()))[:MOST_PLACES]:
            changes += _all_at(place, edits)
        plan[name] = _copies([TRUTH, *changes, AT_END, TRUTH], secrets.randbits(62))
    for name in others:
        false = Change.drawn(chance.choice((RIGHT, LEFT)), EVERY)
        plan[name] = _copies([TRUTH, false, TRUTH], secrets.randbits(62))
    return plan


def at_every_try(proofs: Mapping[str, Proof]) -> Copies:
    """The copies of a run of these functions that are false from the first assertion on that is tried again."""
    _, edits = _how_many(proofs)
    return {
        name: _copies([TRUTH, *_all_at(FROM + min(proof.again), edits), TRUTH], proof.seed)
        for name, proof in proofs.items()
    }


def _how_many(functions: Collection[str]) -> tuple[int, int]:
    """At how many shares of each of these functions a proving run is false, and by how many values at one place."""
    if len(functions) < 6:
        return SHARES, EDITS
    return (SHARES // 2, EDITS // 2) if len(functions) < 16 else (SHARES // 4, 1)


def _all_at(place: int, edits: int) -> list[Change]:
    """The changes that a proving run makes at one place: of so many near values, and far ones."""
    near = secrets.SystemRandom().sample(range(EDITS), edits)
    return [
        *(Change(form, place, edit) for form in LEVELS[0] for edit in near),
        *(Change.drawn(form, place) for form in LEVELS[1]),
    ]


def expected_proofs(
    sources: Sources, copies: Copies, *, hidden: Collection[str], places: Mapping[str, frozenset[int]]
) -> Proofs | None:
    """What a proving run with these copies proves if the known solution passes and fails all of them as it should.

    None if a FAIL_TO_PASS function has no place at which it is known to fail: there only the run itself can tell.
    """
    proofs: dict[str, Proof] = {}
    for name, every in copies.items():
        places_known = [each for each in every if each.form not in (TRUE, AT_THE_END) and each.place >= EVERY]
        ids = sources.ids(name)
        changes = {_change_of(each, each.place): dict.fromkeys(ids, "") for each in places_known}
        if not changes:
            return None
        known = places.get(name, frozenset())
        proofs[name] = Proof(changes, ids, True, name in hidden, known, seed=every[0].seed)
    return Proofs(sources, proofs)


def _ended(trace: str) -> dict[int, list[tuple[int, int, str]]]:
    """What a trace says of each copy by its number: the place, the assertions evaluated, and the exception."""
    found: dict[int, list[tuple[int, int, str]]] = {}
    for line in trace.splitlines():
        number, place, count, *fault = line.split()
        found.setdefault(int(number), []).append((int(place), int(count), "".join(fault)))
    return found


def failing_places(copies: Copies, trace: str) -> dict[str, frozenset[int]]:
    """The places at which each function of a run fails, one after an assertion that an exception may come from."""
    ended = _ended(trace)
    found: dict[str, frozenset[int]] = {}
    for name, every in copies.items():
        faults = [(count, fault) for each in every for _, count, fault in ended.get(each.number, ()) if fault]
        places = {count - 1 for count, _ in faults} | {count for count, fault in faults if fault != "AssertionError"}
        found[name] = frozenset(place for place in places if place >= 0)
    return found


def _change_of(copy: Copy, place: int) -> Change:
    if copy.form in (TRUE, AT_THE_END):
        return Change(copy.form, EVERY)
    return Change(copy.form, place, copy.number % EDITS)


def judge_proof(
    sources: Sources,
    copies: Copies,
    statuses: Mapping[str, str],
    trace: str,
    *,
    hidden: Collection[str] = (),
    places: Mapping[str, frozenset[int]],
) -> dict[str, Proof]:
    """What a run with the known solution proves, of each function whose true copy passes first."""
    ended = _ended(trace)
    proofs: dict[str, Proof] = {}
    for name, every in copies.items():
        ids = sources.ids(name)
        found = [{test: statuses.get(renamed(test, each.suffix), "missing") for test in ids} for each in every]
        passing = frozenset(test for test in ids if found[0][test] == "passed")
        last = max((count for _, count, _ in ended.get(every[0].number, ())), default=0) - 1
        changes: dict[Change, dict[str, str]] = {}
        again = set[int]()
        for each, results in zip(every, found, strict=True):
            failed = {test: results[test] for test in passing if results[test] in FAILING}
            ran = ended.get(each.number, ())
            reached = {place for place, _, _ in ran}
            if each.form != TRUE and failed and len(reached) == 1:
                changes[_change_of(each, reached.pop())] = failed
            elif each.form != TRUE and not failed:
                again |= {place for place, count, _ in ran if place > EVERY and count - 1 > last}
        if passing:
            repeats = all(found[-1][test] == "passed" for test in passing)
            known = places.get(name, frozenset())
            proofs[name] = Proof(
                changes, passing, repeats, name in hidden, known, last, every[0].seed, frozenset(again)
            )
    return proofs


def together(proofs: Proofs) -> Copies:
    """The copies of a mixed run of all that can run more than once in a process."""
    chance = secrets.SystemRandom()
    several = chance.sample(proofs.repeating, min(MOST_FALSIFIED, len(proofs.repeating)))
    count = COPIES.get(len(several), 3)
    plan = {name: _copies(_drawn(proofs.of[name], count), proofs.of[name].seed) for name in several}
    others = [name for name in proofs.sources.others if name in proofs.of]
    others = [name for name in others if proofs.of[name].best and proofs.of[name].repeats]
    # Names of PASS_TO_PASS tests are public, so no copy has the name of its test.
    for name in others:
        changes = chance.sample((TRUTH, chance.choice(proofs.of[name].best)), 2)
        plan[name] = _copies(changes, proofs.of[name].seed, own_name=False)
    return plan


def is_covered(proofs: Proofs, expected: Proofs, copies: Copies) -> bool:
    """Whether these copies, drawn from what was `expected`, show as much as a run that is drawn from the proofs.

    The run on the base says nothing of the assertions behind the one that ends a test. Where one of them can be
    falsified, a run that never does so would let through what deceives just that one.
    """
    for name in expected.falsified:
        proof, plan = proofs.of.get(name), copies.get(name, ())
        if proof is None or not proof.repeats or (proof.hidden, proof.seed) != _start_of(expected.of[name]):
            return False
        could_be_drawn = {change.place for change in expected.of[name].best if change in proof.changes}
        if not could_be_drawn.issuperset(change.place for change in proof.best):
            return False
        false = [_change_of(each, each.place) for each in plan if each.form != TRUE]
        if 2 * sum(change in proof.changes for change in false) < len(false):
            return False
    return True


def _start_of(proof: Proof) -> tuple[bool, int]:
    return proof.hidden, proof.seed


def _drawn(proof: Proof, count: int, share: float | None = None) -> list[Change]:
    """Changes of `count` copies, not all alike, each of them true by this chance: that of any other value, if None."""
    chance = secrets.SystemRandom()
    share = share or 1 / (1 + len({each.edit for each in proof.sharpest}))
    changes: list[Change] = []
    while len(changes) < count:
        pool = proof.sharpest if chance.random() < 0.5 else proof.best
        place = chance.choice(sorted({each.place for each in pool}))
        false = chance.choice([each for each in pool if each.place == place])
        changes.append(TRUTH if chance.random() < share else false)
    which = chance.randrange(count)
    if TRUTH not in changes:
        changes[which] = TRUTH
    elif set(changes) == {TRUTH}:
        changes[which] = chance.choice(proof.sharpest)
    return changes


def apart(proofs: Proofs) -> list[Copies]:
    """The copies of several runs: one of each test in each, which is true in some of the runs and false in others."""
    runs = APART_RUNS.get(len(proofs.falsified), 4)
    changes = {name: _drawn(proofs.of[name], runs, 0.5) for name in proofs.falsified}
    for each in changes.values():
        secrets.SystemRandom().shuffle(each)
    return [{name: _copies([each[run]], proofs.of[name].seed) for name, each in changes.items()} for run in range(runs)]


def ids_in(sources: Sources, copies: Copies) -> list[str]:
    """The ids of all expected tests in a run with these copies."""
    each_copy = [(name, each.suffix) for name, every in copies.items() for each in every]
    return [renamed(test, suffix) for name, suffix in each_copy for test in sources.ids(name)]


def judge(proofs: Proofs, copies: Copies, statuses: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """The tests that passed although they were falsified, and those with another result than the known solution's.

    Copies of which nothing is proved are not looked at.
    """
    passed: list[str] = []
    other: list[str] = []
    for name, every in copies.items():
        if name not in proofs.of:
            continue
        proof = proofs.of[name]
        if len(every) > 1 and not proof.repeats:
            continue
        for each in every:
            change = _change_of(each, each.place)
            truth = dict.fromkeys(proof.passing, "passed")
            wanted = truth if change == TRUTH else proof.changes.get(change, {})
            for test, status in wanted.items():
                found = statuses.get(renamed(test, each.suffix), "missing")
                if change != TRUTH and found == "passed":
                    passed.append(test)
                elif found != status and not (status == "" and found in FAILING):
                    other.append(test)
    return sorted(set(passed)), sorted(set(other))
