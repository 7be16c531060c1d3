"""Passages: the parts into which a search by meaning divides sources, and how well they answer a query.

A passage is a function, what a class or a file holds beside its functions, or some lines of a file without symbols.
`Words` ranks by BM25 over the words of code and prose, by the library bm25s, and needs no network. `Embeddings` (in
`agent.index.embeddings`) ranks by the vectors of a server.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from agent.index.sources import FILES, Source
from agent.index.symbols import inside, symbols
from agent.words import terms

__all__ = ["Passage", "Ranking", "Words", "passages"]

LINES = 60  # of one passage without symbols; longer functions are divided too


@dataclass(frozen=True, slots=True)
class Passage:
    """Some lines of a file, from 1, and the class or function that they belong to."""

    path: str
    qualname: str
    first: int
    last: int
    text: str


class Ranking(Protocol):
    """Finds the passages that answer a query best."""

    async def best(self, query: str, found: Sequence[Passage], count: int) -> list[Passage]:
        """At most `count` passages, the best one first. Raises a `ModelError` where a server fails."""
        ...


class Words:
    """Ranks by the words that a passage, its path and its names share with the query; rare words count more (BM25)."""

    async def best(self, query: str, found: Sequence[Passage], count: int) -> list[Passage]:
        return await asyncio.to_thread(_ranked, terms(query), tuple(found), count)


@lru_cache(maxsize=FILES)
def passages(source: Source) -> tuple[Passage, ...]:
    """The passages of a file in order. Each of its lines that is not blank is in one of them."""
    lines = source.text.removesuffix("\n").split("\n")
    owners = [0] * len(lines)  # of each line: the outermost function that it belongs to, by number; 0 for none
    for number, symbol in enumerate(symbols(source), 1):
        if symbol.kind == "function" and not owners[symbol.first - 1]:
            last = min(symbol.last, len(lines))
            owners[symbol.first - 1 : last] = [number] * (last - symbol.first + 1)
    parts, start = [], 0
    for at in range(1, len(lines) + 1):
        if at == len(lines) or owners[at] != owners[start] or at - start >= LINES:
            parts.append((start, at))
            start = at
    return tuple(
        Passage(source.path, inside(source, _first_said(lines, first, last)), first + 1, last, text)
        for first, last in parts
        if (text := "\n".join(lines[first:last])).strip()
    )


def _first_said(lines: Sequence[str], first: int, last: int) -> int:
    """The number of the first line that is not blank."""
    return next((at + 1 for at in range(first, last) if lines[at].strip()), first + 1)


def _ranked(query: list[str], found: tuple[Passage, ...], count: int) -> list[Passage]:
    known = _scorer(found) if found and query else None
    if known is None:
        return []
    scores = known.get_scores(query)
    order = sorted(range(len(found)), key=lambda at: -scores[at])  # of equal ones the first
    return [found[at] for at in order[:count] if scores[at] > 0]


@lru_cache(maxsize=4)
def _scorer(found: tuple[Passage, ...]) -> Any:
    """The index of these passages; None if no word is in them."""
    from bm25s import BM25

    words = [list(_words(passage)) for passage in found]
    if not any(words):
        return None
    scorer = BM25()
    scorer.index(words, show_progress=False)
    return scorer


@lru_cache(maxsize=100_000)
def _words(passage: Passage) -> tuple[str, ...]:
    """The words of a passage. The same word is one object in all passages, since there are many."""
    return tuple(sys.intern(word) for word in terms(f"{passage.path} {passage.qualname} {passage.text}"))
