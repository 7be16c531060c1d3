"""The relevance of functions to an issue, by the words that they share; rare words count more.

The same issue and functions always give the same weights.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

from agent.scaffolds.functions import Function
from agent.words import identifiers, words

__all__ = ["suspected", "weights"]

NAME, TRACE = 3.0, 6.0  # the weight of a shared word in a function's name, and of the name in a traceback
INHERITED, STEPS = 0.6, 3  # the share that a function inherits from its most relevant caller, over as many calls
ALIKE = 0.3  # the share divided equally, because statements may mislead
ALIKE_SUSPECTED = 0.1  # the same where failing tests point at functions too, which mislead less


def weights(functions: Sequence[Function], statement: str, output: str) -> list[float]:
    """The probability that the issue is about each function: greater than 0, 1 in sum.

    `output` is the output of the failing tests; it counts as much as the statement. Names in a traceback (`in NAME`)
    count most.
    """
    sought = words(f"{statement}\n{output}")
    traced = set(re.findall(r"line \d+, in (\w+)", f"{statement}\n{output}"))
    named = [words(function.qualname) for function in functions]
    held = [words(function.text) for function in functions]
    spread = Counter(word for one in held for word in one)
    rarity = {word: math.log(1 + len(functions) / spread[word]) for word in spread}
    scores = []
    for function, name, body in zip(functions, named, held, strict=True):
        # The exact sums, which do not depend on the order of a set.
        shared = math.fsum(rarity[word] for word in sought & body) / math.sqrt(len(body) or 1)
        in_name = math.fsum(rarity.get(word, 0.0) for word in sought & name)
        scores.append(shared + NAME * in_name + TRACE * (function.name in traced))
    squares = [score**2 for score in _passed_on(functions, scores)]
    total = sum(squares)
    return [(1 - ALIKE) * (square / total if total else 0.0) + ALIKE / len(functions) for square in squares]


def suspected(chances: Sequence[float], suspicions: Sequence[float]) -> list[float]:
    """These probabilities, given how much failing tests point at each function, from 0 to 1; 1 in sum."""
    scores = [chance * suspicion**2 for chance, suspicion in zip(chances, suspicions, strict=True)]
    total = sum(scores)
    if not total:
        return list(chances)
    return [(1 - ALIKE_SUSPECTED) * score / total + ALIKE_SUSPECTED / len(scores) for score in scores]


def _passed_on(functions: Sequence[Function], scores: Sequence[float]) -> list[float]:
    """Let functions inherit from their callers: issues name what people call, and the mistake is often below."""
    mentioned = [set(identifiers(function.text)) for function in functions]
    callers = [
        [at for at, names in enumerate(mentioned) if function.name in names and functions[at] is not function]
        for function in functions
    ]
    passed = list(scores)
    for _ in range(STEPS):
        passed = [
            own + INHERITED * max((passed[at] for at in calling), default=0.0)
            for own, calling in zip(scores, callers, strict=True)
        ]
    return passed
