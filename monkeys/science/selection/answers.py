"""Answers to problems of mathematics: found in a completion, and brought to a form in which they can be compared.

`final_answer` looks where the usual prompts ask for the answer: after GSM8K's `####`, in the last `\\boxed{}`, after
Minerva's "the final answer is". `normalised_answer` removes what obviously does not change a value. Two forms of one
value (1/2 and .5) stay apart: pass an `equivalent` to `monkeys.science.selection.classes_of` where that matters.
"""

from __future__ import annotations

import re

__all__ = ["final_answer", "normalised_answer"]

GSM8K = re.compile(r"####\s*(-?[$\d.,]+)")
MINERVA = re.compile(
    r"final answer is:?\s*(.+?)(?:\.?\s*I hope it is correct|\.?\s*\n|\.?\s*$)", re.IGNORECASE | re.DOTALL
)
DROPPED = re.compile(r"\\(?:left|right|!|,|;| )|\\text\{\s*|\\mathrm\{\s*|\s+|\$|\\%|%|(?<=\d),(?=\d{3})")


def final_answer(completion: str) -> str | None:
    """The final answer of a completion, as written; None where there is none."""
    if found := GSM8K.search(completion):
        return found[1].strip()
    if (boxed := _last_boxed(completion)) is not None:
        return boxed
    if found := MINERVA.search(completion):
        return found[1].strip()
    return None


def normalised_answer(answer: str | None) -> str | None:
    """The answer without dollar signs, thousands' commas, spaces, LaTeX's sizes and a full stop; None for none."""
    if answer is None:
        return None
    plain = DROPPED.sub("", answer.replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac")).rstrip(".")
    while plain.endswith("}") and plain.count("}") > plain.count("{"):  # the end of a \text{} that is gone
        plain = plain[:-1]
    return plain or None


def _last_boxed(text: str) -> str | None:
    start = text.rfind("\\boxed{")
    if start < 0:
        return None
    depth, begin = 0, start + len("\\boxed{")
    for at in range(begin - 1, len(text)):
        depth += (text[at] == "{") - (text[at] == "}")
        if not depth:
            return text[begin:at].strip()
    return None
