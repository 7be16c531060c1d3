"""The relevance of functions to an issue, by the words that they share; rare words count more.

Words are parts of identifiers and of prose without their endings, so that "conversion of readings" finds
`convert_reading`. The same issue and functions always give the same weights.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

from agent.scaffolds.functions import Function

__all__ = ["identifiers", "weights", "words"]

IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
ENDING = re.compile(r"(?<=\w{3})(?:ations?|ions?|ings?|ers?|ed|es|s|e)$")
COMMON = frozenset(
    re.findall(
        r"\w+",
        """the and for are was were not but that this with from have has had its it's you your our they them their there
    then than when what which who why how all any both each some such only same too very can could should would will may
    might must does did doing done just into onto over under above below again between out off per via get got see use
    def class return none true false self cls str int float bool list dict tuple set len print import else elif while
    raise except try finally pass break continue lambda yield async await object file line most recent call last
    traceback error""",
    )
)
NAME, TRACE = 3.0, 6.0  # the weight of a shared word in a function's name, and of the name in a traceback
INHERITED, STEPS = 0.6, 3  # the share that a function inherits from its most relevant caller, over as many calls
ALIKE = 0.3  # the share divided equally, because statements may mislead


def identifiers(text: str) -> list[str]:
    """Whole identifiers, each once, in order."""
    return list(dict.fromkeys(IDENTIFIER.findall(text)))


def words(text: str) -> set[str]:
    """The words of a text that carry meaning, in lower case and without endings."""
    parts = (part.lower() for word in IDENTIFIER.findall(text) for part in PART.findall(word))
    return {ENDING.sub("", part) for part in parts if len(part) > 2 and part not in COMMON}


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
        shared = sum(rarity[word] for word in sought & body) / math.sqrt(len(body) or 1)
        in_name = sum(rarity.get(word, 0.0) for word in sought & name)
        scores.append(shared + NAME * in_name + TRACE * (function.name in traced))
    squares = [score**2 for score in _passed_on(functions, scores)]
    total = sum(squares)
    return [(1 - ALIKE) * (square / total if total else 0.0) + ALIKE / len(functions) for square in squares]


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
