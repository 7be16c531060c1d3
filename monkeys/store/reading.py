"""What a run on disk tells those who look. `Store` adds to it what writes.

A file may come from anybody: what is read is checked (`monkeys.store.checks`), and every method raises `StoreError` for
a value that this program does not write.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from agent.trajectory import Exit, Message, Tokens, Trajectory, Turn, Usage
from envs.secrets import redacted
from monkeys.store import checks
from monkeys.store.answers import unpacked_message, unpacked_tokens
from monkeys.store.checks import MOST_BYTES
from monkeys.store.migrations import meta
from monkeys.store.rows import AttemptRow, Tally, submission_digest
from tasks.task import Outcome, Submission

__all__ = ["Reader"]

MOST_OF_ATTEMPT = 256 * 2**20  # bytes of all messages of one attempt


class Reader:
    """The queries of a run, on an open file whose tables are of this version."""

    def __init__(self, folder: Path, db: sqlite3.Connection) -> None:
        self.folder, self._db = folder, db
        self._where, self._turns_checked = f"run {folder}", False

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
            "FROM sessions s LEFT JOIN attempts a ON a.session = s.id GROUP BY s.id ORDER BY s.id"
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
        for task, index in self._rows("SELECT task, idx FROM attempts WHERE NOT infra"):
            done.setdefault(task, set()).add(index)
        return done

    @property
    def any_parents(self) -> bool:
        """Whether any attempt was made of earlier ones, so that attempts depend on one another."""
        return self._row("SELECT 1 FROM attempts WHERE parents NOT IN ('', '[]') LIMIT 1") is not None

    def unverified(self) -> list[tuple[str, Submission, int]]:
        """Each task and submission without a verdict, with the number of attempts that wait for it."""
        rows = self._rows(
            "SELECT a.task, b.body, a.kind, count(*) FROM attempts a JOIN blobs b ON b.digest = a.submission "
            "LEFT JOIN verdicts v ON v.task = a.task AND v.submission = a.submission AND v.outcome != 'infra error' "
            "WHERE NOT a.infra AND v.id IS NULL GROUP BY a.task, a.submission"
        )
        return [(task, Submission(self._blob(body), kind), count) for task, body, kind, count in rows]

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
        """Every try, in order of task and index."""
        where, values = ("WHERE a.task = ?", [task]) if task else ("", [])
        rows = self._rows(
            "SELECT a.session, a.id, a.task, a.idx, a.try, a.seed, a.exit, a.detail, a.infra, a.turns, "
            "a.prompt_tokens, a.completion_tokens, a.cached_tokens, a.reasoning_tokens, a.seconds, "
            "a.submission, a.kind, a.arm, b.body, a.parents, v.outcome, v.reason, v.official, v.flaky, v.flags "
            "FROM attempts a JOIN tasks t ON t.id = a.task LEFT JOIN blobs b ON b.digest = a.brief "
            "LEFT JOIN verdicts v ON v.task = a.task AND v.submission = a.submission AND v.outcome != 'infra error' "
            f"{where} ORDER BY t.position, a.idx, a.try",
            values,
        )
        for row in rows:
            session, key, name, index, tries, seed, exit, detail, infra, turns, *tokens, seconds = row[:15]
            digest, kind, arm, brief, parents, outcome, reason, official, flaky, flags = row[15:]
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
            "FROM tasks t LEFT JOIN attempts a ON a.task = t.id "
            "LEFT JOIN verdicts v ON v.task = a.task AND v.submission = a.submission AND v.outcome != 'infra error' "
            "GROUP BY t.position ORDER BY t.position"
        )
        rows = self._rows(query, (submission_digest(Submission()),))
        return [Tally(*(*row[:7], Usage(*row[8:12]), row[7], *row[12:])) for row in rows]

    def submission_kind(self) -> str:
        """The kind that most attempts handed in; empty while there are none."""
        query = "SELECT kind FROM attempts WHERE NOT infra GROUP BY kind ORDER BY count(*) DESC, kind LIMIT 1"
        row = self._row(query)
        return str(row[0]) if row else ""

    def exits(self) -> dict[Exit, int]:
        """How many tries ended in each way, the most common first."""
        rows = self._rows("SELECT exit, count(*) FROM attempts GROUP BY exit ORDER BY count(*) DESC, exit")
        return {Exit(exit): count for exit, count in rows}

    def usages(self, above: int | None = None) -> dict[tuple[int, str], Usage]:
        """Tokens of all tries, by session and task. With `above`, only of turns with more prompt tokens than that."""
        one, long, values = "a", "", []
        if above is not None:
            self._check_turns()
            one, long, values = "t", "JOIN turns t ON t.attempt = a.id WHERE t.prompt_tokens > ?", [above]
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
        billed, told = row.usage, sum((turn.usage for turn in turns), Usage())
        wasted = Usage(
            billed.prompt - told.prompt,
            billed.completion - told.completion,
            billed.cached - told.cached,
            billed.reasoning - told.reasoning,
        )
        return Trajectory(row.exit, tuple(messages), turns, self.submission(row), row.seconds, row.detail, wasted)

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
