"""What went wrong between a run and its model, as notes for its reader: tries that do not count, and replies unread.

Guarantees: the last cause of infra errors is told wherever there are any. Where they grow with the turn, long attempts
are missing from the counts, and that is told too, as are prompts that the server cuts. The share of replies without a
readable action is an estimate where a run holds more attempts than are looked at, and says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import comb

from agent.scan import unread
from agent.trajectory import Exit
from monkeys.report.record import Record
from monkeys.store import AttemptRow, Store
from monkeys.text import percent, plain, several

__all__ = ["MANY_UNREAD", "Unread", "cut_prompt_notes", "failure_notes", "unread_notes", "unread_replies"]

LOOKED_AT = 200  # attempts whose replies are read
MANY_UNREAD = 0.2
STILL = 2  # turns whose prompt is as large as that of the turn before
FEWEST = 5  # failures that show a trend
CHANCE = 0.01  # that failures at equal rates lie as late as that
SHOWN = 240  # characters of a cause


@dataclass(frozen=True, slots=True)
class Unread(Record):
    """Replies without an action that could be read, among the `replies` of `attempts` that were looked at."""

    unread: int
    replies: int
    attempts: int
    of: int
    """How many attempts there are."""

    @property
    def share(self) -> float:
        return self.unread / self.replies


def unread_replies(store: Store, rows: Sequence[AttemptRow]) -> Unread | None:
    """How many replies held no action; None where no action is asked for, or nothing was replied."""
    if not store.config.get("agent", {}).get("tools"):
        return None
    replied = [row for row in rows if row.turns]
    some = replied[:: max(1, -(-len(replied) // LOOKED_AT))]
    if not some:
        return None
    found = sum(min(unread(store.conversation(row)), row.turns) for row in some)
    return Unread(found, sum(row.turns for row in some), len(some), len(replied))


def unread_notes(found: Unread | None) -> Iterator[str]:
    """A warning where many replies held no action."""
    if found and found.share > MANY_UNREAD:
        yield (
            f"{percent(found.share)} of replies held no action that could be read, which counts as the model's fault; "
            "where `monkeys show` has calls in their text, the server does not parse them (vLLM: "
            "--enable-auto-tool-choice and --tool-call-parser); or give --actions text"
        )


def cut_prompt_notes(store: Store, rows: Sequence[AttemptRow]) -> Iterator[str]:
    """A warning where prompts of some attempts stop growing though their conversations go on."""
    elided = store.config.get("limits", {}).get("context", "stop") != "stop"
    if elided or not store.config.get("agent", {}).get("tools"):  # there prompts need not grow
        return
    long = [row for row in rows if row.turns > STILL]
    some = long[:: max(1, -(-len(long) // LOOKED_AT))]
    cut = [size for row in some if (size := _cut_at([turn.usage.prompt for turn in store.turns(row)]))]
    if cut:
        yield (
            f"the prompts of {several(len(cut), 'attempt')} of {len(some):,} stay at {max(cut):,} tokens while the "
            "conversation grows, so the server seems to cut them without a word: give it a larger context "
            "(Ollama: num_ctx; llama.cpp: --ctx-size)"
        )


def _cut_at(prompts: Sequence[int]) -> int:
    """The size at which prompts stay for more than `STILL` turns, each of which adds to the conversation; or 0."""
    return next((size for size, equal in groupby(prompts) if size and len(list(equal)) > STILL), 0)


def failure_notes(rows: Sequence[AttemptRow]) -> Iterator[str]:
    """The infra errors and what a reader must know of them."""
    failed = [row for row in rows if row.exit.infra and row.exit is not Exit.CANCELLED]
    if failed:
        last = max(failed, key=lambda row: row.key)
        count = several(len(failed), "try did", "") if len(failed) == 1 else f"{len(failed):,} tries did"
        yield (
            f"{count} not count, because the machine or the server failed; the last, at {last.task} {last.index}: "
            f"{last.exit}: {_short(last.detail)}"
        )
    yield from _growing(rows)
    if rejected := [row for row in rows if row.exit is Exit.REJECTED]:
        last = max(rejected, key=lambda row: row.key)
        yield (
            f"{several(len(rejected), 'attempt')} ended because the server rejected the conversation, and count as they"
            f" then stood; the last, at {last.task} {last.index}: {_short(last.detail)}"
        )


def _growing(rows: Sequence[AttemptRow]) -> Iterator[str]:
    """Whether failures of the model's server come more often the longer an attempt has lasted."""
    failed = [row.turns for row in rows if row.exit is Exit.MODEL_FAILED]
    if len(failed) < FEWEST:
        return
    # Each try was at risk at every turn that it came to.
    at_risk = Counter[int]()
    for row in rows:
        at_risk.update(range(row.turns + (row.exit is Exit.MODEL_FAILED)))
    total, middle, below = at_risk.total(), 0, 0
    while below + at_risk[middle] <= total / 2:
        below += at_risk[middle]
        middle += 1
    late, share = sum(turn >= middle for turn in failed), 1 - below / total
    if middle and _at_least(late, len(failed), share) < CHANCE:
        yield (
            f"infra errors grow with the turn: {late} of {len(failed)} came after {several(middle, 'turn')}, where "
            f"{percent(share)} of requests were made; long attempts are missing from the counts, so they are not to be "
            "trusted until the cause is mended (a window that the server tells in no way? give it with --window)"
        )


def _at_least(successes: int, trials: int, chance: float) -> float:
    """The probability of so many successes or more."""
    if trials > 200:  # a sample decides as well
        successes, trials = round(successes * 200 / trials), 200
    return sum(comb(trials, k) * chance**k * (1 - chance) ** (trials - k) for k in range(successes, trials + 1))


def _short(text: str) -> str:
    text = " ".join(plain(text).split()) or "no cause was told"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
