"""The normal form of an answer: two answers are the same if their normal forms are equal.

The steps, repeated until nothing changes:

    characters   Unicode NFKC and case folding; a raised or lowered character stays apart (10² becomes 10^2, not 102),
                 and so does a fraction (½ becomes 1/2, and 1½ becomes 1 1/2); the minus sign and dashes become a
                 hyphen, typographic quotes become ' and "; characters that only control the format are removed, but
                 for those that join letters or emoji
    white space  none around the answer, one blank for each run inside
    wrapping     a pair around the whole answer is removed: quotes, backticks, ***, **, * and _ of Markdown, $...$,
                 \\(...\\), \\[...\\], \\boxed{...} and \\text{...} of LaTeX; and the brackets of one letter or
                 digit, as in (B)
    punctuation  commas, semicolons and colons on either side and full stops at the end are removed
    numbers      one form for each value: 1,000 = 1{,}000 = 1000 = 1000.0 = +1e3; .5 = 0.50; -0 = 0. A dollar sign
                 before a number and a percent sign after it are dropped, since data sets differ in writing them:
                 $5 = 5 and 50% = 50

Nothing else is the same. 1/2 and 0.5, 50% and 0.5, "x = 5" and 5, € 5 and 5 are different: no expression is evaluated
and no unit converted. Signs that can carry meaning stay: ! (5! is not 5), ?, * and brackets around more than a letter.
Commas are thousands separators only where they cut a number into groups of three: "1,2" is a list.

Guarantees: the normal form of a normal form is itself. Numbers of equal value have equal normal forms, however many
digits they have, as long as an exponent has at most six. The time is bounded for an answer of at most `LONGEST`
characters.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import groupby

__all__ = ["LONGEST", "normalised", "without_format_characters"]

LONGEST = 2000
"""Characters of the longest answer that is compared; a longer one is no short answer."""

PLAIN_DIGITS = 20  # zeros that are written out; 1e21 and more keep their exponent
PLAIN = str.maketrans(
    {
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-"),  # hyphens, dashes, minus
        **dict.fromkeys("\u2018\u2019\u201a\u201b", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f", '"'),
        "\u2044": "/",  # of fractions
    }
)
JOINERS = "\u200c\u200d"  # they change words of some languages, and emoji
TAGS = range(0xE0020, 0xE0080)  # they tell flags apart
NUMBER = re.compile(
    r"(?P<sign>[+-]?) ?(?:\\?\$ ?)?(?P<inner>[+-]?)"
    r"(?P<whole>[0-9]{1,3}(?:(?:,|\{,\})[0-9]{3})+|[0-9]*)(?:\.(?P<part>[0-9]*))?(?:e(?P<exponent>[+-]?[0-9]{1,6}))?"
    r"(?: ?\\?%)?"
)
# The content holds neither mark, so that `"a" and "b"` stays as it is.
WRAPPED = [
    re.compile(rf"{start}((?:(?!{start}|{end}).)+){end}", re.S)
    for start, end in (
        ('"', '"'),
        ("'", "'"),
        ("`+", "`+"),
        ("«", "»"),
        (r"\*\*\*", r"\*\*\*"),
        (r"\*\*", r"\*\*"),
        (r"\*(?! )", r"(?<! )\*"),
        (r"_(?! )", r"(?<! )_"),
        (r"\$\$", r"\$\$"),
        (r"\$", r"\$"),
        (r"\\\(", r"\\\)"),
        (r"\\\[", r"\\\]"),
    )
]
LETTER = re.compile(r"\((\w)\)")
LATEX = re.compile(r"\\(?:boxed|fbox|text|mathrm|textbf|mathbf) ?\{(.*)\}", re.S)


def normalised(answer: str) -> str:
    """The normal form of an answer; "" if it holds nothing but blanks and punctuation."""
    text = answer
    while (plain := _number(_bare(_folded(text)))) != text:
        text = plain
    return text


def without_format_characters(text: str) -> str:
    """The text without characters that show nothing, such as zero-width blanks (category Cf)."""
    if text.isascii() or not any(unicodedata.category(character) == "Cf" for character in set(text)):
        return text
    return "".join(character for at, character in enumerate(text) if not _only_format(text, at))


def _only_format(text: str, at: int) -> bool:
    character = text[at]
    if unicodedata.category(character) != "Cf" or ord(character) in TAGS:
        return False
    beside = text[at - 1 : at] + text[at + 1 : at + 2]
    return character not in JOINERS or len(beside) < 2 or any(map(str.isascii, beside))


def _folded(text: str) -> str:
    text = _apart(without_format_characters(text))
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(folded.translate(PLAIN).split())


def _apart(text: str) -> str:
    """The text with a mark at raised and lowered characters, and a blank between a fraction and another number."""
    marked = "".join(f"{mark}{''.join(run)}" for mark, run in groupby(text, key=_raised))
    return "".join(
        f" {after}" if before.isnumeric() and after.isnumeric() and (_fraction(before) or _fraction(after)) else after
        for before, after in zip(f" {marked}", marked, strict=False)
    )


def _raised(character: str) -> str:
    """ "^" for a raised character such as ², "_" for a lowered one."""
    return {"<super>": "^", "<sub>": "_"}.get(_compatibility(character), "")


def _fraction(character: str) -> bool:
    """Whether it is a fraction in one character, such as ½."""
    return _compatibility(character) == "<fraction>"


def _compatibility(character: str) -> str:
    """How Unicode says that a character differs from its plain form, such as "<super>"; "" if it does not."""
    return unicodedata.decomposition(character).partition(" ")[0]


def _bare(text: str) -> str:
    """The text without one layer of punctuation and wrapping."""
    text = text.strip(" ,;:").rstrip(" ,;:.。")
    for pattern in WRAPPED:
        if found := pattern.fullmatch(text):
            return found[1]
    if found := LETTER.fullmatch(text):
        return found[1]
    if (found := LATEX.fullmatch(text)) and _balanced(found[1]):
        return found[1]
    return text


def _balanced(text: str) -> bool:
    """Whether no brace is closed that the text has not opened."""
    depth = 0
    for character in text:
        depth += (character == "{") - (character == "}")
        if depth < 0:
            return False
    return depth == 0


def _number(text: str) -> str:
    """The one form of a number's value; any other text as it is."""
    found = NUMBER.fullmatch(text)
    if found is None or (found["sign"] and found["inner"]):
        return text
    whole, part = re.sub("[{,}]", "", found["whole"]), found["part"] or ""
    if not whole + part:
        return text
    digits = (whole + part).lstrip("0")
    exponent = int(found["exponent"] or 0) - len(part) + len(digits)
    digits = digits.rstrip("0")
    exponent -= len(digits)
    if not digits:
        return "0"
    sign = "-" if "-" in (found["sign"], found["inner"]) else ""
    return sign + _written(digits, exponent)


def _written(digits: str, exponent: int) -> str:
    """The integer `digits` times ten to the power of `exponent`."""
    if 0 <= exponent <= PLAIN_DIGITS:
        return digits + "0" * exponent
    if exponent < 0 and exponent + len(digits) >= -PLAIN_DIGITS:
        padded = digits.rjust(1 - exponent, "0")
        return f"{padded[:exponent]}.{padded[exponent:]}"
    return f"{digits}e{exponent}"
