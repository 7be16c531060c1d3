"""Scores of candidates by models: a judge's P(YES), a judge's comparisons of two, a reward model's scores.

A judge is a language model that is asked about a candidate. Guarantees:

- Each question is asked once. The `AnswerCache` keeps every answer under a digest of model and request, in memory and
  in a file: rules are evaluated on thousands of subsets without another call, and a second start goes on where the
  first one stopped. Equal candidates are asked about once.
- A judge's answer is a probability, read from the log-probabilities of its first token. Where that token is neither
  answer it is NaN.
- Pairs are asked in both orders, for judges prefer the candidate that they read first.

`Client` is the protocol of a server. Judges use `/chat/completions` with `logprobs`; reward models use vLLM's `/score`
(pairs of texts, cross-encoders), `/pooling` and `/classify` (conversations).

When it is wrong: a model that reasons before it answers does not answer with its first token; a judge that has seen a
task's fix in training is no test of judges. The prompts follow SWE-Gym's verifier (arXiv 2412.21139).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from envs.errors import MonkeysError

__all__ = ["AnswerCache", "Client", "JudgeError", "Judging"]

FloatArray: TypeAlias = NDArray[np.float64]

POINTWISE = (
    "Here is an issue and a candidate solution to it.\n\n<issue>\n{issue}\n</issue>\n\n<solution>\n{candidate}\n"
    "</solution>\n\nDoes the solution resolve the issue? Answer with one word, YES or NO."
)
PAIRWISE = (
    "Here is an issue and two candidate solutions to it.\n\n<issue>\n{issue}\n</issue>\n\n<solution A>\n{first}\n"
    "</solution A>\n\n<solution B>\n{second}\n</solution B>\n\nWhich of the two resolves the issue, or comes closer? "
    "Answer with one letter, A or B."
)
REWARDS = ("/score", "/pooling", "/classify")


class JudgeError(MonkeysError):
    """A model could not be asked; the message says why. Its earlier answers are kept in the cache."""


class Client(Protocol):
    """A server that answers requests with JSON."""

    @property
    def model(self) -> str:
        """The model's name, as requests give it."""

    async def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """The decoded answer. Raises `JudgeError`."""


class AnswerCache:
    """Answers of models by digest of model and request: one JSON line each in `path`, or without it in memory alone.

    A torn last line, left by a process that was killed, is dropped; its question is asked again.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._answers: dict[str, float] = {}
        self._file: IO[str] | None = None
        if path is None:
            return
        if path.exists():
            for line in path.read_text("utf-8").splitlines():
                try:
                    row = json.loads(line)
                    self._answers[row["key"]] = math.nan if row["value"] is None else float(row["value"])
                except (ValueError, TypeError, KeyError):
                    continue
        self._file = path.open("a", encoding="utf-8")
        if self._file.tell():
            self._file.write("\n")  # a torn line ends here; an empty one is nothing

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, key: str) -> float | None:
        """The answer under this key; None where the question has not been asked."""
        return self._answers.get(key)

    def put(self, key: str, value: float, model: str) -> None:
        self._answers[key] = value
        if self._file:
            row = {"key": key, "value": None if math.isnan(value) else value, "model": model}
            self._file.write(json.dumps(row) + "\n")
            self._file.flush()

    def close(self) -> None:
        """Idempotent."""
        if self._file:
            self._file.close()
            self._file = None


class Judging:
    """Asks one model about candidates, `at_once` requests at a time. `asked` counts the requests that were sent."""

    def __init__(self, client: Client, cache: AnswerCache, *, at_once: int = 16) -> None:
        self._client, self._cache = client, cache
        self._at_once = at_once
        self.asked = 0

    async def yes(self, issue: str, candidates: Sequence[str]) -> FloatArray:
        """P(YES) / (P(YES) + P(NO)) for each candidate, shape (n,). Raises `JudgeError`."""

        def question(candidate: str) -> Coroutine[Any, Any, float]:
            return self._choice(_sendable(POINTWISE.format(issue=issue, candidate=candidate)), "yes", "no")

        return await self._each(candidates, question)

    async def preferences(self, issue: str, candidates: Sequence[str]) -> FloatArray:
        """Probability that candidate i is better than j, shape (n, n); .5 for equal ones. Raises `JudgeError`."""
        distinct = list(dict.fromkeys(candidates))
        pairs = [(i, j) for i in range(len(distinct)) for j in range(len(distinct)) if i != j]

        def question(pair: tuple[int, int]) -> Coroutine[Any, Any, float]:
            first, second = distinct[pair[0]], distinct[pair[1]]
            return self._choice(_sendable(PAIRWISE.format(issue=issue, first=first, second=second)), "a", "b")

        table = np.full((len(distinct), len(distinct)), np.nan)
        for (i, j), answer in zip(pairs, await self._gathered([question(pair) for pair in pairs]), strict=True):
            table[i, j] = answer
        both = np.stack([table, 1 - table.T])  # i read first, and i read second
        known = (~np.isnan(both)).sum(axis=0)
        better = np.divide(np.nansum(both, axis=0), known, out=np.full(table.shape, np.nan), where=known > 0)
        np.fill_diagonal(better, 0.5)
        number = {candidate: at for at, candidate in enumerate(distinct)}
        place = [number[candidate] for candidate in candidates]
        return np.asarray(better[np.ix_(place, place)])

    async def rewards(self, issue: str, candidates: Sequence[str], path: str = "/score") -> FloatArray:
        """A reward model's score of each candidate, shape (n,). Raises `JudgeError`.

        `/score` takes the issue and the candidate as a pair of texts, `/pooling` and `/classify` as a user's and an
        assistant's message. Of several numbers (tokens, classes) the last one counts.
        """
        if path not in REWARDS:
            raise JudgeError(f"{path!r} is no path of a reward model: choose from {', '.join(REWARDS)}")

        def question(candidate: str) -> Coroutine[Any, Any, float]:
            asked, given = _sendable(issue), _sendable(candidate)
            said = [{"role": "user", "content": asked}, {"role": "assistant", "content": given}]
            body = {"text_1": asked, "text_2": given} if path == "/score" else {"messages": said}
            return self._ask(path, body, _reward)

        return await self._each(candidates, question)

    async def _each(
        self, candidates: Sequence[str], question: Callable[[str], Coroutine[Any, Any, float]]
    ) -> FloatArray:
        distinct = list(dict.fromkeys(candidates))
        answers = await self._gathered([question(candidate) for candidate in distinct])
        known = dict(zip(distinct, answers, strict=True))
        return np.array([known[candidate] for candidate in candidates], np.float64)

    async def _gathered(self, questions: Sequence[Coroutine[Any, Any, float]]) -> list[float]:
        slots = asyncio.Semaphore(self._at_once)

        async def one(question: Coroutine[Any, Any, float]) -> float:
            async with slots:
                return await question

        tasks = [asyncio.ensure_future(one(question)) for question in questions]
        try:
            return await asyncio.gather(*tasks)
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for question in questions:
                question.close()  # those that never began
            raise

    async def _choice(self, prompt: str, one: str, other: str) -> float:
        body = {
            "messages": [{"role": "user", "content": prompt}],
            "temperature": 0,
            "max_tokens": 1,
            "logprobs": True,
            "top_logprobs": 20,
        }
        return await self._ask("/chat/completions", body, lambda answer: _probability(answer, one, other))

    async def _ask(self, path: str, body: Mapping[str, Any], read: Callable[[Any], float]) -> float:
        full = {"model": self._client.model, **body}
        key = hashlib.sha256(json.dumps([path, full], sort_keys=True).encode()).hexdigest()[:32]
        known = self._cache.get(key)
        if known is not None:
            return known
        answer = await self._client.post(path, full)
        self.asked += 1
        try:
            value = read(answer)
        except (LookupError, TypeError, ValueError) as error:
            said = json.dumps(answer)[:120]
            raise JudgeError(
                f"{path} of model {self._client.model!r} does not answer as expected "
                f"({type(error).__name__}: {error}): {said}"
            ) from None
        self._cache.put(key, value, self._client.model)
        return value


def _probability(answer: Any, one: str, other: str) -> float:
    """P(one) / (P(one) + P(other)) of the first token; without log-probabilities 1 or 0 by the word itself."""
    choice = answer["choices"][0]
    content = (choice.get("logprobs") or {}).get("content") or []
    if not content:
        word = _word(choice["message"].get("content") or "")
        return 1.0 if word == one else 0.0 if word == other else math.nan
    mass = {one: 0.0, other: 0.0}
    for token in content[0].get("top_logprobs") or content[:1]:
        if (word := _word(token["token"])) in mass:
            mass[word] += math.exp(token["logprob"])
    total = mass[one] + mass[other]
    return mass[one] / total if total > 0 else math.nan


def _sendable(text: str) -> str:
    """The text in UTF-8, with ? for bytes of a patch that are not UTF-8."""
    return text.encode("utf-8", "replace").decode()


def _word(token: str) -> str:
    return token.strip(" \n\t.,:*\"'()▁Ġ").lower()


def _reward(answer: Any) -> float:
    data = answer["data"][0]
    value = next(data[key] for key in ("score", "probs", "data") if key in data)
    while isinstance(value, list):
        value = value[-1]
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"a reward of {number}")
    return number
