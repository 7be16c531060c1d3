"""Packing of answers for the store: how each ended, the answer as it came, its token ids and log-probabilities.

Guarantees: what is packed comes back as it was, except that log-probabilities become float32, which is what servers
compute. What repeats is kept once. All attempts at a task share the first prompt. A later prompt mostly begins with
the prompt before it and the completion of that, so only the rest is kept. An answer that differs from the message that
was made of it is kept as the difference. Token ids are JSON under zlib, which takes at most a fifth more room than
closer packings and holds ids of any size.
"""

from __future__ import annotations

import json
import sys
import zlib
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from agent.trajectory import Message, Tokens, Trajectory
from monkeys.store.checks import damaged, numbers, parsed, to_object, unpacked

__all__ = ["encoded_message", "packed_answers", "unpacked_message", "unpacked_tokens"]

WINDOW = 32_768  # bytes of a dictionary that zlib uses
MOST_IDS = 32_000_000  # of one attempt
GIVEN, IDS = "an answer as it came", "token ids"

Keep: TypeAlias = Callable[[bytes], bytes]
"""Keeps a blob and returns its digest."""


def encoded_message(message: Message) -> bytes:
    """A message as the store holds it."""
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def packed_answers(trajectory: Trajectory, keep: Keep) -> Iterator[dict[str, Any]]:
    """Rows of the table `answers`, without the column `attempt`."""
    before: tuple[int, ...] | None = None
    for number, (turn, at) in enumerate(zip(trajectory.turns, trajectory.answers, strict=True)):
        row: dict[str, Any] = {"turn": number, "finish_reason": turn.finish_reason, "shared": turn.shared}
        if turn.given is not None and at < len(trajectory.messages):
            row["given"] = _packed_message(turn.given, trajectory.messages[at])
        if turn.tokens is not None:
            tokens = turn.tokens
            if before is None:
                row["opening"], before = keep(_packed_ids(tokens.prompt)), tokens.prompt
            same = _common_prefix(before, tokens.prompt)
            row["ids"] = _packed_ids([same, tokens.prompt[same:], tokens.completion])
            row["logprobs"] = _packed_floats(tokens.logprobs) if tokens.logprobs else None
            before = tokens.prompt + tokens.completion
        if turn.finish_reason or turn.shared or len(row) > 3:
            yield row


def unpacked_message(given: bytes, kept: Message, where: str) -> Message:
    """The answer as it came. `kept` is the message that was made of it. Raises `StoreError` for the run `where`."""
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS, zdict=encoded_message(kept)[-WINDOW:])
    return to_object(parsed(unpacked(given, where, GIVEN, by=unpacker), where, GIVEN), where, GIVEN)


def unpacked_tokens(rows: Sequence[tuple[bytes | None, bytes | None, bytes | None]], where: str) -> list[Tokens | None]:
    """The tokens of each turn, from rows of opening (the blob itself), ids and log-probabilities, in order.

    Raises `StoreError` for the run `where`.
    """
    found: list[Tokens | None] = []
    before: tuple[int, ...] = ()
    left = MOST_IDS
    for opening, ids, logprobs in rows:
        if ids is None:
            found.append(None)
            continue
        if opening is not None:
            before = numbers(_unpacked(opening, where), where, IDS)
        told = _unpacked(ids, where)
        if not isinstance(told, list) or len(told) != 3 or type(told[0]) is not int or told[0] < 0:
            damaged(where, f"{IDS} do not say what is shared")
        same, prompt, completion = told[0], *(numbers(part, where, IDS) for part in told[1:])
        tokens = Tokens(before[:same] + prompt, completion, _unpacked_floats(logprobs, where))
        found.append(tokens)
        before = tokens.prompt + tokens.completion
        left -= len(before) + len(tokens.logprobs)
        if left < 0:
            damaged(where, f"an attempt has more than {MOST_IDS:,} token ids")
    return found


def _packed_message(given: Mapping[str, Any], kept: Message) -> bytes | None:
    try:
        text = encoded_message(dict(given))
    except (TypeError, ValueError, RecursionError):
        return None  # not JSON, so no server sent it; the message is all that can be kept of it
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS, zdict=encoded_message(kept)[-WINDOW:])
    return packer.compress(text) + packer.flush()


def _packed_ids(ids: Sequence[Any]) -> bytes:
    return zlib.compress(json.dumps(ids, separators=(",", ":")).encode())


def _unpacked(packed: bytes, where: str) -> Any:
    return parsed(unpacked(packed, where, IDS), where, IDS)


def _packed_floats(values: Sequence[float]) -> bytes:
    return zlib.compress(_little(array("f", values)).tobytes())


def _unpacked_floats(packed: bytes | None, where: str) -> tuple[float, ...]:
    values = array("f")
    if packed is not None:
        data = unpacked(packed, where, "log-probabilities")
        if len(data) % values.itemsize:
            damaged(where, "log-probabilities are cut short")
        values.frombytes(data)
    return tuple(_little(values))


def _little(values: array[float]) -> array[float]:
    """Converts between the byte order of the machine and that of the file, in either direction."""
    if sys.byteorder == "big":
        values.byteswap()
    return values


def _common_prefix(one: Sequence[int], other: Sequence[int]) -> int:
    """How many ids at the beginning are equal. A bisection, since comparing slices is fast."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
