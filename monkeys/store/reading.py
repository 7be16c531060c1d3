"""What a run on disk tells those who look. `Store` adds to it what writes.

A file may come from anybody: what is read is checked (`monkeys.store.checks`), and every method raises `StoreError` for
a value that this program does not write.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from agent.trajectory import ORACLE, Exit, Message, Tokens, Trajectory, Turn, Usage, exchanges
from envs.secrets import redacted
from monkeys.store import checks
from monkeys.store.answers import unpacked_message, unpacked_tokens
from monkeys.store.checks import MOST_BYTES
from monkeys.store.migrations import meta
from monkeys.store.rows import AttemptRow, Tally, TurnRow, submission_digest
from tasks.task import Outcome, Submission

__all__ = ["Reader"]

OWN = "a.branch_of IS NULL"  # of attempts as `a`: the run's own, and no continuation of one
MOST_OF_ATTEMPT = 256 * 2**20  # bytes of all messages of one attempt


class Reader:
    """The queries of a run, on an open file whose tables are of this version."""

    def __init__(self, folder: Path, db: sqlite3.Connection) -> None:
        self.folder, self._db = folder, db
        self._where, self._turns_checked = f"run {folder}", False
        self._own = OWN  # which rows of the table of attempts, `a`, are attempts here

    def arms(self) -> list[str]:
        """The arms of the run's own attempts, in the order in which they began."""
        query = f"SELECT a.arm FROM attempts a WHERE {self._own} GROUP BY a.arm ORDER BY min(a.id)"
        return [str(row[0]) for row in self._rows(query)]

    def of_arms(self, arms: Iterable[str]) -> Self:
        """The same run as if it had the attempts of these arms alone. Closing either closes both."""
        part = copy(self)
        names = ", ".join("'" + arm.replace("'", "''") + "'" for arm in arms)
        part._own = f"{OWN} AND a.arm IN ({names})"
        return part

    def _rows(self, query: str, values: Sequence[Any] = ()) -> Iterator[Any]:
        try:
            yield from map(
                tuple, self._db.execute(query, values)
            )  # without `map`, the cursor is closed, maybe too late
        except sqlite3.Error as error:
            checks.damaged(self._where, str(error))

    def _row(self, query: str, values: Sequence[Any] = ()) -> Any:
        """The first row, None if there is none."""
        return next(self._rows(query, values), None)

    @property
    def config(self) -> dict[str, Any]:
        """What identifies the run, as a nested object; see `monkeys.spec.identity`."""
        return checks.check_config(self._meta("config"), self._where)

    def _meta(self, key: str) -> Any:
        try:
            return meta(self._db, key)
        except sqlite3.Error as error:
            checks.damaged(self._where, str(error))

    @property
    def suite(self) -> str:
        """The name of the run's suite."""
        return str(self.config.get("suite", "swe"))

    @property
    def task_set(self) -> str:
        """The name of the run's task set, empty if it has none."""
        return str(self.config.get("tasks", {}).get("set", ""))

    @property
    def model(self) -> str:
        """The name of the run's model, empty if it has none."""
        return str(self.config.get("model", {}).get("name", ""))

    @property
    def oracles(self) -> tuple[str, ...]:
        """The kinds of feedback that showed the attempts what the hidden tests say; none for an ordinary run."""
        kinds = self.config.get("agent", {}).get("feedback", ())
        return tuple(str(kind) for kind in kinds if str(kind).startswith(ORACLE))

    @property
    def created(self) -> float:
        """When the run was made, in seconds since 1970. It tells runs of one name apart."""
        created = self._meta("created")
        if type(created) not in (int, float) or not 0 <= created < 1e12:
            checks.damaged(self._where, f"its time of creation is {created!r:.60}")
        return float(created)

    def task_ids(self) -> list[str]:
        """The tasks in their order."""
        return [str(row[0]) for row in self._rows("SELECT id FROM tasks ORDER BY position")]

    def task_digests(self) -> dict[str, str]:
        """A digest of each task's contents: a task with another digest is another task."""
        return {str(row[0]): str(row[1]) for row in self._rows("SELECT id, digest FROM tasks")}

    def sessions(self) -> list[dict[str, Any]]:
        """The processes that wrote, each with its environment and the number of tries that it recorded."""
        query = (
            "SELECT s.id, s.began, s.ended, s.pid, s.host, s.environment, s.note, count(a.id) AS attempts "
            f"FROM sessions s LEFT JOIN attempts a ON a.session = s.id AND {self._own} GROUP BY s.id ORDER BY s.id"
        )
        names = ("id", "began", "ended", "pid", "host", "environment", "note", "attempts")
        sessions = [dict(zip(names, row, strict=True)) for row in self._rows(query)]
        for session in sessions:
            what = f"the environment of session {session['id']}"
            told = checks.parsed(session["environment"], self._where, what)
            session["environment"] = redacted(checks.to_object(told, self._where, what))
        return sessions

    def sampled(self) -> dict[str, set[int]]:
        """The indices of each task that are not to be sampled again. One look-up, for resuming."""
        done: dict[str, set[int]] = {}
        for task, index in self._rows(f"SELECT task, idx FROM attempts a WHERE NOT infra AND {self._own}"):
            done.setdefault(task, set()).add(index)
        return done

    @property
    def any_parents(self) -> bool:
        """Whether any attempt was made of earlier ones, so that attempts depend on one another."""
        query = f"SELECT 1 FROM attempts a WHERE parents NOT IN ('', '[]') AND {self._own} LIMIT 1"
        return self._row(query) is not None

    def unverified(self, *, continuations: bool = False) -> list[tuple[str, Submission, int]]:
        """Each task and submission without a verdict, with the number of attempts that wait for it.

        Or the number of `continuations`, of which none is an attempt.
        """
        whose = "a.branch_of IS NOT NULL" if continuations else self._own
        rows = self._rows(
            "SELECT a.task, b.body, a.kind, count(*) FROM attempts a JOIN blobs b ON b.digest = a.submission "
            "LEFT JOIN verdicts v ON v.task = a.task AND v.submission = a.submission AND v.outcome != 'infra error' "
            f"WHERE NOT a.infra AND {whose} AND v.id IS NULL GROUP BY a.task, a.submission"
        )
        return [(task, Submission(self._blob(body), kind), count) for task, body, kind, count in rows]

    def unverified_turns(self) -> list[tuple[str, Submission]]:
        """Each task and submission without a verdict that an attempt of the run's own had after one of its turns."""
        rows = self._rows(
            "SELECT a.task, b.body, t.kind FROM turns t JOIN attempts a ON a.id = t.attempt "
            "JOIN blobs b ON b.digest = t.submission "
            "LEFT JOIN verdicts v ON v.task = a.task AND v.submission = t.submission AND v.outcome != 'infra error' "
            f"WHERE NOT a.infra AND {self._own} AND v.id IS NULL "
            "GROUP BY a.task, t.submission ORDER BY min(a.id), t.turn"
        )
        return [(task, Submission(self._blob(body), kind)) for task, body, kind in rows]

    def unknown_turns(self) -> tuple[list[tuple[str, int, int, str]], list[tuple[str, int, str]]]:
        """Where the submission after a turn is not known although it was asked for.

        The task, the index, the turn and the reason of those that could not be taken; and the task, the index and the
        difference of attempts whose replays were unlike them.
        """
        untaken = self._rows(
            "SELECT a.task, a.idx, t.turn, t.untaken FROM turns t JOIN attempts a ON a.id = t.attempt "
            f"WHERE t.untaken != '' AND NOT a.infra AND {self._own} ORDER BY a.id, t.turn"
        )
        unlike = self._rows(
            "SELECT a.task, a.idx, a.each_turn FROM attempts a "
            f"WHERE a.each_turn LIKE 'unlike:%' AND {self._own} ORDER BY a.id"
        )
        return list(untaken), list(unlike)

    def verdicts(self) -> dict[tuple[str, bytes], Outcome]:
        """The outcome of each task and digest of a submission that has a verdict."""
        rows = self._rows("SELECT task, submission, outcome FROM verdicts WHERE outcome != 'infra error'")
        return {(task, digest): Outcome(outcome) for task, digest, outcome in rows}

    def _blob(self, body: Any, what: str = "a submission") -> bytes:
        return checks.unpacked(body, self._where, what)

    def verdict_of(self, task: str, submission: Submission) -> tuple[Outcome, str] | None:
        """The outcome and its reason, None where there is no verdict yet."""
        row = self._row(
            "SELECT outcome, reason FROM verdicts WHERE task = ? AND submission = ? AND outcome != 'infra error'",
            (task, submission_digest(submission)),
        )
        return (Outcome(row[0]), row[1]) if row else None

    def verdict_detail(self, task: str, submission: Submission) -> tuple[dict[str, str], str]:
        """The status of each expected test, and the log, of the last verdict on a submission."""
        row = self._row(
            "SELECT tests, log FROM verdicts WHERE task = ? AND submission = ? ORDER BY id DESC LIMIT 1",
            (task, submission_digest(submission)),
        )
        if row is None:
            return {}, ""
        tests = checks.statuses(checks.parsed(row[0], self._where, "verdicts.tests"), self._where, "verdicts.tests")
        return tests, self._blob(row[1], "the log of a verdict").decode("utf-8", "replace")

    def attempts(self, task: str | None = None) -> Iterable[AttemptRow]:
        """Every try of the run's own attempts, in order of task and index; of no continuation."""
        return self._attempts(
            f"{self._own} AND a.task = ?" if task else self._own, [task] if task else [], "a.idx, a.try"
        )

    def continuations(self, task: str | None = None, index: int | None = None) -> Iterable[AttemptRow]:
        """Every try of the continuations, of this task's attempt or of all, in order of the turn and the index."""
        where, values = "a.branch_of IS NOT NULL", list[Any]()
        if task is not None:
            where, values = f"{where} AND a.task = ?", [*values, task]
        if index is not None:
            where, values = f"{where} AND (SELECT o.idx FROM attempts o WHERE o.id = a.branch_of) = ?", [*values, index]
        return self._attempts(where, values, "a.branch_of, a.branch_turn, a.idx, a.try")

    def _attempts(self, where: str, values: Sequence[Any], order: str) -> Iterator[AttemptRow]:
        rows = self._rows(
            "SELECT a.session, a.id, a.task, a.idx, a.try, a.seed, a.exit, a.detail, a.infra, a.turns, "
            "a.prompt_tokens, a.completion_tokens, a.cached_tokens, a.reasoning_tokens, a.seconds, "
            "a.submission, a.kind, a.arm, b.body, a.parents, a.each_turn, a.branch_turn, "
            "v.outcome, v.reason, v.official, v.flaky, v.flags "
            "FROM attempts a JOIN tasks t ON t.id = a.task LEFT JOIN blobs b ON b.digest = a.brief "
            "LEFT JOIN verdicts v ON v.task = a.task AND v.submission = a.submission AND v.outcome != 'infra error' "
            f"WHERE {where} ORDER BY t.position, {order}",
            values,
        )
        for row in rows:
            session, key, name, index, tries, seed, exit, detail, infra, turns, *tokens, seconds = row[:15]
            digest, kind, arm, brief, parents, each_turn, branch_turn, outcome, reason, official, flaky, flags = row[
                15:
            ]
            yield AttemptRow(
                key=key,
                task=name,
                index=index,
                tries=tries,
                seed=seed,
                exit=Exit(exit),
                detail=detail,
                outcome=Outcome.INFRA_ERROR if infra else Outcome(outcome) if outcome else None,
                reason="" if infra else reason or "",
                digest=digest,
                turns=turns,
                usage=Usage(*tokens),
                seconds=seconds,
                official=None if official is None else bool(official),
                flaky=bool(flaky),
                flags=self._flags(flags) if flags else (),
                session=session,
                kind=kind,
                arm=arm,
                brief=checks.decoded(self._blob(brief, "a brief"), self._where, "a brief") if brief else "",
                parents=self._parents(parents) if parents not in ("", "[]") else (),
                each_turn=each_turn,
                branch_turn=branch_turn,
            )

    def _flags(self, text: str) -> tuple[str, ...]:
        return checks.texts(checks.parsed(text, self._where, "verdicts.flags"), self._where, "verdicts.flags")

    def _parents(self, text: str) -> tuple[int, ...]:
        what = "attempts.parents"
        return checks.numbers(checks.parsed(text, self._where, what), self._where, what)

    def tallies(self) -> list[Tally]:
        """The counts of each task, in the order of the tasks, without a row for each attempt."""
        query = (
            "SELECT t.id, "
            "count(*) FILTER (WHERE NOT a.infra AND v.outcome = 'resolved'), "
            "count(*) FILTER (WHERE NOT a.infra AND v.outcome = 'unresolved'), "
            "count(*) FILTER (WHERE NOT a.infra AND v.outcome IS NULL), "
            f"count(*) FILTER (WHERE a.infra AND a.exit != '{Exit.CANCELLED}'), "
            "count(DISTINCT a.submission) FILTER (WHERE NOT a.infra AND a.submission != ?), "
            "coalesce(sum(a.turns), 0), total(a.seconds), "
            "coalesce(sum(a.prompt_tokens), 0), coalesce(sum(a.completion_tokens), 0), "
            "coalesce(sum(a.cached_tokens), 0), coalesce(sum(a.reasoning_tokens), 0), "
            "count(*) FILTER (WHERE NOT a.infra AND v.official), "
            "count(*) FILTER (WHERE NOT a.infra AND v.official != (v.outcome = 'resolved')), "
            "count(*) FILTER (WHERE NOT a.infra AND v.flaky) "
            f"FROM tasks t LEFT JOIN attempts a ON a.task = t.id AND {self._own} "
            "LEFT JOIN verdicts v ON v.task = a.task AND v.submission = a.submission AND v.outcome != 'infra error' "
            "GROUP BY t.position ORDER BY t.position"
        )
        rows = self._rows(query, (submission_digest(Submission()),))
        return [Tally(*(*row[:7], Usage(*row[8:12]), row[7], *row[12:])) for row in rows]

    def submission_kind(self) -> str:
        """The kind that most attempts handed in; empty while there are none."""
        query = (
            f"SELECT kind FROM attempts a WHERE NOT infra AND {self._own} GROUP BY kind ORDER BY count(*) DESC, kind"
        )
        row = self._row(f"{query} LIMIT 1")
        return str(row[0]) if row else ""

    def exits(self) -> dict[Exit, int]:
        """How many tries ended in each way, the most common first."""
        query = f"SELECT exit, count(*) FROM attempts a WHERE {self._own} GROUP BY exit ORDER BY count(*) DESC, exit"
        rows = self._rows(query)
        return {Exit(exit): count for exit, count in rows}

    def usages(self, above: int | None = None) -> dict[tuple[int, str], Usage]:
        """Tokens of all tries of the run's own attempts, by session and task.

        With `above`, only of turns with more prompt tokens than that.
        """
        one, long, values = "a", f"WHERE {self._own}", []
        if above is not None:
            self._check_turns()
            one, long = "t", f"JOIN turns t ON t.attempt = a.id WHERE t.prompt_tokens > ? AND {self._own}"
            values = [above]
        names = ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens")
        sums = ", ".join(f"sum({one}.{name})" for name in names)
        rows = self._rows(f"SELECT a.session, a.task, {sums} FROM attempts a {long} GROUP BY 1, 2", values)
        return {(session, task): Usage(*tokens) for session, task, *tokens in rows}

    def turns(self, row: AttemptRow) -> list[Turn]:
        """The costs of each turn of one try. `trajectory` gives turns with their answers and submissions."""
        query = (
            "SELECT messages, prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens, "
            "model_seconds, tool_seconds FROM turns WHERE attempt = ? ORDER BY turn"
        )
        self._check_turns()
        return [Turn(found[0], Usage(*found[1:5]), *found[5:]) for found in self._rows(query, (row.key,))]

    def turn_rows(self) -> Iterator[TurnRow]:
        """Every turn of every attempt that counts, in the order in which the attempts were recorded."""
        self._check_turns()
        rows = self._rows(
            "SELECT t.attempt, t.turn, t.messages, t.prompt_tokens, t.completion_tokens, t.cached_tokens, "
            "t.reasoning_tokens, t.model_seconds, t.tool_seconds, t.submission, v.outcome, t.untaken "
            "FROM turns t JOIN attempts a ON a.id = t.attempt "
            "LEFT JOIN verdicts v ON v.task = a.task AND v.submission = t.submission AND v.outcome != 'infra error' "
            f"WHERE NOT a.infra AND {self._own} ORDER BY t.attempt, t.turn"
        )
        for attempt, turn, end, *tokens, model_seconds, tool_seconds, digest, outcome, untaken in rows:
            if not isinstance(digest, bytes | None):
                checks.damaged(self._where, f"turns.submission is {digest!r:.60}")
            yield TurnRow(
                attempt=attempt,
                number=turn,
                end=end,
                usage=Usage(*tokens),
                seconds=model_seconds + tool_seconds,
                digest=digest,
                outcome=Outcome(outcome) if outcome else None,
                untaken=bool(untaken),
            )

    def body(self, digest: bytes) -> bytes:
        """The submission with this digest."""
        found = self._row("SELECT body FROM blobs WHERE digest = ?", (digest,))
        if found is None:
            checks.damaged(self._where, f"it lacks the submission {digest.hex()}")
        return self._blob(found[0])

    def _check_turns(self) -> None:
        if not self._turns_checked:
            self._turns_checked = True
            try:
                checks.check_turns(self._db, self._where)
            except sqlite3.Error as error:
                checks.damaged(self._where, str(error))

    @property
    def holds_answers(self) -> bool:
        """Whether every attempt was recorded with its answers: how each ended, and as it came.

        False for a run that was begun by a version which did not record them.
        """
        return not self._meta("last_attempt_without_answers")

    def tokens(self, row: AttemptRow) -> list[Tokens | None]:
        """Token ids and log-probabilities of each turn of one try, None where the server gave none."""
        return [turn.tokens for turn in self._whole_turns(row, self.conversation(row))]

    def submission(self, row: AttemptRow) -> Submission:
        """What one try handed in."""
        found = self._row("SELECT body FROM blobs WHERE digest = ?", (row.digest,))
        if found is None:
            checks.damaged(self._where, f"it lacks the submission of attempt {row.index} at {row.task}")
        return Submission(self._blob(found[0]), row.kind)

    def trajectory(self, row: AttemptRow) -> Trajectory:
        """One try as it was recorded."""
        messages = self.conversation(row)
        turns = tuple(self._whole_turns(row, messages))
        aside = (exchange.usage for exchange in exchanges(messages))
        billed, told = row.usage, sum((turn.usage for turn in turns), sum(aside, Usage()))
        wasted = Usage(
            billed.prompt - told.prompt,
            billed.completion - told.completion,
            billed.cached - told.cached,
            billed.reasoning - told.reasoning,
        )
        submission = self.submission(row)
        return Trajectory(
            row.exit, tuple(messages), turns, submission, row.seconds, row.detail, wasted, row.knows_turns
        )

    def _whole_turns(self, row: AttemptRow, messages: Sequence[Message]) -> list[Turn]:
        """The turns of one try with their answers and submissions."""
        turns, what = self.turns(row), f"a turn of attempt {row.index} at {row.task}"
        query = (
            "SELECT w.turn, w.finish_reason, w.shared, w.given, b.body, w.ids, w.logprobs "
            "FROM answers w LEFT JOIN blobs b ON b.digest = w.opening WHERE w.attempt = ? ORDER BY w.turn"
        )
        answers = list(self._rows(query, (row.key,)))
        all_tokens = unpacked_tokens([answer[4:] for answer in answers], self._where)
        places = Trajectory(row.exit, tuple(messages), tuple(turns), Submission(), 0.0).answers
        for (number, finish_reason, shared, given, *_), tokens in zip(answers, all_tokens, strict=True):
            here = type(number) is int and 0 <= number < len(turns)
            if not here or not isinstance(finish_reason, str) or type(shared) is not int:
                checks.damaged(self._where, f"the answer in {what} is {(number, finish_reason, shared)!r:.60}")
            came = None
            if given is not None:
                if places[number] >= len(messages):
                    checks.damaged(self._where, f"{what} has an answer and no message of it")
                came = unpacked_message(given, messages[places[number]], self._where)
            turns[number] = replace(
                turns[number], finish_reason=finish_reason, shared=shared, given=came, tokens=tokens
            )
        query = (
            "SELECT t.turn, b.body, t.kind FROM turns t JOIN blobs b ON b.digest = t.submission "
            "WHERE t.attempt = ? ORDER BY t.turn"
        )
        for number, body, kind in self._rows(query, (row.key,)):
            if number >= len(turns) or not isinstance(kind, str):
                checks.damaged(self._where, f"the submission in {what} is of the kind {kind!r:.60}")
            turns[number] = replace(turns[number], submission=Submission(self._blob(body), kind))
        for number, why in self._rows(
            "SELECT turn, untaken FROM turns WHERE attempt = ? AND untaken != ''", (row.key,)
        ):
            turns[number] = replace(turns[number], untaken=why)
        return turns

    def conversation(self, row: AttemptRow) -> list[Message]:
        """The messages of one try as they were sent."""
        # A message stands after the one before it, so that no path has a circle.
        query = (
            "WITH RECURSIVE path (id, parent) AS ("
            " SELECT m.id, m.parent FROM messages m JOIN attempts a ON a.last_message = m.id WHERE a.id = ?"
            " UNION ALL SELECT m.id, m.parent FROM messages m JOIN path ON m.id = path.parent AND m.id < path.id)"
            "SELECT id, parent FROM path ORDER BY id"
        )
        what = f"attempt {row.index} at {row.task}"
        path = list(self._rows(query, (row.key,)))
        last = self._row("SELECT last_message FROM attempts WHERE id = ?", (row.key,))
        ids = [0, *(number for number, _ in path)]
        if last is None or last[0] != ids[-1] or [parent for _, parent in path] != ids[:-1]:
            checks.damaged(self._where, f"the messages of {what} form no path")
        messages, left = [], MOST_OF_ATTEMPT
        for number in ids[1:]:
            found = self._row("SELECT body FROM messages WHERE id = ?", (number,))
            text = checks.unpacked(found and found[0], self._where, f"message {number}", most=min(left, MOST_BYTES))
            left -= len(text)
            what = f"message {number}"
            messages.append(checks.to_message(checks.parsed(text, self._where, what), self._where, what))
        return messages
