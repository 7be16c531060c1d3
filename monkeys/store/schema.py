"""The tables of a run, as this version of the program makes them.

A file of an earlier version is brought to the same tables by `monkeys.store.migrations`.
"""

from __future__ import annotations

__all__ = ["SCHEMA", "VERSION"]

VERSION = 5
SCHEMA = """
-- Values are JSON: the schema's version, the configuration, when the run was made.
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
-- A session is one process that wrote. Its environment is JSON: versions, the machine, the command, prices.
CREATE TABLE sessions (
    id INTEGER PRIMARY KEY, began REAL NOT NULL, ended REAL, pid INTEGER NOT NULL, host TEXT NOT NULL,
    environment TEXT NOT NULL, note TEXT NOT NULL DEFAULT '');
CREATE TABLE tasks (
    position INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, digest TEXT NOT NULL, repo TEXT NOT NULL);
-- Bodies under the digest of their content: submissions and briefs under zlib, the first prompts of attempts as packed.
CREATE TABLE blobs (digest BLOB PRIMARY KEY, body BLOB NOT NULL);
-- A conversation is a path in a tree: each message stands under the one before it.
CREATE TABLE messages (
    id INTEGER PRIMARY KEY, parent INTEGER NOT NULL, digest BLOB NOT NULL, body BLOB NOT NULL,
    UNIQUE (parent, digest));
-- One row for each try. `submission` and `brief` are digests of blobs, `brief` is NULL where there is none, and
-- `parents` is a JSON list of indices. `each_turn` says whether submissions were taken after each turn (see
-- `AttemptRow`). A continuation is no attempt of the run's own: it went on from attempt `branch_of` after `branch_turn`
-- turns of that, and its own turns are in `turns`. Whoever counts attempts takes those whose `branch_of` is NULL.
CREATE TABLE attempts (
    id INTEGER PRIMARY KEY, session INTEGER NOT NULL, task TEXT NOT NULL, idx INTEGER NOT NULL, try INTEGER NOT NULL,
    seed INTEGER NOT NULL, exit TEXT NOT NULL, detail TEXT NOT NULL, infra INTEGER NOT NULL, submission BLOB NOT NULL,
    last_message INTEGER NOT NULL, turns INTEGER NOT NULL, seconds REAL NOT NULL, finished REAL NOT NULL,
    prompt_tokens INTEGER NOT NULL, cached_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL, kind TEXT NOT NULL DEFAULT 'patch', arm TEXT NOT NULL DEFAULT '', brief BLOB,
    parents TEXT NOT NULL DEFAULT '[]', each_turn TEXT NOT NULL DEFAULT '', branch_of INTEGER, branch_turn INTEGER);
CREATE UNIQUE INDEX tried ON attempts (task, idx, try) WHERE branch_of IS NULL;
CREATE UNIQUE INDEX tried_on ON attempts (branch_of, branch_turn, idx, try) WHERE branch_of IS NOT NULL;
-- Of one attempt at most one try counts, and so of one continuation.
CREATE UNIQUE INDEX counted ON attempts (task, idx) WHERE NOT infra AND branch_of IS NULL;
CREATE UNIQUE INDEX counted_on ON attempts (branch_of, branch_turn, idx) WHERE NOT infra AND branch_of IS NOT NULL;
-- `submission` and `kind` are NULL for a turn after which nothing new was taken. `untaken` says why, where it is not
-- that nothing had changed.
CREATE TABLE turns (
    attempt INTEGER NOT NULL, turn INTEGER NOT NULL, messages INTEGER NOT NULL, model_seconds REAL NOT NULL,
    tool_seconds REAL NOT NULL, prompt_tokens INTEGER NOT NULL, cached_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL, reasoning_tokens INTEGER NOT NULL, submission BLOB, kind TEXT,
    untaken TEXT NOT NULL DEFAULT '', PRIMARY KEY (attempt, turn)) WITHOUT ROWID;
-- One row for each answer of which more is known than its message. `opening` is the digest of a blob: the attempt's
-- first prompt.
CREATE TABLE answers (
    attempt INTEGER NOT NULL, turn INTEGER NOT NULL, finish_reason TEXT NOT NULL, shared INTEGER NOT NULL,
    given BLOB, opening BLOB, ids BLOB, logprobs BLOB, UNIQUE (attempt, turn));
-- A task's submissions are all of one kind, so that a digest of the body tells them apart.
CREATE TABLE verdicts (
    id INTEGER PRIMARY KEY, session INTEGER NOT NULL, task TEXT NOT NULL, submission BLOB NOT NULL,
    outcome TEXT NOT NULL, official INTEGER, flaky INTEGER NOT NULL, cached INTEGER NOT NULL, flags TEXT NOT NULL,
    reason TEXT NOT NULL, tests TEXT NOT NULL, seconds REAL NOT NULL, log BLOB NOT NULL, finished REAL NOT NULL);
-- Of one submission at most one verdict counts.
CREATE UNIQUE INDEX verified ON verdicts (task, submission) WHERE outcome != 'infra error';
"""
