"""A run on disk: one SQLite file in write-ahead mode, append-only, with one writer.

Guarantees: what a `record_*` method has returned from survives the death of the process, also by SIGKILL. An attempt,
known by its task and index, counts once and is never sampled again, while every failed try is kept as evidence.
Conversations are stored as they were sent to the model, shared prefixes once (`messages`), answers as they came
(`monkeys.store.answers`), and submissions once by content. `trajectory` gives what `record_attempt` was given. Readers
may look at any time; a second writer is refused. A run of an earlier version is read as it is, and is migrated when it
is first written (`monkeys.store.migrations`). Of what a session says of itself no secret is kept (`envs.secrets`).

    runs/NAME/run.sqlite   this file            runs/NAME/lock   held while a process writes
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

from agent.agent import AttemptSpec
from agent.trajectory import Message, Trajectory, Turn, Usage
from envs.secrets import keep_environment, redact, redacted
from monkeys.spec.identity import differences
from monkeys.spec.kinds import RUN_NAME
from monkeys.store.answers import encoded_message, packed_answers
from monkeys.store.checks import check_rows, check_schema, guard
from monkeys.store.connections import FILE, at_this_version, open_to_read, open_to_write
from monkeys.store.errors import StoreError
from monkeys.store.migrations import check_version, migrate
from monkeys.store.reading import Reader
from monkeys.store.rows import REPLAYED, TAKEN, AttemptRow, content_digest, submission_digest
from monkeys.store.schema import SCHEMA, VERSION
from tasks.task import Submission, TaskSet, Verdict

__all__ = ["Store", "run_folder"]

SHOWN = 10  # differences of a configuration
MOST_TOKENS = 2**53  # as `monkeys.store.checks` reads them


def run_folder(runs: Path, name: str) -> Path:
    """Where the run called `name` is kept. Raises `StoreError` for what is no name, such as a path."""
    try:
        return runs / RUN_NAME.read(name)
    except ValueError as error:
        raise StoreError(f"{'' if name.strip() else 'the name of a run '}{error}; nothing was changed") from None


class Store(Reader):
    """One run. `Store.write` opens it to go on with it, `Store.read` to look at it."""

    def __init__(self, folder: Path, db: sqlite3.Connection, lock: int | None) -> None:
        super().__init__(folder, db)
        self._lock, self._session = lock, 0

    # Opening

    @classmethod
    def write(cls, folder: Path, config: Mapping[str, Any], tasks: TaskSet, environment: Mapping[str, Any]) -> Store:
        """Open the run at `folder` to write it: a new one, or one of the same configuration to go on with.

        `config` identifies the run (`monkeys.spec.identity`). `environment` (versions, the machine, the command)
        may change between sessions and is kept with each. A run of an earlier version is migrated.
        Raises `StoreError` when the configuration differs, another process writes, or the disk refuses.
        """
        folder = run_folder(folder.parent, folder.name)
        keep_environment()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StoreError(
                f"run directory {folder} cannot be written ({error.strerror}); "
                "mend that, or give another --run name, or another folder with --runs"
            ) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            raise StoreError(
                f"run {folder} is being written by another process; wait for it to end, or give another --run name"
            ) from None
        try:
            store = cls(folder, open_to_write(folder / FILE), lock)
        except StoreError:
            os.close(lock)
            raise
        try:
            with store._writing():
                if not store._db.execute("SELECT 1 FROM sqlite_master").fetchone():
                    store._create(config, tasks)
                else:
                    store._resume(config, tasks)
                session = {
                    "began": time.time(),
                    "pid": os.getpid(),
                    "host": os.uname().nodename,
                    "environment": json.dumps(redacted(environment)),
                }
                store._session = store._insert("sessions", session)
        except BaseException:
            store.close()
            raise
        return store

    @classmethod
    def read(cls, folder: Path) -> Store:
        """Open a run to look at it. A run of an earlier version is read as it is, and is not changed.

        Raises `StoreError` if there is none, or if it cannot be read.
        """
        path = folder / FILE
        if not path.is_file():
            raise StoreError(f"no run at {folder}; `monkeys runs` lists them, and --runs names the folder they are in")
        try:
            db = open_to_read(path)
        except sqlite3.Error as error:
            raise StoreError(f"{path} cannot be opened ({error})") from None
        try:
            guard(db)
            if not db.execute("SELECT 1 FROM sqlite_master").fetchone():
                raise StoreError(f"run {folder} holds nothing yet: its command was ended at the start; give it again")
            check_schema(db, f"run {folder}")
            check_version(db, folder)
            db = at_this_version(db)
            check_rows(db, f"run {folder}")
            return cls(folder, db, None)
        except BaseException as error:
            db.close()
            if isinstance(error, sqlite3.Error):
                raise StoreError(f"{path} is not a run of this program, or is damaged ({error})") from None
            raise

    def _create(self, config: Mapping[str, Any], tasks: TaskSet) -> None:
        for statement in SCHEMA.split(";"):
            self._db.execute(statement)
        self._db.executemany(
            "INSERT INTO meta VALUES (?, ?)",
            [
                ("schema", json.dumps(VERSION)),
                ("config", json.dumps(config)),
                ("created", json.dumps(time.time())),
            ],
        )
        self._db.executemany(
            "INSERT INTO tasks VALUES (?, ?, ?, ?)",
            [(position, task.id, task.digest, task.group) for position, task in enumerate(tasks.tasks)],
        )

    def _resume(self, config: Mapping[str, Any], tasks: TaskSet) -> None:
        check_schema(self._db, self._where)
        check_version(self._db, self.folder)
        migrate(self._db)
        check_rows(self._db, self._where)
        if differing := differences(self.config, config):
            if len(differing) > SHOWN:
                differing[SHOWN:] = [f"and {len(differing) - SHOWN} more"]
            raise StoreError(
                f"run {self.folder.name} has another configuration ({'; '.join(differing)}); give the same "
                "settings to go on, or another --run name to begin a new run; nothing was changed"
            )
        if self.task_digests() != {task.id: task.digest for task in tasks.tasks}:
            raise StoreError(
                f"run {self.folder.name} was made with other tasks (ids or contents differ from {tasks.name}); "
                "give the same task set, or another --run name; nothing was changed"
            )

    # Writing

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """One transaction. If the disk refuses a part of it, the store stays as it was."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            raise StoreError(
                f"run {self.folder} cannot be written ({error}); all that was recorded before is kept: "
                "free some space or correct its permissions, then give the same command again"
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

    def record_attempt(self, spec: AttemptSpec, trajectory: Trajectory) -> None:
        """Record one try of an attempt, or of a continuation. Raises `StoreError`; then nothing of it is recorded."""
        with self._writing():
            branch = self._branch(spec)
            own = "task = ? AND branch_of IS NULL" if branch[0] is None else "branch_of = ? AND branch_turn = ?"
            tries = self._db.execute(
                f"SELECT count(*) FROM attempts WHERE {own} AND idx = ?",
                (*((spec.task,) if branch[0] is None else branch), spec.index),
            )
            attempt = self._insert(
                "attempts",
                {
                    "session": self._session,
                    "task": spec.task,
                    "idx": spec.index,
                    "try": tries.fetchone()[0],
                    "seed": spec.seed,
                    "exit": trajectory.exit,
                    "detail": _said(trajectory.detail),
                    "infra": trajectory.exit.infra,
                    "last_message": self._put_messages(trajectory.messages),
                    "turns": len(trajectory.turns),
                    "seconds": trajectory.seconds,
                    "finished": time.time(),
                    **_tokens(trajectory.usage),
                    **self._put_submission(trajectory.submission),
                    "arm": spec.arm,
                    "brief": self._put_blob(spec.brief.encode("utf-8", "surrogatepass")) if spec.brief else None,
                    "parents": json.dumps(spec.parents),
                    "each_turn": TAKEN if trajectory.each_turn else "",
                    "branch_of": branch[0],
                    "branch_turn": branch[1],
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
                        **(self._put_submission(turn.submission) if turn.submission is not None else {}),
                        "untaken": _said(turn.untaken),
                    },
                )
            for answer in packed_answers(trajectory, partial(self._put_blob, pack=bytes)):
                self._insert("answers", {"attempt": attempt, **answer})

    def _branch(self, spec: AttemptSpec) -> tuple[int | None, int | None]:
        """The try and the number of turns from which a continuation went on; None for an attempt of its own."""
        if spec.continues is None:
            return None, None
        row = self._db.execute(
            "SELECT id FROM attempts WHERE task = ? AND idx = ? AND NOT infra AND branch_of IS NULL",
            (spec.task, spec.continues.index),
        ).fetchone()
        if row is None:
            raise StoreError(
                f"run {self.folder.name} has no attempt {spec.continues.index} at {spec.task} that counts, and so no "
                "continuation of it; nothing was changed"
            )
        return row[0], spec.continues.turn

    def record_turns(self, row: AttemptRow, turns: Sequence[Turn]) -> None:
        """Record the submissions after each turn of an attempt, which a replay of it has given. Idempotent."""
        with self._writing():
            for number, turn in enumerate(turns):
                taken = self._put_submission(turn.submission) if turn.submission is not None else {}
                values = taken.get("submission"), taken.get("kind"), _said(turn.untaken), row.key, number
                self._db.execute(
                    "UPDATE turns SET submission = ?, kind = ?, untaken = ? WHERE attempt = ? AND turn = ?", values
                )
            self._db.execute("UPDATE attempts SET each_turn = ? WHERE id = ?", (REPLAYED, row.key))

    def record_unlike(self, row: AttemptRow, how: str) -> None:
        """Record that a replay of an attempt differed from it, so that the submissions of its turns are not known."""
        with self._writing():
            self._db.execute("UPDATE attempts SET each_turn = ? WHERE id = ?", (_said(f"unlike: {how}"), row.key))

    def _put_submission(self, submission: Submission) -> dict[str, Any]:
        """Keep a submission, and give the columns that refer to it."""
        return {"submission": self._put_blob(submission.body), "kind": submission.kind}

    def _put_blob(self, content: bytes, pack: Callable[[bytes], bytes] = zlib.compress) -> bytes:
        """Keep `content` once, packed, under its digest."""
        digest = content_digest(content)
        if not self._db.execute("SELECT 1 FROM blobs WHERE digest = ?", (digest,)).fetchone():
            self._insert("blobs", {"digest": digest, "body": pack(content)})
        return digest

    def _put_messages(self, messages: Sequence[Message]) -> int:
        parent = 0
        for message in messages:
            text = encoded_message(message)
            digest = content_digest(text)
            found = self._db.execute(
                "SELECT id FROM messages WHERE parent = ? AND digest = ?", (parent, digest)
            ).fetchone()
            if found:
                parent = found[0]
            else:
                row = {"parent": parent, "digest": digest, "body": zlib.compress(text, 1)}
                parent = self._insert("messages", row)
        return parent

    def record_verdict(self, task: str, submission: Submission, verdict: Verdict) -> None:
        """Record a verdict on a submission. It holds for every attempt at the task with that submission."""
        with self._writing():
            self._insert(
                "verdicts",
                {
                    "session": self._session,
                    "task": task,
                    "submission": submission_digest(submission),
                    "outcome": verdict.outcome,
                    "official": verdict.official,
                    "flaky": verdict.flaky,
                    "cached": verdict.cached,
                    "flags": json.dumps(verdict.flags),
                    "reason": _said(verdict.reason),
                    "tests": json.dumps(dict(verdict.tests)),
                    "seconds": verdict.seconds,
                    "log": zlib.compress(verdict.log),
                    "finished": time.time(),
                },
                or_ignore=True,
            )

    def end_session(self, note: str) -> None:
        """Record that this process has ended its work, and how."""
        with self._writing():
            values = time.time(), _said(note), self._session
            self._db.execute("UPDATE sessions SET ended = ?, note = ? WHERE id = ?", values)

    def close(self) -> None:
        """Close the file and release the lock. Idempotent."""
        self._db.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _said(text: str) -> str:
    """A text for people as it is kept: without secrets, and with ? for halves of characters, which SQLite refuses."""
    return redact(text).encode("utf-8", "replace").decode()


def _tokens(usage: Usage) -> dict[str, int]:
    """The columns of a usage. A server may tell a number that no count can be: it is kept as the nearest that can."""
    counts = {
        "prompt_tokens": usage.prompt,
        "cached_tokens": usage.cached,
        "completion_tokens": usage.completion,
        "reasoning_tokens": usage.reasoning,
    }
    return {name: min(max(0, number), MOST_TOKENS) for name, number in counts.items()}
