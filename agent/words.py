"""The words of code and of prose, made alike.

Words are parts of identifiers and of prose without their endings, so that "conversion of readings" finds
`convert_reading`.
"""

from __future__ import annotations

import re

__all__ = ["identifiers", "terms", "words"]

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


def identifiers(text: str) -> list[str]:
    """Whole identifiers, each once, in order."""
    return list(dict.fromkeys(IDENTIFIER.findall(text)))


def terms(text: str) -> list[str]:
    """The words of a text that carry meaning, in lower case and without endings, in order."""
    parts = (part.lower() for word in IDENTIFIER.findall(text) for part in PART.findall(word))
    return [ENDING.sub("", part) for part in parts if len(part) > 2 and part not in COMMON]


def words(text: str) -> set[str]:
    """The same, each once."""
    return set(terms(text))
