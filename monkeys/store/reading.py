"""What a run on disk tells those who look. `Store` adds to it what writes."""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from agent.trajectory import Exit, Message, Tokens, Trajectory, Turn, Usage
from monkeys.store.answers import unpacked_message, unpacked_tokens
from monkeys.store.migrations import meta
from monkeys.store.rows import AttemptRow, Tally, submission_digest
from tasks.task import Outcome, Submission

__all__ = ["Reader"]


class Reader:
    """The queries of a run, on an open file whose tables are of this version."""

    def __init__(self, folder: Path, db: sqlite3.Connection) -> None:
        self.folder, self._db = folder, db

    @property
    def config(self) -> dict[str, Any]:
        """What identifies the run, as a nested object; see `monkeys.spec.identity`."""
        return dict(meta(self._db, "config"))

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
        return float(meta(self._db, "created"))

    def task_ids(self) -> list[str]:
        """The tasks in their order."""
        return [str(row[0]) for row in self._db.execute("SELECT id FROM tasks ORDER BY position")]

    def task_digests(self) -> dict[str, str]:
        """A digest of each task's contents: a task with another digest is another task."""
        return {str(row[0]): str(row[1]) for row in self._db.execute("SELECT id, digest FROM tasks")}

    def sessions(self) -> list[dict[str, Any]]:
        """The processes that wrote, with the number of tries that each recorded."""
        query = (
            "SELECT s.id, s.began, s.ended, s.pid, s.host, s.environment, s.note, count(a.id) AS attempts "
            "FROM sessions s LEFT JOIN attempts a ON a.session = s.id GROUP BY s.id ORDER BY s.id"
        )
        cursor = self._db.execute(query)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]

    def sampled(self) -> dict[str, set[int]]:
        """The indices of each task that are not to be sampled again. One look-up, for resuming."""
        done: dict[str, set[int]] = {}
        for task, index in self._db.execute("SELECT task, idx FROM attempts WHERE NOT infra"):
            done.setdefault(task, set()).add(index)
        return done

    @property
    def any_parents(self) -> bool:
        """Whether any attempt was made of earlier ones, so that attempts depend on one another."""
        return bool(self._db.execute("SELECT 1 FROM attempts WHERE parents NOT IN ('', '[]') LIMIT 1").fetchone())

    def unverified(self) -> list[tuple[str, Submission, int]]:
        """Each task and submission without a verdict, with the number of attempts that wait for it."""
        rows = self._db.execute(
            "SELECT a.task, b.body, a.kind, count(*) FROM attempts a JOIN blobs b ON b.digest = a.submission "
            "LEFT JOIN verdicts v ON v.task = a.task AND v.submission = a.submission AND v.outcome != 'infra error' "
            "WHERE NOT a.infra AND v.id IS NULL GROUP BY a.task, a.submission"
        )
        return [(task, Submission(zlib.decompress(body), kind), count) for task, body, kind, count in rows]

    def verdict_of(self, task: str, submission: Submission) -> tuple[Outcome, str] | None:
        """The outcome and its reason, None where there is no verdict yet."""
        row = self._db.execute(
            "SELECT outcome, reason FROM verdicts WHERE task = ? AND submission = ? AND outcome != 'infra error'",
            (task, submission_digest(submission)),
        ).fetchone()
        return (Outcome(row[0]), row[1]) if row else None

    def verdict_detail(self, task: str, submission: Submission) -> tuple[dict[str, str], str]:
        """The status of each expected test, and the log, of the last verdict on a submission."""
        row = self._db.execute(
            "SELECT tests, log FROM verdicts WHERE task = ? AND submission = ? ORDER BY id DESC LIMIT 1",
            (task, submission_digest(submission)),
        ).fetchone()
        return (json.loads(row[0]), zlib.decompress(row[1]).decode("utf-8", "replace")) if row else ({}, "")

    def attempts(self, task: str | None = None) -> Iterable[AttemptRow]:
        """Every try, in order of task and index."""
        where, values = ("WHERE a.task = ?", [task]) if task else ("", [])
        rows = self._db.execute(
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
                flags=tuple(json.loads(flags)) if flags else (),
                session=session,
                kind=kind,
                arm=arm,
                brief=zlib.decompress(brief).decode("utf-8", "surrogatepass") if brief else "",
                parents=tuple(json.loads(parents)),
            )

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
        rows = self._db.execute(query, (submission_digest(Submission()),))
        return [Tally(*(*row[:7], Usage(*row[8:12]), row[7], *row[12:])) for row in rows]

    def submission_kind(self) -> str:
        """The kind that most attempts handed in; empty while there are none."""
        query = "SELECT kind FROM attempts WHERE NOT infra GROUP BY kind ORDER BY count(*) DESC, kind LIMIT 1"
        row = self._db.execute(query).fetchone()
        return str(row[0]) if row else ""

    def exits(self) -> dict[Exit, int]:
        """How many tries ended in each way, the most common first."""
        rows = self._db.execute("SELECT exit, count(*) FROM attempts GROUP BY exit ORDER BY count(*) DESC, exit")
        return {Exit(exit): count for exit, count in rows}

    def usages(self, above: int | None = None) -> dict[tuple[int, str], Usage]:
        """Tokens of all tries, by session and task. With `above`, only of turns with more prompt tokens than that."""
        one, long, values = "a", "", []
        if above is not None:
            one, long, values = "t", "JOIN turns t ON t.attempt = a.id WHERE t.prompt_tokens > ?", [above]
        names = ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens")
        sums = ", ".join(f"sum({one}.{name})" for name in names)
        rows = self._db.execute(f"SELECT a.session, a.task, {sums} FROM attempts a {long} GROUP BY 1, 2", values)
        return {(session, task): Usage(*tokens) for session, task, *tokens in rows}

    def turns(self, row: AttemptRow) -> list[Turn]:
        """The costs of each turn of one try. `trajectory` gives turns with their answers and submissions."""
        query = (
            "SELECT messages, prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens, "
            "model_seconds, tool_seconds FROM turns WHERE attempt = ? ORDER BY turn"
        )
        return [Turn(found[0], Usage(*found[1:5]), *found[5:]) for found in self._db.execute(query, (row.key,))]

    @property
    def holds_answers(self) -> bool:
        """Whether every attempt was recorded with its answers: how each ended, and as it came.

        False for a run that was begun by a version which did not record them.
        """
        return not meta(self._db, "last_attempt_without_answers")

    def tokens(self, row: AttemptRow) -> list[Tokens | None]:
        """Token ids and log-probabilities of each turn of one try, None where the server gave none."""
        return [turn.tokens for turn in self._whole_turns(row, self.conversation(row))]

    def submission(self, row: AttemptRow) -> Submission:
        """What one try handed in."""
        body = self._db.execute("SELECT body FROM blobs WHERE digest = ?", (row.digest,)).fetchone()[0]
        return Submission(zlib.decompress(body), row.kind)

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
        turns = self.turns(row)
        query = (
            "SELECT w.turn, w.finish_reason, w.shared, w.given, b.body, w.ids, w.logprobs "
            "FROM answers w LEFT JOIN blobs b ON b.digest = w.opening WHERE w.attempt = ? ORDER BY w.turn"
        )
        answers = self._db.execute(query, (row.key,)).fetchall()
        all_tokens = unpacked_tokens([answer[4:] for answer in answers])
        places = Trajectory(row.exit, tuple(messages), tuple(turns), Submission(), 0.0).answers
        for (number, finish_reason, shared, given, *_), tokens in zip(answers, all_tokens, strict=True):
            came = None if given is None else unpacked_message(given, messages[places[number]])
            turns[number] = replace(
                turns[number], finish_reason=finish_reason, shared=shared, given=came, tokens=tokens
            )
        query = (
            "SELECT t.turn, b.body, t.kind FROM turns t JOIN blobs b ON b.digest = t.submission "
            "WHERE t.attempt = ? ORDER BY t.turn"
        )
        for number, body, kind in self._db.execute(query, (row.key,)):
            turns[number] = replace(turns[number], submission=Submission(zlib.decompress(body), kind))
        return turns

    def conversation(self, row: AttemptRow) -> list[Message]:
        """The messages of one try as they were sent."""
        query = (
            "WITH RECURSIVE path (id, parent, body, depth) AS ("
            " SELECT m.id, m.parent, m.body, 0 FROM messages m JOIN attempts a ON a.last_message = m.id WHERE a.id = ?"
            " UNION ALL SELECT m.id, m.parent, m.body, depth + 1 FROM messages m JOIN path ON m.id = path.parent)"
            "SELECT body FROM path ORDER BY depth DESC"
        )
        return [json.loads(zlib.decompress(body)) for (body,) in self._db.execute(query, (row.key,))]
