"""Summary of a run: counts per issue, coverage over k with its interval, the fitted power law, costs.

`summarize` reads a store into a frozen `Summary`: plain data that a renderer draws and `to_json` gives to machines.
Guarantees: n of an issue counts its attempts that have a verdict; infra errors are counted apart, and attempts without
a verdict are named as such. The curve ends at the smallest n. Where outcomes decided which tasks were attempted, the
curve is made of those attempts and by that estimator that remain unbiased. What the counts cannot carry is absent, and
the reason takes its place.

Numpy and scipy are imported when they are needed, because importing them takes longer than `--help` may.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import TYPE_CHECKING, Any

from agent.models.recorded import IN_NUMBERS, UNLIKE
from agent.scan import scan
from agent.trajectory import Exit, Usage
from envs.registry import UnknownName
from monkeys.formats.design import arms_apart, oracle_note, run_design
from monkeys.formats.submissions import submission_kind
from monkeys.pricing.cost_report import CostReport, cost_report
from monkeys.report.configuration import is_replay, strategy_name
from monkeys.report.failures import Unread, cut_prompt_notes, failure_notes, unread_notes, unread_replies
from monkeys.report.point import Point
from monkeys.report.record import Record, as_json, finite
from monkeys.store import AttemptRow, Store, Tally
from monkeys.strategies.strategy import SamplingDesign
from monkeys.text import several
from tasks.swe.mixed_run import AT_END_ONLY, NO_STRICT
from tasks.task import LEFT_OUT, Outcome

if TYPE_CHECKING:
    from monkeys.formats.counts import Counts
    from monkeys.science.scaling import PowerLaw

__all__ = ["Coverage", "Issue", "Summary", "summarize", "weaker_verdicts"]

CURVE_POINTS = 100
SCANNED = 1000  # how many resolved attempts are searched for signs
NAMED = 3  # how many issues a note names before it counts the rest


@dataclass(frozen=True, slots=True)
class Issue(Record):
    """The attempts at one issue.

    `n` have a verdict, and `resolved` of them resolve it. `patches` counts distinct submissions that are not empty.
    `official` counts attempts that the issue's own harness calls resolved, `disputed` those where it disagrees with the
    verdict that counts, `flaky` those whose verdict did not repeat.
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
class Coverage(Record):
    """The coverage curve: the mean over `issues` issues at each of `points`. A table shows the k in `shown`."""

    points: tuple[Point, ...]
    shown: tuple[int, ...]
    issues: int
    level: float
    interval: str
    """How the interval is made, in words."""
    no_interval: str
    """Why it is missing at some k; empty where it is never missing."""

    @property
    def rows(self) -> list[Point]:
        """The points of the table."""
        return [point for point in self.points if point.k in self.shown]


@dataclass(frozen=True, slots=True)
class Summary(Record):
    """A run as it stands. Either `coverage` or `no_coverage` is there, and either `law` or `no_law`."""

    run: str
    folder: str
    tasks: str
    """The name of the task set."""
    model: str
    kind: str
    """The kind of its submissions: "patch", "answer", "program" or "proof"; "submission" where it is not known."""
    issues: tuple[Issue, ...]
    coverage: Coverage | None
    no_coverage: str
    """Why there is no curve."""
    law: PowerLaw | None
    no_law: str
    """Why no power law is fitted."""
    notes: tuple[str, ...]
    """What a reader must know to read the curve right."""
    exits: Mapping[str, int]
    """How many tries ended in which way, infra errors included."""
    turns: int
    usage: Usage
    seconds: float
    """Time of all tries together."""
    cost: CostReport | None = None
    """What all tries cost; None where prices are not known."""
    strategy: str = "independent"
    """How attempts were chosen."""
    unread: Unread | None = None
    """Replies without an action that could be read; None where no action is asked for."""
    oracle: tuple[str, ...] = ()
    """The kinds of feedback that told the attempts what the hidden tests say; none for an ordinary run."""
    sampling: SamplingDesign = field(default_factory=SamplingDesign)
    """What follows from that for the estimators. Unless it is independent, resolved / n of an issue is no pass@1."""

    @property
    def attempts(self) -> int:
        return sum(issue.n + issue.unverified for issue in self.issues)

    @property
    def solved(self) -> int:
        """Issues that at least one attempt resolved."""
        return sum(issue.resolved > 0 for issue in self.issues)

    @property
    def dollars(self) -> dict[str, float | None] | None:
        """Dollars in all, for an attempt that counts, and for a solved issue. Tries that do not count are paid too."""
        if self.cost is None:
            return None
        total = self.cost.total
        return {
            "total": total,
            "an_attempt": total / self.attempts if self.attempts else None,
            "a_solved_issue": total / self.solved if self.solved else None,
        }

    @property
    def commands(self) -> tuple[str, str]:
        """Commands that show more."""
        folder = shlex.quote(self.folder)
        return f"monkeys show {folder}", f"monkeys report {folder}"

    def to_json(self) -> dict[str, Any]:
        """All of it as one JSON object; null where there is no number.

        Keys: run, folder, tasks, model, oracle, kind, strategy, sampling, issues (`Issue`), solved, attempts, pass_at_k
        (`Point`, the k of the table), interval (what, level, missing), coverage_missing, law (`PowerLaw` and its form),
        law_missing, notes, exits, unread_replies (`Unread`), turns, tokens (`Usage`), dollars (total, an_attempt,
        a_solved_issue, prices), attempt_seconds.
        """
        coverage = self.coverage
        interval = None
        if coverage:
            interval = {"what": coverage.interval, "level": coverage.level, "missing": coverage.no_interval}
        found = {
            "run": self.run,
            "folder": self.folder,
            "tasks": self.tasks,
            "model": self.model,
            "oracle": self.oracle,
            "kind": self.kind,
            "strategy": self.strategy,
            "sampling": self.sampling.to_json(),
            "issues": self.issues,
            "solved": self.solved,
            "attempts": self.attempts,
            "pass_at_k": coverage.rows if coverage else [],
            "interval": interval,
            "coverage_missing": self.no_coverage,
            "law": {**as_json(self.law), "form": "c = exp(a k^b)"} if self.law else None,
            "law_missing": self.no_law,
            "notes": self.notes,
            "exits": self.exits,
            "unread_replies": self.unread,
            "turns": self.turns,
            "tokens": self.usage,
            "dollars": {**self.dollars, "prices": self.cost.sources} if self.cost and self.dollars else None,
            "attempt_seconds": round(self.seconds, 3),
        }
        return {key: as_json(value) for key, value in found.items()}


def summarize(store: Store) -> Summary:
    """Summarize what the store holds now; it may still be written."""
    (arm, store), *others = arms_apart(store).items()
    config = store.config
    strategy, sampling = strategy_name(config), run_design(store)
    tallies, exits = store.tallies(), store.exits()
    issues = tuple(_issue(tally) for tally in tallies)
    coverage, law, no_law = None, None, ""
    waiting = any(issue.unverified for issue in issues)
    nothing = "no attempt has a verdict yet; give the run's command again, without --no-verify, to verify them"
    failed = ", once what the note tells is mended" if any(issue.infra for issue in issues) else ""
    none = f"no attempt has been made yet that counts; give the run's command again{failed}"
    no_coverage = nothing if waiting else none
    if any(issue.n for issue in issues):
        from monkeys.formats.counts import CountsError, run_counts

        try:
            counts = run_counts(store, tallies).sampled()
            coverage, no_coverage = _coverage(counts)
            law, no_law = _law(counts) if coverage else (None, no_coverage)
        except CountsError as error:
            no_coverage = str(error)
    rows = list(store.attempts())
    unread = unread_replies(store, rows)
    return Summary(
        run=store.folder.name,
        folder=str(store.folder),
        tasks=store.task_set,
        model=store.model,
        kind=_kind(store),
        issues=issues,
        coverage=coverage,
        no_coverage=no_coverage,
        law=law,
        no_law=no_law if coverage else no_coverage,
        notes=(
            *([oracle_note(store.oracles)] if store.oracles else []),
            *_notes(issues, strategy, sampling),
            *_other_arms(arm, others),
            *failure_notes(rows),
            *unread_notes(unread),
            *cut_prompt_notes(store, rows),
            *_cut(rows, exits),
            *_unknown_turns(store),
            *_to_check(store, rows, issues),
        ),
        exits={str(exit): number for exit, number in exits.items()},
        turns=sum(tally.turns for tally in tallies),
        usage=sum((tally.usage for tally in tallies), Usage()),
        seconds=sum(tally.seconds for tally in tallies),
        cost=cost_report(store),
        strategy=strategy,
        unread=unread,
        oracle=store.oracles,
        sampling=sampling,
    )


def _kind(store: Store) -> str:
    """The kind that its attempts handed in; before there are any, that of its suite, if that is installed."""
    try:
        return store.submission_kind() or submission_kind(store)
    except UnknownName:
        return "submission"


def _issue(tally: Tally) -> Issue:
    n = tally.resolved + tally.unresolved
    return Issue(
        tally.task,
        n,
        tally.resolved,
        tally.infra,
        tally.unverified,
        tally.submissions,
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
    points = zip(curve.ks, curve.coverage, map(finite, curve.low), map(finite, curve.high), strict=True)
    # The curve's own reason names each of its many k; a reader sees only the k of the table.
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


def _notes(issues: Sequence[Issue], strategy: str, sampling: SamplingDesign) -> list[str]:
    """How the curve is made, and which attempts and issues are not in it."""
    notes = []
    independent = sampling.kind == "independent"
    if sampling.kind == "stopped":
        notes.append("attempts on an issue ended with its first success; the curve is estimated as such")
    elif sampling.kind == "adaptive":
        notes.append(
            f"attempts were allocated by outcomes ({strategy}): the curve is of the first {sampling.first} on each "
            "issue; `monkeys fit` and `monkeys predict` use all"
        )
    elif sampling.kind == "dependent":
        notes.append(
            f"attempts know of earlier ones ({strategy}): the curve is of the procedure as it was run, the share of "
            "issues that its first k attempts solved; it is not pass@k of independent attempts"
        )
    counted = [issue for issue in issues if issue.n]
    if counted and len(counted) < len(issues):
        missing = _named([issue.id for issue in issues if not issue.n])
        notes.append(
            f"the curve is over {len(counted)} of {len(issues)} issues; no attempt with a verdict on {missing}"
        )
    numbers = [issue.n for issue in counted]
    if independent and counted and (least := min(numbers)) < (most := max(numbers)):
        fewer = _named([f"{issue.id} ({issue.n})" for issue in counted if issue.n < most])
        notes.append(f"the curve ends at k = {least}; fewer than {most} attempts with a verdict on {fewer}")
    if unverified := sum(issue.unverified for issue in issues):
        notes.append(
            f"left out: {several(unverified, 'attempt')} without a verdict; run the same command again to verify them"
        )
    return notes


def _other_arms(arm: str, others: Sequence[tuple[str, Store]]) -> Iterator[str]:
    """Arms that are not counted with the others."""
    if arm:
        yield f"this is the arm {arm} alone"
    for name, part in others:
        made = sum(not row.exit.infra for row in part.attempts())
        yield (
            f"left out: {several(made, 'attempt')} of the arm {name}, which was told of the hidden tests; `monkeys "
            "coverage` shows it as a set of its own"
        )


def _cut(rows: Sequence[AttemptRow], exits: Mapping[Exit, int]) -> Iterator[str]:
    """Attempts that were cancelled and have not been sampled again."""
    if Exit.CANCELLED not in exits:
        return
    last: dict[tuple[str, int], AttemptRow] = {(row.task, row.index): row for row in rows}
    if cut := sum(row.exit is Exit.CANCELLED for row in last.values()):
        yield (
            f"{several(cut, 'attempt')} cut short by a limit or an interruption, long ones more often than short ones; "
            "run the same command again to sample them anew"
        )


def _unknown_turns(store: Store) -> Iterator[str]:
    """Turns after which the submission should be known, and is not."""
    untaken, unlike = store.unknown_turns()
    if untaken:
        task, index, turn, why = untaken[0]
        yield (
            f"each turn: the patch after {several(len(untaken), 'turn')} could not be taken, such as turn {turn} of "
            f"{task} {index}: {why}"
        )
    if unlike:
        which = _named([f"{task} {index}" for task, index, _ in unlike])
        yield f"each turn: {several(len(unlike), 'attempt')} not used, since a replay was unlike the record: {which}"


def _replay_differences(rows: Sequence[AttemptRow]) -> Iterator[str]:
    """Attempts of a replay whose requests were not those of the recording."""
    differing = [row for row in rows if UNLIKE in row.detail]
    if differing:
        in_more = [f"{row.task} {row.index}" for row in differing if IN_NUMBERS not in row.detail]
        how = f"; but for {_named(in_more)} {IN_NUMBERS}, such as times" if len(in_more) < len(differing) else ""
        how = how if in_more else f", {IN_NUMBERS}, such as times"
        counted = f"{several(len(differing), 'attempt')} of {len(rows):,}"
        yield f"replay: {counted} had requests unlike the recorded{how}; `monkeys show` says where"
    if ended := [row for row in rows if row.exit is Exit.OFF_RECORD]:
        where = _named([f"{row.task} {row.index}" for row in ended])
        yield f"replay: {several(len(ended), 'attempt')} left the recording, and the answers ended there: {where}"


def weaker_verdicts(rows: Iterable[AttemptRow]) -> Iterator[str]:
    """The issues whose resolved attempts have no strict verdict, or one that alters no assertion."""
    resolved = [row for row in rows if not row.exit.infra and row.outcome is Outcome.RESOLVED]
    for flag, what in ((NO_STRICT, "no strict verdict"), (AT_END_ONLY, "a weaker strict verdict")):
        if tasks := dict.fromkeys(row.task for row in resolved if flag in row.flags):
            yield f"{what} on {_named(list(tasks))}: {flag}"


def _to_check(store: Store, every: Sequence[AttemptRow], issues: Sequence[Issue]) -> Iterator[str]:
    """Where scores differ, and resolved attempts that a person should look at."""
    rows = [row for row in every if not row.exit.infra]
    if is_replay(store.config):
        yield from _replay_differences(rows)
    if short := [row for row in rows if LEFT_OUT in row.detail]:
        where = _named([f"{row.task} {row.index}" for row in short])
        yield f"the patch lacks changes of {several(len(short), 'attempt')}, {where}; `monkeys show` names them"
    if disputed := [issue for issue in issues if issue.disputed]:
        official, strict = sum(issue.official for issue in issues), sum(issue.resolved for issue in issues)
        where = _named([f"{issue.id} ({issue.disputed})" for issue in disputed])
        counted = several(official, "attempt")
        yield f"the harness's own score counts {counted} as resolved, not {strict}; they differ on {where}"
    if flaky := [issue for issue in issues if issue.flaky]:
        where = _named([f"{issue.id} ({issue.flaky})" for issue in flaky])
        yield f"flaky: verified twice with different verdicts, the third run counts, on {where}"
    yield from weaker_verdicts(rows)
    resolved = [row for row in rows if row.outcome is Outcome.RESOLVED][:SCANNED]
    signs = [(row, sign) for row in resolved for sign in scan(store.conversation(row))]
    if signs:
        kinds = _named(list(dict.fromkeys(sign.what for _, sign in signs)))
        where = _named(list(dict.fromkeys(f"{row.task} {row.index}" for row, _ in signs)))
        yield f"check these resolved attempts: {where} ({kinds}); `monkeys show` names the turns"


def _named(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
