"""What a server answered, packed for the store: how each answer ended, as it came, its token ids and log-probabilities.

Guarantees: what is packed comes back as it was, but log-probabilities as float32, which is what servers compute; and
what repeats is kept once. The first prompt of an attempt is that of every attempt at its task. A later prompt mostly
begins with the one before and its completion, so only what follows is kept. An answer that differs from the message
that was made of it is kept by its difference. Token ids are JSON under zlib: within a fifth of what closer packings
come to, and for ids of any size.
"""

from __future__ import annotations

import json
import sys
import zlib
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from agent.trajectory import Message, Tokens, Trajectory

__all__ = ["TABLE", "packed_answers", "unpacked_message", "unpacked_tokens", "written"]

# One row for each answer of which anything is known beyond its message. `opening` is the digest of a blob: the
# attempt's first prompt.
TABLE = """
CREATE TABLE IF NOT EXISTS answers (
    attempt INTEGER NOT NULL, turn INTEGER NOT NULL, finish_reason TEXT NOT NULL, shared INTEGER NOT NULL,
    given BLOB, opening BLOB, ids BLOB, logprobs BLOB, UNIQUE (attempt, turn))
"""
WINDOW = 32_768  # of a dictionary that zlib looks at

# Keeps a blob, gives back its digest.
Keep = Callable[[bytes], bytes]


def written(message: Message) -> bytes:
    """A message as the store holds it."""
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def packed_answers(trajectory: Trajectory, keep: Keep) -> Iterator[dict[str, Any]]:
    """Rows of `TABLE`, without the attempt."""
    before: tuple[int, ...] | None = None
    for number, (turn, at) in enumerate(zip(trajectory.turns, trajectory.answers, strict=True)):
        row: dict[str, Any] = {"turn": number, "finish_reason": turn.finish_reason, "shared": turn.shared}
        if turn.given is not None and at < len(trajectory.messages):
            row["given"] = _packed_message(turn.given, trajectory.messages[at])
        if turn.tokens is not None:
            tokens = turn.tokens
            if before is None:
                row["opening"], before = keep(_packed_ids(tokens.prompt)), tokens.prompt
            same = _in_common(before, tokens.prompt)
            row["ids"] = _packed_ids([same, tokens.prompt[same:], tokens.completion])
            row["logprobs"] = _packed_floats(tokens.logprobs) if tokens.logprobs else None
            before = tokens.prompt + tokens.completion
        if turn.finish_reason or turn.shared or len(row) > 3:
            yield row


def unpacked_message(given: bytes, kept: Message) -> Message:
    """The answer as it came; `kept` is the message that was made of it."""
    text = zlib.decompressobj(-zlib.MAX_WBITS, zdict=written(kept)[-WINDOW:]).decompress(given)
    message: Message = json.loads(text)
    return message


def unpacked_tokens(rows: Sequence[tuple[bytes | None, bytes | None, bytes | None]]) -> list[Tokens | None]:
    """For each turn's opening (the blob itself), ids and log-probabilities, in order."""
    found: list[Tokens | None] = []
    before: tuple[int, ...] = ()
    for opening, ids, logprobs in rows:
        if ids is None:
            found.append(None)
            continue
        if opening is not None:
            before = tuple(_unpacked(opening))
        same, prompt, completion = _unpacked(ids)
        tokens = Tokens(before[:same] + tuple(prompt), tuple(completion), _unpacked_floats(logprobs))
        found.append(tokens)
        before = tokens.prompt + tokens.completion
    return found


def _packed_message(given: Mapping[str, Any], kept: Message) -> bytes | None:
    try:
        text = written(dict(given))
    except (TypeError, ValueError, RecursionError):
        return None  # no JSON, so no server gave it: what could be kept of it is the message
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS, zdict=written(kept)[-WINDOW:])
    return packer.compress(text) + packer.flush()


def _packed_ids(ids: Sequence[Any]) -> bytes:
    return zlib.compress(json.dumps(ids, separators=(",", ":")).encode())


def _unpacked(packed: bytes) -> Any:
    return json.loads(zlib.decompress(packed))


def _packed_floats(values: Sequence[float]) -> bytes:
    return zlib.compress(_little(array("f", values)).tobytes())


def _unpacked_floats(packed: bytes | None) -> tuple[float, ...]:
    values = array("f")
    if packed is not None:
        values.frombytes(zlib.decompress(packed))
    return tuple(_little(values))


def _little(values: array[float]) -> array[float]:
    """In the byte order of the file from that of the machine, and back."""
    if sys.byteorder == "big":
        values.byteswap()
    return values


def _in_common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many ids both begin with: by halves, for comparing slices is quick."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
