"""A run on disk: one SQLite file in write-ahead mode, append-only, with one writer.

Guarantees: whatever `record_*` returned for survives the death of the process, also by
SIGKILL; an attempt (task, index) is counted once and never sampled again, while every
failed try stays as evidence; conversations are stored as they were sent to the model,
shared prefixes once, and answers as they came (`monkeys.store.answer_table`); patches once by
content. `trajectory` is what `record_attempt` was given. Readers may look at any time. A
second writer is refused.

    runs/NAME/run.sqlite   this file            runs/NAME/lock   held while a process writes
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import sqlite3
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from agent.trajectory import Exit, Message, Tokens, Trajectory, Turn, Usage
from monkeys.store.answer_table import TABLE, packed_answers, unpacked_message, unpacked_tokens, written
from tasks.task import Outcome, Submission, TaskSet, Verdict

__all__ = ["AttemptRow", "Store", "StoreError", "Tally", "patch_digest"]

SCHEMA_VERSION = 2
SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE sessions (
    id INTEGER PRIMARY KEY, began REAL NOT NULL, ended REAL, pid INTEGER NOT NULL, host TEXT NOT NULL,
    environment TEXT NOT NULL, note TEXT NOT NULL DEFAULT '');
CREATE TABLE tasks (
    position INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, digest TEXT NOT NULL, repo TEXT NOT NULL);
CREATE TABLE blobs (digest BLOB PRIMARY KEY, body BLOB NOT NULL);
-- A conversation is a path in a tree: a message under the ones before it.
CREATE TABLE messages (
    id INTEGER PRIMARY KEY, parent INTEGER NOT NULL, digest BLOB NOT NULL, body BLOB NOT NULL,
    UNIQUE (parent, digest));
CREATE TABLE attempts (
    id INTEGER PRIMARY KEY, session INTEGER NOT NULL, task TEXT NOT NULL, idx INTEGER NOT NULL, try INTEGER NOT NULL,
    seed INTEGER NOT NULL, exit TEXT NOT NULL, detail TEXT NOT NULL, infra INTEGER NOT NULL, patch BLOB NOT NULL,
    last_message INTEGER NOT NULL, turns INTEGER NOT NULL, seconds REAL NOT NULL, finished REAL NOT NULL,
    prompt_tokens INTEGER NOT NULL, cached_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL, UNIQUE (task, idx, try));
-- What law 1 says: of one attempt at most one try counts.
CREATE UNIQUE INDEX counted ON attempts (task, idx) WHERE NOT infra;
CREATE TABLE turns (
    attempt INTEGER NOT NULL, turn INTEGER NOT NULL, messages INTEGER NOT NULL, model_seconds REAL NOT NULL,
    tool_seconds REAL NOT NULL, prompt_tokens INTEGER NOT NULL, cached_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL, reasoning_tokens INTEGER NOT NULL, PRIMARY KEY (attempt, turn)) WITHOUT ROWID;
CREATE TABLE verdicts (
    id INTEGER PRIMARY KEY, session INTEGER NOT NULL, task TEXT NOT NULL, patch BLOB NOT NULL, outcome TEXT NOT NULL,
    official INTEGER, flaky INTEGER NOT NULL, cached INTEGER NOT NULL, flags TEXT NOT NULL,
    reason TEXT NOT NULL, tests TEXT NOT NULL, seconds REAL NOT NULL, log BLOB NOT NULL, finished REAL NOT NULL);
CREATE UNIQUE INDEX judged ON verdicts (task, patch) WHERE outcome != 'infra error';
"""
NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,99}")


class StoreError(Exception):
    """A run cannot be opened or written; the message says why and that nothing recorded is lost."""


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """One try of an attempt, without its conversation. `outcome` is None while it is not verified.

    `official` is what the task's own harness says, None where it was not asked.
    """

    key: int
    task: str
    index: int
    tries: int
    seed: int
    exit: Exit
    detail: str
    outcome: Outcome | None
    reason: str
    patch: bytes
    turns: int
    usage: Usage
    seconds: float
    official: bool | None = None
    flaky: bool = False
    flags: tuple[str, ...] = ()
    session: int = 0


@dataclass(frozen=True, slots=True)
class Tally:
    """One task's attempts, counted without infra errors but for `infra`. `patches` are distinct and not empty.

    `official` are those that the task's own harness calls resolved, `disputed` those of which it
    says otherwise than the verdict that counts, `flaky` those whose verdict changed when it was
    reached again. `turns`, `usage` and `seconds` are those of every try, for they were all paid for.
    """

    task: str
    resolved: int
    unresolved: int
    unverified: int
    infra: int
    patches: int
    turns: int
    usage: Usage
    seconds: float
    official: int = 0
    disputed: int = 0
    flaky: int = 0


def patch_digest(patch: bytes) -> bytes:
    return hashlib.sha256(patch).digest()[:16]


class Store:
    """One run. `Store.write` to go on with it, `Store.read` to look."""

    def __init__(self, folder: Path, db: sqlite3.Connection, lock: int | None) -> None:
        self.folder, self._db, self._lock = folder, db, lock
        self._session = 0

    # Opening

    @classmethod
    def write(cls, folder: Path, config: Mapping[str, Any], tasks: TaskSet, environment: Mapping[str, Any]) -> Store:
        """Open the run at `folder` for writing: a new one, or one of the same configuration to go on with.

        `config` is what must not change within a run; `environment` (versions, the command) may, and is
        kept per session.
        Raises `StoreError` when the configuration differs, another process writes, or the disk refuses.
        """
        if not NAME.fullmatch(folder.name):
            raise StoreError(f"run name {folder.name!r} is no good: letters, digits, '.', '_' and '-' only")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StoreError(
                f"run directory {folder} cannot be written ({error.strerror}); "
                "make it writable or give another place with --runs"
            ) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            raise StoreError(
                f"run {folder} is being written by another process; wait for it, or give another --run name"
            ) from None
        store = cls(folder, _connect(folder / "run.sqlite"), lock)
        try:
            with store._writing():
                if not store._db.execute("SELECT 1 FROM sqlite_master").fetchone():
                    store._create(config, tasks)
                else:
                    store._resume(config, tasks)
                store._db.execute(TABLE)  # which runs of earlier versions lack
                session = {
                    "began": time.time(),
                    "pid": os.getpid(),
                    "host": os.uname().nodename,
                    "environment": json.dumps(environment),
                }
                store._session = store._insert("sessions", session)
        except BaseException:
            store.close()
            raise
        return store

    @classmethod
    def read(cls, folder: Path) -> Store:
        """Open a run to look at. Raises `StoreError` if there is none."""
        if not (folder / "run.sqlite").is_file():
            raise StoreError(f"no run at {folder}; `monkeys runs` lists them, and --runs names the folder they are in")
        path = folder / "run.sqlite"
        try:
            db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro{_immutable(path)}", uri=True, isolation_level=None)
        except sqlite3.Error as error:
            raise StoreError(f"{path} cannot be opened ({error})") from None
        store = cls(folder, db, None)
        try:
            if not db.execute("SELECT 1 FROM sqlite_master").fetchone():
                raise StoreError(f"run {folder} holds nothing yet: its command was ended at the start; give it again")
            store._check_schema()
        except sqlite3.Error as error:
            db.close()
            raise StoreError(f"{path} is not a run of this program, or is damaged ({error})") from None
        except StoreError:
            db.close()
            raise
        return store

    def _create(self, config: Mapping[str, Any], tasks: TaskSet) -> None:
        for statement in SCHEMA.split(";"):
            self._db.execute(statement)
        self._db.executemany(
            "INSERT INTO meta VALUES (?, ?)",
            [
                ("schema", json.dumps(SCHEMA_VERSION)),
                ("config", json.dumps(config)),
                ("created", json.dumps(time.time())),
            ],
        )
        self._db.executemany(
            "INSERT INTO tasks VALUES (?, ?, ?, ?)",
            [(position, task.id, task.digest, task.repo) for position, task in enumerate(tasks.tasks)],
        )

    def _resume(self, config: Mapping[str, Any], tasks: TaskSet) -> None:
        self._check_schema()
        known = self.config
        differing = sorted(key for key in {*known, *config} if known.get(key) != config.get(key))
        if differing:
            changes = "; ".join(f"{key} was {known.get(key)!r} and is now {config.get(key)!r}" for key in differing[:3])
            raise StoreError(
                f"run {self.folder.name} has another configuration ({changes}); give the same settings to go on, "
                "or another --run name to start anew; nothing was changed"
            )
        if self.task_digests() != {task.id: task.digest for task in tasks.tasks}:
            raise StoreError(
                f"run {self.folder.name} was made with other tasks (ids or contents differ from {tasks.name}); "
                "give the same task set, or another --run name; nothing was changed"
            )

    def _check_schema(self) -> None:
        version = self._meta("schema")
        if version != SCHEMA_VERSION:
            raise StoreError(
                f"run {self.folder} has store format {version} and this program reads {SCHEMA_VERSION}; "
                "use the version that made it"
            )

    # Writing

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """One transaction. What the disk refuses leaves the store as it was."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            raise StoreError(
                f"run {self.folder} cannot be written ({error}); all that was recorded before is kept: "
                "free some space or mend its permissions, then give the same command again"
            ) from None
        except BaseException:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        if self._db.in_transaction:
            try:
                self._db.execute("ROLLBACK")
            except sqlite3.Error:
                pass  # SQLite has rolled back by itself

    def _insert(self, table: str, columns: Mapping[str, Any], *, or_ignore: bool = False) -> int:
        names = ", ".join(columns)
        marks = ", ".join("?" * len(columns))
        verb = "INSERT OR IGNORE" if or_ignore else "INSERT"
        put = self._db.execute(f"{verb} INTO {table} ({names}) VALUES ({marks})", tuple(columns.values()))
        return cast(int, put.lastrowid)

    def record_attempt(self, task: str, index: int, seed: int, trajectory: Trajectory) -> None:
        """Record one try. Raises `StoreError`, then nothing of it is recorded."""
        with self._writing():
            digest = self._put_blob(trajectory.submission.body, zlib.compress(trajectory.submission.body))
            tries = self._db.execute("SELECT count(*) FROM attempts WHERE task = ? AND idx = ?", (task, index))
            attempt = self._insert(
                "attempts",
                {
                    "session": self._session,
                    "task": task,
                    "idx": index,
                    "try": tries.fetchone()[0],
                    "seed": seed,
                    "exit": trajectory.exit,
                    "detail": trajectory.detail,
                    "infra": trajectory.exit.infra,
                    "patch": digest,
                    "last_message": self._put_messages(trajectory.messages),
                    "turns": len(trajectory.turns),
                    "seconds": trajectory.seconds,
                    "finished": time.time(),
                    **_tokens(trajectory.usage),
                },
            )
            for number, turn in enumerate(trajectory.turns):
                self._insert(
                    "turns",
                    {
                        "attempt": attempt,
                        "turn": number,
                        "messages": turn.end,
                        "model_seconds": turn.model_seconds,
                        "tool_seconds": turn.tool_seconds,
                        **_tokens(turn.usage),
                    },
                )
            for answer in packed_answers(trajectory, lambda body: self._put_blob(body, body)):
                self._insert("answers", {"attempt": attempt, **answer})

    def _put_blob(self, content: bytes, body: bytes) -> bytes:
        """Keep `body` under the digest of its content, once."""
        digest = patch_digest(content)
        self._insert("blobs", {"digest": digest, "body": body}, or_ignore=True)
        return digest

    def _put_messages(self, messages: Sequence[Message]) -> int:
        parent = 0
        for message in messages:
            text = written(message)
            digest = hashlib.sha256(text).digest()[:16]
            found = self._db.execute(
                "SELECT id FROM messages WHERE parent = ? AND digest = ?", (parent, digest)
            ).fetchone()
            if found:
                parent = found[0]
            else:
                row = {"parent": parent, "digest": digest, "body": zlib.compress(text, 1)}
                parent = self._insert("messages", row)
        return parent

    def record_verdict(self, task: str, patch: bytes, verdict: Verdict) -> None:
        """Record what the verifier said of a patch; it holds for every attempt at the task with that patch."""
        with self._writing():
            self._insert(
                "verdicts",
                {
                    "session": self._session,
                    "task": task,
                    "patch": patch_digest(patch),
                    "outcome": verdict.outcome,
                    "official": verdict.official,
                    "flaky": verdict.flaky,
                    "cached": verdict.cached,
                    "flags": json.dumps(verdict.flags),
                    "reason": verdict.reason,
                    "tests": json.dumps(dict(verdict.tests)),
                    "seconds": verdict.seconds,
                    "log": zlib.compress(verdict.log),
                    "finished": time.time(),
                },
                or_ignore=True,
            )

    def end_session(self, note: str) -> None:
        with self._writing():
            self._db.execute("UPDATE sessions SET ended = ?, note = ? WHERE id = ?", (time.time(), note, self._session))

    def close(self) -> None:
        """Give the lock back. Idempotent."""
        self._db.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    # Reading

    def _meta(self, key: str) -> Any:
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return json.loads(row[0]) if row else None

    @property
    def config(self) -> dict[str, Any]:
        return dict(self._meta("config"))

    @property
    def created(self) -> float:
        """When the run was made, in seconds since 1970: tells runs of one name apart."""
        return float(self._meta("created"))

    def task_ids(self) -> list[str]:
        return [str(row[0]) for row in self._db.execute("SELECT id FROM tasks ORDER BY position")]

    def task_digests(self) -> dict[str, str]:
        """What tells whether a task is still the one that was sampled."""
        return {str(row[0]): str(row[1]) for row in self._db.execute("SELECT id, digest FROM tasks")}

    def sessions(self) -> list[dict[str, Any]]:
        """Each process that wrote here, with how many tries it recorded."""
        query = (
            "SELECT s.id, s.began, s.ended, s.pid, s.host, s.environment, s.note, count(a.id) AS attempts "
            "FROM sessions s LEFT JOIN attempts a ON a.session = s.id GROUP BY s.id ORDER BY s.id"
        )
        cursor = self._db.execute(query)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]

    def sampled(self) -> dict[str, set[int]]:
        """The indices that need no more sampling, per task: one look-up to resume."""
        done: dict[str, set[int]] = {}
        for task, index in self._db.execute("SELECT task, idx FROM attempts WHERE NOT infra"):
            done.setdefault(task, set()).add(index)
        return done

    def unverified(self) -> list[tuple[str, bytes, int]]:
        """Each (task, patch) that was sampled and has no verdict, with how many attempts wait for it."""
        rows = self._db.execute(
            "SELECT a.task, b.body, count(*) FROM attempts a JOIN blobs b ON b.digest = a.patch LEFT JOIN verdicts v "
            "ON v.task = a.task AND v.patch = a.patch AND v.outcome != 'infra error' "
            "WHERE NOT a.infra AND v.id IS NULL GROUP BY a.task, a.patch"
        )
        return [(task, zlib.decompress(body), count) for task, body, count in rows]

    def verdict_of(self, task: str, patch: bytes) -> tuple[Outcome, str] | None:
        row = self._db.execute(
            "SELECT outcome, reason FROM verdicts WHERE task = ? AND patch = ? AND outcome != 'infra error'",
            (task, patch_digest(patch)),
        ).fetchone()
        return (Outcome(row[0]), row[1]) if row else None

    def verdict_detail(self, task: str, patch: bytes) -> tuple[dict[str, str], str]:
        """Status per expected test, and the log, of the last verdict on a patch."""
        row = self._db.execute(
            "SELECT tests, log FROM verdicts WHERE task = ? AND patch = ? ORDER BY id DESC LIMIT 1",
            (task, patch_digest(patch)),
        ).fetchone()
        return (json.loads(row[0]), zlib.decompress(row[1]).decode("utf-8", "replace")) if row else ({}, "")

    def attempts(self, task: str | None = None) -> Iterable[AttemptRow]:
        """Every try, in order of task and index."""
        where, values = ("WHERE a.task = ?", [task]) if task else ("", [])
        rows = self._db.execute(
            "SELECT a.session, a.id, a.task, a.idx, a.try, a.seed, a.exit, a.detail, a.infra, a.turns, "
            "a.prompt_tokens, a.completion_tokens, a.cached_tokens, a.reasoning_tokens, "
            "a.seconds, a.patch, v.outcome, v.reason, v.official, v.flaky, v.flags "
            "FROM attempts a JOIN tasks t ON t.id = a.task "
            "LEFT JOIN verdicts v ON v.task = a.task AND v.patch = a.patch AND v.outcome != 'infra error' "
            f"{where} ORDER BY t.position, a.idx, a.try",
            values,
        )
        for row in rows:
            session, key, name, index, tries, seed, exit, detail, infra, turns, *tokens, seconds, patch = row[:-5]
            outcome, reason, official, flaky, flags = row[-5:]
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
                patch=patch,
                turns=turns,
                usage=Usage(*tokens),
                seconds=seconds,
                official=None if official is None else bool(official),
                flaky=bool(flaky),
                flags=tuple(json.loads(flags)) if flags else (),
                session=session,
            )

    def tallies(self) -> list[Tally]:
        """Each task's counts, in the order of the tasks: what a report needs, without a row for every attempt."""
        query = (
            "SELECT t.id, "
            "count(*) FILTER (WHERE NOT a.infra AND v.outcome = 'resolved'), "
            "count(*) FILTER (WHERE NOT a.infra AND v.outcome = 'unresolved'), "
            "count(*) FILTER (WHERE NOT a.infra AND v.outcome IS NULL), "
            f"count(*) FILTER (WHERE a.infra AND a.exit != '{Exit.CANCELLED}'), "
            "count(DISTINCT a.patch) FILTER (WHERE NOT a.infra AND a.patch != ?), "
            "coalesce(sum(a.turns), 0), total(a.seconds), "
            "coalesce(sum(a.prompt_tokens), 0), coalesce(sum(a.completion_tokens), 0), "
            "coalesce(sum(a.cached_tokens), 0), coalesce(sum(a.reasoning_tokens), 0), "
            "count(*) FILTER (WHERE NOT a.infra AND v.official), "
            "count(*) FILTER (WHERE NOT a.infra AND v.official != (v.outcome = 'resolved')), "
            "count(*) FILTER (WHERE NOT a.infra AND v.flaky) "
            "FROM tasks t LEFT JOIN attempts a ON a.task = t.id "
            "LEFT JOIN verdicts v ON v.task = a.task AND v.patch = a.patch AND v.outcome != 'infra error' "
            "GROUP BY t.position ORDER BY t.position"
        )
        rows = self._db.execute(query, (patch_digest(b""),))
        return [Tally(*(*row[:7], Usage(*row[8:12]), row[7], *row[12:])) for row in rows]

    def exits(self) -> dict[Exit, int]:
        """How many tries ended in which way, the commonest first."""
        rows = self._db.execute("SELECT exit, count(*) FROM attempts GROUP BY exit ORDER BY count(*) DESC, exit")
        return {Exit(exit): count for exit, count in rows}

    def usages(self, above: int | None = None) -> dict[tuple[int, str], Usage]:
        """Tokens of all tries by session and task; of the turns alone whose prompt had more tokens than `above`."""
        one, long, values = "a", "", []
        if above is not None:
            one, long, values = "t", "JOIN turns t ON t.attempt = a.id WHERE t.prompt_tokens > ?", [above]
        names = ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens")
        sums = ", ".join(f"sum({one}.{name})" for name in names)
        rows = self._db.execute(f"SELECT a.session, a.task, {sums} FROM attempts a {long} GROUP BY 1, 2", values)
        return {(session, task): Usage(*tokens) for session, task, *tokens in rows}

    def turns(self, row: AttemptRow) -> list[Turn]:
        """What each turn of one try cost. How it was answered says `trajectory`."""
        query = (
            "SELECT messages, prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens, "
            "model_seconds, tool_seconds FROM turns WHERE attempt = ? ORDER BY turn"
        )
        return [Turn(found[0], Usage(*found[1:5]), *found[5:]) for found in self._db.execute(query, (row.key,))]

    @property
    def holds_answers(self) -> bool:
        """False for a run of an earlier version: how its answers ended, and what was wrong with them, is not known."""
        return bool(self._db.execute("SELECT 1 FROM sqlite_master WHERE name = 'answers'").fetchone())

    def tokens(self, row: AttemptRow) -> list[Tokens | None]:
        """Token ids and log-probabilities of each turn of one try; None where the server told none."""
        return [turn.tokens for turn in self._answered(row, self.conversation(row))]

    def trajectory(self, row: AttemptRow) -> Trajectory:
        """One try as it was recorded."""
        messages = self.conversation(row)
        turns = tuple(self._answered(row, messages))
        billed, told = row.usage, sum((turn.usage for turn in turns), Usage())
        wasted = Usage(
            billed.prompt - told.prompt,
            billed.completion - told.completion,
            billed.cached - told.cached,
            billed.reasoning - told.reasoning,
        )
        return Trajectory(
            row.exit, tuple(messages), turns, Submission(self.patch(row)), row.seconds, row.detail, wasted
        )

    def _answered(self, row: AttemptRow, messages: Sequence[Message]) -> list[Turn]:
        """The turns with all that is known of their answers."""
        turns = self.turns(row)
        if not self.holds_answers:
            return turns
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
        return turns

    def patch(self, row: AttemptRow) -> bytes:
        body = self._db.execute("SELECT body FROM blobs WHERE digest = ?", (row.patch,)).fetchone()[0]
        return zlib.decompress(body)

    def conversation(self, row: AttemptRow) -> list[Message]:
        """The messages of one try, as they were sent."""
        query = (
            "WITH RECURSIVE path (id, parent, body, depth) AS ("
            " SELECT m.id, m.parent, m.body, 0 FROM messages m JOIN attempts a ON a.last_message = m.id WHERE a.id = ?"
            " UNION ALL SELECT m.id, m.parent, m.body, depth + 1 FROM messages m JOIN path ON m.id = path.parent)"
            "SELECT body FROM path ORDER BY depth DESC"
        )
        return [json.loads(zlib.decompress(body)) for (body,) in self._db.execute(query, (row.key,))]


def _immutable(path: Path) -> str:
    """A run in a folder that cannot be written, an archive, is read as a file that nobody changes."""
    writable = os.access(path.parent, os.W_OK) or path.with_name(f"{path.name}-wal").exists()
    return "" if writable else "&immutable=1"


def _tokens(usage: Usage) -> dict[str, int]:
    return {
        "prompt_tokens": usage.prompt,
        "cached_tokens": usage.cached,
        "completion_tokens": usage.completion,
        "reasoning_tokens": usage.reasoning,
    }


def _connect(path: Path) -> sqlite3.Connection:
    try:
        db = sqlite3.connect(path, isolation_level=None, timeout=10.0)
        db.execute("PRAGMA journal_mode = WAL")
        # A killed process loses nothing at this level; only a machine that loses power may lose the last moments.
        db.execute("PRAGMA synchronous = NORMAL")
    except sqlite3.Error as error:
        raise StoreError(
            f"run file {path} cannot be opened ({error}); see that it can be written and the disk has space"
        ) from None
    return db
