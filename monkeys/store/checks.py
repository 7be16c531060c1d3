"""What a run file must hold to be read. A file may come from anybody, and is checked while it is read.

Guarantees: whatever a file holds, reading it ends, in time and memory that its size and the caps below bound, with
values of the right types or with a `StoreError` that names the run, the field and the value. Nothing that the file
defines (views, triggers, computed columns) is carried out.
"""

from __future__ import annotations

import json
import re
import sqlite3
import zlib
from collections.abc import Callable, Mapping
from dataclasses import astuple
from functools import cache
from typing import Any, NoReturn

from agent.conversation import ELIDED, FEEDBACK, OURS, SUMMARY
from agent.trajectory import EXCHANGE, Exit, Message, exchanges
from monkeys.store.errors import StoreError
from monkeys.store.schema import SCHEMA
from tasks.task import Outcome

__all__ = [
    "MOST_BYTES",
    "check_config",
    "check_rows",
    "check_schema",
    "check_turns",
    "damaged",
    "decoded",
    "guard",
    "numbers",
    "parsed",
    "statuses",
    "texts",
    "to_message",
    "to_object",
    "unpacked",
]

MOST_BYTES = 128 * 2**20  # of one value, unpacked
MOST_VALUES = 8_000_000  # in one JSON text: each takes many times its length in memory
STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
SHOWN = 60

WHOLE = "typeof({0}) = 'integer' AND {0} BETWEEN 0 AND 9007199254740992"
NUMBER = "typeof({0}) IN ('integer', 'real') AND {0} BETWEEN 0 AND 1e15"
TEXT = "typeof({0}) = 'text'"
BLOB = "typeof({0}) = 'blob'"
FLAG = "typeof({0}) = 'integer' AND {0} IN (0, 1)"
TOKENS = dict.fromkeys(("prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens"), WHOLE)
ROWS: Mapping[str, Mapping[str, str]] = {
    "sessions": {
        "id": WHOLE,
        "began": NUMBER,
        "ended": f"{{0}} IS NULL OR {NUMBER}",
        "pid": WHOLE,
        "host": TEXT,
        "environment": TEXT,
        "note": TEXT,
    },
    "tasks": {"position": WHOLE, "id": TEXT, "digest": TEXT, "repo": TEXT},
    "attempts": {
        "id": WHOLE,
        "session": f"{WHOLE} AND {{0}} IN (SELECT id FROM sessions)",
        "task": f"{TEXT} AND {{0}} IN (SELECT id FROM tasks)",
        "idx": WHOLE,
        "try": WHOLE,
        "seed": "typeof({0}) = 'integer'",
        "exit": f"{{0}} IN ({', '.join(repr(str(exit)) for exit in Exit)})",
        "detail": TEXT,
        "infra": f"{{0}} = (exit IN ({', '.join(repr(str(exit)) for exit in Exit if exit.infra)}))",
        "submission": BLOB,
        "last_message": WHOLE,
        "turns": WHOLE,
        "seconds": NUMBER,
        **TOKENS,
        "kind": TEXT,
        "arm": TEXT,
        "brief": f"{{0}} IS NULL OR {BLOB}",
        "parents": TEXT,
        "each_turn": TEXT,
        "branch_of": f"{{0}} IS NULL OR {WHOLE} AND {{0}} IN (SELECT id FROM attempts WHERE branch_of IS NULL)",
        "branch_turn": f"CASE WHEN branch_of IS NULL THEN {{0}} IS NULL ELSE {WHOLE} END",
    },
    "verdicts": {
        "task": TEXT,
        "submission": BLOB,
        "outcome": f"{{0}} IN ({', '.join(repr(str(outcome)) for outcome in Outcome)})",
        "official": f"{{0}} IS NULL OR {FLAG}",
        "flaky": FLAG,
        "flags": TEXT,
        "reason": TEXT,
    },
}
TURNS = {"attempt": WHOLE, "turn": WHOLE, "messages": WHOLE, "model_seconds": NUMBER, "tool_seconds": NUMBER, **TOKENS}
TURNS |= {"untaken": TEXT}
# Of one attempt one try counts, and of one submission one verdict.
TWICE = {
    "attempts": "SELECT task, idx FROM attempts WHERE NOT infra "
    "GROUP BY task, idx, branch_of, branch_turn HAVING count(*) > 1",
    "verdicts": "SELECT task, hex(submission) FROM verdicts WHERE outcome != 'infra error' "
    "GROUP BY task, submission HAVING count(*) > 1",
}


def damaged(where: str, what: str) -> NoReturn:
    """Raise the `StoreError` of a run that cannot be read."""
    raise StoreError(
        f"{where} cannot be read: {what}; it is damaged, or was changed by another program: ask for a whole copy of "
        "it (`sqlite3 run.sqlite .recover` saves what is left); nothing was changed"
    ) from None


# The tables


def guard(db: sqlite3.Connection) -> None:
    """Have the connection carry out nothing of what a file defines, and take no value that is too large."""
    db.execute("PRAGMA trusted_schema = OFF")
    db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MOST_BYTES)


def check_schema(db: sqlite3.Connection, where: str) -> None:
    """Check that the file holds plain tables alone. Raises `StoreError` and `sqlite3.Error`."""
    for kind, name, sql in db.execute("SELECT type, name, sql FROM sqlite_master"):
        if kind not in ("table", "index"):
            damaged(where, f"it holds the {kind} {name!r}, and a run has none")
        if kind == "table" and not str(sql).upper().startswith("CREATE TABLE"):
            damaged(where, f"its table {name!r} is a virtual one")
        if kind == "table" and any(row[6] for row in db.execute("SELECT * FROM pragma_table_xinfo(?)", (name,))):
            damaged(where, f"its table {name!r} has columns that are computed")


def check_rows(db: sqlite3.Connection, where: str) -> None:
    """Check the types of what is read of every attempt. Raises `StoreError` and `sqlite3.Error`."""
    _check_columns(db, where)
    for table, columns in ROWS.items():
        _check(db, where, table, columns)
    for table, query in TWICE.items():
        if row := db.execute(query).fetchone():
            damaged(where, f"{table} holds {_shown(row)} twice")


def check_turns(db: sqlite3.Connection, where: str) -> None:
    """Check the types of all turns. Raises `StoreError` and `sqlite3.Error`."""
    _check(db, where, "turns", TURNS)


def _check_columns(db: sqlite3.Connection, where: str) -> None:
    """Check that the tables and columns of this version are there."""
    for table, ours in _our_columns().items():
        theirs = _columns(db, table)
        if not theirs:
            damaged(where, f"it has no table {table!r}")
        if missing := sorted(ours - theirs):
            damaged(where, f"its table {table!r} has no column {missing[0]!r}")


@cache
def _our_columns() -> Mapping[str, frozenset[str]]:
    db = sqlite3.connect(":memory:")
    try:
        db.executescript(SCHEMA)
        tables = [str(row[0]) for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {table: _columns(db, table) for table in tables}
    finally:
        db.close()


def _columns(db: sqlite3.Connection, table: str) -> frozenset[str]:
    return frozenset(str(row[0]) for row in db.execute("SELECT name FROM pragma_table_info(?)", (table,)))


def _check(db: sqlite3.Connection, where: str, table: str, columns: Mapping[str, str]) -> None:
    tests = {name: f"({test.format(_quoted(name))})" for name, test in columns.items()}
    wrong = " OR ".join(f"({test}) IS NOT 1" for test in tests.values())
    names = ", ".join(map(_quoted, tests))
    row = db.execute(f"SELECT {names}, {', '.join(tests.values())} FROM {table} WHERE {wrong} LIMIT 1").fetchone()
    if row is None:
        return
    values, passed = row[: len(tests)], row[len(tests) :]
    name, value = next((name, value) for name, value, ok in zip(tests, values, passed, strict=True) if ok != 1)
    damaged(where, f"{table}.{name} is {_shown(value)}")


def _quoted(name: str) -> str:
    return f'"{name}"'


def _shown(value: Any) -> str:
    text = repr(value[:SHOWN] if isinstance(value, str | bytes) else value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


# Values


def unpacked(body: Any, where: str, what: str, *, most: int = MOST_BYTES, by: Any = None) -> bytes:
    """What was packed with zlib, if it is at most `most` bytes. `by` is the object that unpacks it."""
    if not isinstance(body, bytes):
        damaged(where, f"{what} is {_shown(body)}, not packed bytes")
    unpacker = by or zlib.decompressobj()
    try:
        data = unpacker.decompress(body, max(1, most))
        if unpacker.unconsumed_tail:
            damaged(where, f"{what} unpacks to more than {most:,} bytes")
    except zlib.error as error:
        damaged(where, f"{what} cannot be unpacked ({error})")
    if not unpacker.eof:
        damaged(where, f"{what} is cut short")
    return data


def decoded(body: bytes, where: str, what: str) -> str:
    """A text as the store writes it: UTF-8, with halves of characters."""
    try:
        return body.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        damaged(where, f"{what} is no text")


def parsed(text: Any, where: str, what: str) -> Any:
    """What a JSON text says."""
    if not isinstance(text, str | bytes):
        damaged(where, f"{what} is {_shown(text)}, not JSON")
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if _values(raw) > MOST_VALUES and _values(STRING.sub(b"", raw)) > MOST_VALUES:
        damaged(where, f"{what} holds more than {MOST_VALUES:,} values")
    try:
        return json.loads(raw.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError) as error:
        damaged(where, f"{what} is not JSON ({' '.join(str(error).split())[:SHOWN]})")


def _values(raw: bytes) -> int:
    return raw.count(b",") + raw.count(b"[") + raw.count(b"{")


def to_object(value: Any, where: str, what: str) -> dict[str, Any]:
    """A JSON object."""
    if not isinstance(value, dict):
        damaged(where, f"{what} is {_shown(value)}, not an object")
    return value


def texts(value: Any, where: str, what: str) -> tuple[str, ...]:
    """A list of texts."""
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        damaged(where, f"{what} is {_shown(value)}, not a list of texts")
    return tuple(value)


def numbers(value: Any, where: str, what: str) -> tuple[int, ...]:
    """A list of whole numbers."""
    if not isinstance(value, list) or not all(type(one) is int for one in value):
        damaged(where, f"{what} is {_shown(value)}, not a list of whole numbers")
    return tuple(value)


def statuses(value: Any, where: str, what: str) -> dict[str, str]:
    """Texts by name."""
    if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
        damaged(where, f"{what} is {_shown(value)}, not texts by name")
    return value


def to_message(value: Any, where: str, what: str) -> Message:
    """A message of a conversation, whose role and calls have the form that everything that reads one relies on."""
    if not isinstance(value, dict) or not isinstance(value.get("role"), str):
        damaged(where, f"{what} is no message with a role")
    calls = value.get("tool_calls") or []
    if not isinstance(calls, list) or not all(
        isinstance(call, dict) and isinstance(call.get("function") or {}, dict) for call in calls
    ):
        damaged(where, f"{what} has tool calls of another form")
    if not isinstance(value.get("content"), str | list | None):
        damaged(where, f"{what} has the content {_shown(value['content'])}")
    if not OURS.isdisjoint(value):
        _check_ours(value, where, what)
    return value


def _check_ours(message: Message, where: str, what: str) -> None:
    """Check the keys of a message that are not sent."""
    if not isinstance(message.get(FEEDBACK, ""), str) or not isinstance(message.get(ELIDED, 0), int):
        damaged(where, f"{what} has a mark of another form")
    if (FEEDBACK in message or SUMMARY in message or ELIDED in message) and not isinstance(message["content"], str):
        damaged(where, f"{what} has a mark and no text")
    part = message.get(SUMMARY, [0, 0])
    if not isinstance(part, list) or len(part) != 2 or not all(_count_or_none(one) and one is not None for one in part):
        damaged(where, f"{what} is a summary of {_shown(part)}")
    if EXCHANGE in message:
        try:
            (exchange,) = exchanges([message])
            usage = astuple(exchange.usage)
        except (TypeError, KeyError, ValueError):
            damaged(where, f"{what} has an exchange of another form")
        texts = (exchange.purpose, exchange.model)
        if not all(map(_text, texts)) or not all(type(one) is int for one in usage):
            damaged(where, f"{what} has an exchange of another form")
        for each in (*exchange.messages, exchange.reply):
            to_message(each, where, what)


# The configuration


def check_config(value: Any, where: str) -> dict[str, Any]:
    """A configuration whose parts that are read have the right types."""
    config = to_object(value, where, "its configuration")
    for section in ("tasks", "agent", "model", "limits", "sandbox", "verify", "strategy"):
        to_object(config.get(section, {}), where, f"its configuration's {section}")
    for path, (say, fits) in LEAVES.items():
        section, _, name = path.rpartition(".")
        table = config.get(section, {}) if section else config
        if name in table and not fits(table[name]):
            damaged(where, f"{path} in its configuration is {_shown(table[name])}, not {say}")
    sampling = config.get("strategy", {}).get("sampling", {})
    if not set(sampling) <= {"kind", "first"} or not isinstance(sampling.get("kind", ""), str):
        damaged(where, f"strategy.sampling in its configuration is {_shown(sampling)}")
    if not _count_or_none(sampling.get("first")):
        damaged(where, f"strategy.sampling.first in its configuration is {_shown(sampling['first'])}")
    return config


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _object(value: Any) -> bool:
    return isinstance(value, dict)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _count_or_none(value: Any) -> bool:
    return value is None or (type(value) is int and 0 <= value <= 2**53)


def _number_or_none(value: Any) -> bool:
    return value is None or (type(value) in (int, float) and 0 <= value <= 1e15)


_Fits = tuple[str, Callable[[Any], bool]]
LEAVES: Mapping[str, _Fits] = {
    **dict.fromkeys(
        ("suite", "tasks.set", "model.name", "agent.name", "agent.scaffold", "agent.actions"), ("a text", _text)
    ),
    **dict.fromkeys(("agent.review_model", "sandbox.name", "strategy.name"), ("a text", _text)),
    "agent.feedback": ("a list of texts", _texts),
    "limits.context": ("stop, elide or summarise", lambda value: value in ("stop", "elide", "summarise")),
    **dict.fromkeys(("limits.turns", "limits.tokens", "limits.window"), ("a whole number", _count_or_none)),
    **dict.fromkeys(("limits.seconds", "limits.dollars"), ("a number", _number_or_none)),
    **dict.fromkeys(
        ("model.sampling", "model.recording", "agent.prompts", "strategy.sampling"), ("an object", _object)
    ),
    "tasks.ids": ("a list of texts", _texts),
}
