"""What a run has shown so far: counts per issue, coverage over k with its interval, the fitted law.

`summarize` reads a store into a frozen `Summary`, plain data that a screen draws (`render`)
and a machine reads (`to_json`). Guarantees: n of an issue counts its attempts that have a
verdict; infra errors are counted apart and attempts without a verdict are said to be such.
The curve ends at the smallest n; where attempts were allocated by outcomes it is made from
those and by that estimate which remain unbiased. What the counts cannot carry is absent,
and the reason stands in its place.

Numpy, scipy and rich are imported when they are needed, for they take longer than `--help` may.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from typing import TYPE_CHECKING

from agent.models.recorded import IN_NUMBERS, UNLIKE
from agent.scan import scan
from agent.trajectory import Exit, Usage
from monkeys.pricing.cost_report import CostReport, cost_report
from monkeys.report.terminal.curve import Point
from monkeys.runner.scheduler import AllocationSpec
from monkeys.store import AttemptRow, Store, Tally
from monkeys.text import several
from tasks.task import Outcome

if TYPE_CHECKING:
    from monkeys.formats.counts import Counts
    from monkeys.science.scaling import PowerLaw

__all__ = ["Coverage", "Issue", "Summary", "summarize"]

CURVE_POINTS = 100
SCANNED = 1000  # resolved attempts that are searched for signs
NAMED = 3  # issues named in a note before the rest is only counted


@dataclass(frozen=True, slots=True)
class Issue:
    """One issue's attempts. `n` have a verdict, `resolved` of them a good one; `patches` are distinct and not empty.

    `official` are those that the issue's own harness calls resolved, `disputed` those where
    it disagrees with the verdict that counts, `flaky` those whose verdict did not repeat.
    """

    id: str
    n: int
    resolved: int
    infra: int
    unverified: int
    patches: int
    official: int = 0
    disputed: int = 0
    flaky: int = 0

    @property
    def rate(self) -> float | None:
        """The share of attempts that resolve it: its pass@1."""
        return self.resolved / self.n if self.n else None


@dataclass(frozen=True, slots=True)
class Coverage:
    """The curve at `points`, `shown` of which are the k of the table. `issues` is how many it is the mean over."""

    points: tuple[Point, ...]
    shown: tuple[int, ...]
    issues: int
    level: float
    interval: str
    """What the interval is, in words."""
    no_interval: str
    """Why it is missing at some k; empty when it is there at all."""

    @property
    def rows(self) -> list[Point]:
        """The points of the table."""
        return [point for point in self.points if point.k in self.shown]


@dataclass(frozen=True, slots=True)
class Summary:
    """A run as it stands. Of `coverage` and `no_coverage`, and of `law` and `no_law`, one is there."""

    run: str
    folder: str
    tasks: str
    model: str
    issues: tuple[Issue, ...]
    coverage: Coverage | None
    no_coverage: str
    law: PowerLaw | None
    no_law: str
    notes: tuple[str, ...]
    """What a reader must know to read the curve right."""
    exits: Mapping[str, int]
    """How many tries ended in which way, infra errors included."""
    turns: int
    usage: Usage
    seconds: float
    """Time of all tries together."""
    bill: CostReport | None = None
    """What all tries cost; None where prices are not known."""
    allocate: str = "uniform"
    """The rule by which issues got their attempts. Under all others resolved / n of an issue is no estimate."""

    @property
    def attempts(self) -> int:
        return sum(issue.n + issue.unverified for issue in self.issues)

    @property
    def solved(self) -> int:
        return sum(issue.resolved > 0 for issue in self.issues)

    @property
    def dollars(self) -> dict[str, float | None] | None:
        """In all, for an attempt that counts, and for a solved issue, tries that do not count included."""
        if self.bill is None:
            return None
        total = self.bill.total
        return {
            "total": total,
            "an_attempt": total / self.attempts if self.attempts else None,
            "a_solved_issue": total / self.solved if self.solved else None,
        }

    @property
    def commands(self) -> tuple[str, str]:
        """What to type to see more."""
        folder = shlex.quote(self.folder)
        return f"monkeys show {folder}", f"monkeys report {folder}"

    def to_json(self) -> str:
        """All of it as one JSON object; null where there is no number."""
        coverage = self.coverage
        rows = coverage.rows if coverage else []
        return json.dumps(
            {
                "run": self.run,
                "folder": self.folder,
                "tasks": self.tasks,
                "model": self.model,
                "allocate": self.allocate,
                "issues": [asdict(issue) for issue in self.issues],
                "solved": self.solved,
                "attempts": self.attempts,
                "pass_at_k": [asdict(row) for row in rows],
                "interval": {"what": coverage.interval, "level": coverage.level, "missing": coverage.no_interval}
                if coverage
                else None,
                "coverage_missing": self.no_coverage,
                "law": {**asdict(self.law), "form": "c = exp(a k^b)"} if self.law else None,
                "law_missing": self.no_law,
                "notes": self.notes,
                "exits": dict(self.exits),
                "turns": self.turns,
                "tokens": asdict(self.usage),
                "dollars": {**self.dollars, "prices": self.bill.sources} if self.bill and self.dollars else None,
                "attempt_seconds": round(self.seconds, 3),
            },
            indent=2,
            allow_nan=False,
        )


def summarize(store: Store) -> Summary:
    """What the store holds now; it may still be written."""
    config, choice = store.config, AllocationSpec.of(store.config)
    tallies, exits = store.tallies(), store.exits()
    issues = tuple(_issue(tally) for tally in tallies)
    coverage, law, no_law = None, None, ""
    no_coverage = "no attempt has a verdict yet; give the run's command again, without --no-verify, to go on"
    if any(issue.n for issue in issues):
        from monkeys.formats.counts import CountsError, run_counts

        try:
            counts = run_counts(store, tallies).sampled()
            coverage, no_coverage = _coverage(counts)
            law, no_law = _law(counts) if coverage else (None, no_coverage)
        except CountsError as error:
            no_coverage = str(error)
    return Summary(
        run=store.folder.name,
        folder=str(store.folder),
        tasks=str(config.get("tasks", "")),
        model=str(config.get("model", "")),
        issues=issues,
        coverage=coverage,
        no_coverage=no_coverage,
        law=law,
        no_law=no_law if coverage else no_coverage,
        notes=(*_notes(issues, choice), *_cut(store, exits), *_suspicions(store, issues)),
        exits={str(exit): number for exit, number in exits.items()},
        turns=sum(tally.turns for tally in tallies),
        usage=sum((tally.usage for tally in tallies), Usage()),
        seconds=sum(tally.seconds for tally in tallies),
        bill=cost_report(store),
        allocate=choice.rule,
    )


def _issue(tally: Tally) -> Issue:
    n = tally.resolved + tally.unresolved
    return Issue(
        tally.task,
        n,
        tally.resolved,
        tally.infra,
        tally.unverified,
        tally.patches,
        tally.official,
        tally.disputed,
        tally.flaky,
    )


def _coverage(counts: Counts) -> tuple[Coverage | None, str]:
    from monkeys.formats.counts.curves import curve_of
    from monkeys.science.coverage import CoverageError, default_ks
    from monkeys.science.scaling import log_spaced_ks

    try:
        shown = default_ks(counts.attempts)
        ks = sorted({*shown, *log_spaced_ks(counts.attempts, CURVE_POINTS).tolist()})
        curve = curve_of(counts, ks)
    except CoverageError as error:
        return None, str(error)
    points = zip(curve.ks, curve.coverage, map(_known, curve.low), map(_known, curve.high), strict=True)
    # The reason names every k of the fine curve; the table's reader knows only these.
    some = [str(point) for point, low in zip(curve.ks, curve.low, strict=True) if point in shown and not isfinite(low)]
    reason = curve.reason if curve.tasks == 1 or not some else f"none at k = {', '.join(some)}: all issues alike there"
    return (
        Coverage(
            points=tuple(Point(*point) for point in points),
            shown=shown,
            issues=curve.tasks,
            level=curve.level,
            interval=curve.interval,
            no_interval=reason if some else "",
        ),
        "",
    )


def _law(counts: Counts) -> tuple[PowerLaw | None, str]:
    from monkeys.formats.counts.curves import law_of
    from monkeys.science.coverage import CoverageError
    from monkeys.science.scaling import FitError

    try:
        return law_of(counts), ""
    except (CoverageError, FitError) as error:
        return None, str(error)


def _notes(issues: Sequence[Issue], choice: AllocationSpec) -> list[str]:
    notes = []
    if choice.rule == "stop":
        notes.append("attempts on an issue ended with its first success; the curve is estimated as such")
    elif choice.looks:
        notes.append(
            f"attempts were allocated by outcomes ({choice.rule}): the curve is of the first {choice.first} on each "
            "issue; `monkeys fit` and `monkeys predict` use all"
        )
    counted = [issue for issue in issues if issue.n]
    if counted and len(counted) < len(issues):
        missing = _named([issue.id for issue in issues if not issue.n])
        notes.append(
            f"the curve is over {len(counted)} of {len(issues)} issues; no attempt with a verdict on {missing}"
        )
    if (
        not choice.looks
        and counted
        and (least := min(issue.n for issue in counted)) < (most := max(issue.n for issue in counted))
    ):
        fewer = _named([f"{issue.id} ({issue.n})" for issue in counted if issue.n < most])
        notes.append(f"the curve ends at k = {least}; fewer than {most} attempts with a verdict on {fewer}")
    if unverified := sum(issue.unverified for issue in issues):
        notes.append(
            f"left out: {several(unverified, 'attempt')} without a verdict yet; the run's command again verifies them"
        )
    return notes


def _cut(store: Store, exits: Mapping[Exit, int]) -> Iterator[str]:
    """Attempts that were broken off and not sampled again yet."""
    if Exit.CANCELLED not in exits:
        return
    last: dict[tuple[str, int], AttemptRow] = {(row.task, row.index): row for row in store.attempts()}
    if cut := sum(row.exit is Exit.CANCELLED for row in last.values()):
        yield (
            f"{several(cut, 'attempt')} cut short by a limit or an interruption, long ones likelier than others; "
            "the run's command again samples them anew"
        )


def _strayed(rows: Sequence[AttemptRow]) -> Iterator[str]:
    """Which attempts of a replay were not replayed to the letter."""
    strayed = [row for row in rows if UNLIKE in row.detail]
    if strayed:
        further = [f"{row.task} {row.index}" for row in strayed if IN_NUMBERS not in row.detail]
        how = f"; but for {_named(further)} {IN_NUMBERS}, such as times" if len(further) < len(strayed) else ""
        how = how if further else f", {IN_NUMBERS}, such as times"
        counted = f"{several(len(strayed), 'attempt')} of {len(rows):,}"
        yield f"replay: {counted} had requests unlike the recorded{how}; `monkeys show` says where"
    if over := [row for row in rows if row.exit is Exit.OFF_RECORD]:
        where = _named([f"{row.task} {row.index}" for row in over])
        yield f"replay: {several(len(over), 'attempt')} left the recording, and the answers ended there: {where}"


def _suspicions(store: Store, issues: Sequence[Issue]) -> Iterator[str]:
    """Where the scores differ, and what of the good attempts a person should look at."""
    rows = [row for row in store.attempts() if not row.exit.infra]
    if "recording" in store.config:
        yield from _strayed(rows)
    if disputed := [issue for issue in issues if issue.disputed]:
        official, strict = sum(issue.official for issue in issues), sum(issue.resolved for issue in issues)
        where = _named([f"{issue.id} ({issue.disputed})" for issue in disputed])
        counted = several(official, "attempt")
        yield f"the harness's own score counts {counted} as resolved, not {strict}; they differ on {where}"
    if flaky := [issue for issue in issues if issue.flaky]:
        where = _named([f"{issue.id} ({issue.flaky})" for issue in flaky])
        yield f"flaky: verified twice with different verdicts, the third run counts, on {where}"
    good = [row for row in rows if row.outcome is Outcome.RESOLVED][:SCANNED]
    signs = [(row, sign) for row in good for sign in scan(store.conversation(row))]
    if signs:
        whats = _named(list(dict.fromkeys(sign.what for _, sign in signs)))
        where = _named(list(dict.fromkeys(f"{row.task} {row.index}" for row, _ in signs)))
        yield f"worth a look among the resolved: {where} ({whats}); `monkeys show` names the turns"


def _named(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")


def _known(number: float) -> float | None:
    return number if isfinite(number) else None
