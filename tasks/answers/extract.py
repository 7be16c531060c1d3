"""The answer in a model's reply.

It is looked for in this order:

    1. The text after `Answer:` (or `Final answer:`, `My answer:`), in any case, at the start of the last line that
       begins so. If nothing follows on that line, the next line that holds more than marks.
    2. The content of the last `<answer>...</answer>`, or else of the last `\\boxed{...}`.
    3. The last line that holds more than marks.

Marks are blanks, the lines around a block (```, ~~~, $$) and rules (---). A list bullet at the start of a line is no
part of the answer. What is found may hold the answer in a form of its own: a box, a tag, `The answer is ...`, or
GSM8K's `... #### 18`; then that form's content is the answer. Format characters that show nothing, and the tokens with
which a model ends its reply (`<|im_end|>`, `</s>`), are left out. A reply without any text has no answer, "".
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from tasks.answers.normalise import without_format_characters

__all__ = ["FORM", "answer_in"]

FORM = "End your reply with one line that holds the answer alone, in this form:\n\nAnswer: ..."
"""What a model is told of the form of its answer."""

GAP = r"[^\S\n]"  # a blank within a line
NUMBER = rf"[0-9]{{1,3}}[.)](?={GAP})"  # of a list
LABEL = (
    rf"^(?:[>#+•·-]|\*(?={GAP})|{NUMBER}|{GAP})*(?P<mark>[*_`]*)(?:{NUMBER}{GAP}*)?"
    rf"(?:(?:so|thus|hence|therefore|the|my|our|final|correct)\b,?{GAP}+)*answer"
)
ANSWER = re.compile(rf"{LABEL}(?P<gap>(?:{GAP}+is\b)?(?:{GAP}|[*_`])*)[:：](?P<rest>.*)$", re.M | re.I)
ANSWER_IS = re.compile(rf"{LABEL}(?P<gap>){GAP}+is\b(?P<rest>{GAP}*\S.*)$", re.I)
BULLET = re.compile(rf"(?:[-–—*+•·>]|#+){GAP}+(?=\S)")
MARKS = re.compile(r"(?:```|~~~)[\w+-]*|\$\$|\\[\[\]()]|</?answer>|[-*_=]{3,}|", re.I)
TAG = re.compile(r"<answer>((?:(?!<answer>).)*?)</answer>", re.I | re.S)
BOXED = r"\boxed{"
HASHES = "####"
LAYERS = 5  # such as a box in a tag after a label
END_TOKEN = re.compile(
    r"(?:<[|｜](?:im_end|end|eot|eom|return)[\w▁]{0,30}[|｜]>|<end_of_turn>|<eos>|</s>)\s{0,10}\Z", re.I
)
LONGEST_TOKEN = 60  # characters, with blanks after it


def answer_in(reply: str) -> str:
    """The answer as the model wrote it; "" if there is none."""
    reply = _without_end_tokens(without_format_characters(reply))
    for label in reversed(list(ANSWER.finditer(reply))):
        if found := _alone(_labelled(reply, label)):  # an answer cut off at "Answer:" leaves the one before it
            return found
    return _alone(_enclosed(reply) or _last(reply.splitlines()))


def _alone(text: str) -> str:
    """The answer without the box, tag or words that it stands in."""
    for _ in range(LAYERS):
        inner = _enclosed(text) or text
        if label := ANSWER.match(inner) or ANSWER_IS.match(inner):
            inner = _labelled(inner, label)
        inner = inner.rpartition(HASHES)[2].strip() or inner
        if inner == text:
            break
        text = inner
    return text


def _first(lines: Iterable[str]) -> str:
    """The first line that holds more than marks, without a bullet."""
    line = next((line.strip() for line in lines if _holds_text(line)), "")
    return BULLET.sub("", line, count=1) if BULLET.match(line) else line


def _last(lines: list[str]) -> str:
    """The last such line. In a reply of one line, - is taken for a minus."""
    held = [line for line in lines if _holds_text(line)]
    return held[0].strip() if len(held) == 1 else _first(reversed(held))


def _holds_text(line: str) -> bool:
    return not MARKS.fullmatch(line.strip())


def _without_end_tokens(reply: str) -> str:
    reply = reply.rstrip()
    tail = len(reply)
    while found := END_TOKEN.search(reply, max(0, tail - LONGEST_TOKEN), tail):
        tail = found.start()
    return reply[:tail]


def _labelled(text: str, label: re.Match[str]) -> str:
    """What follows a label on its line, or else on the next line that holds more than marks."""
    rest = _unmarked(label["rest"].strip(), label)
    return rest if _holds_text(rest) else _unmarked(_first(text[label.end() :].splitlines()), label)


def _unmarked(text: str, label: re.Match[str]) -> str:
    """The text without the closing mark that `**Answer:** 42` and `**Answer: 42**` leave in it."""
    mark = label["mark"]
    if not mark or mark not in text or re.search("[*_`]", label["gap"]):
        return text
    if text.startswith(mark):
        return text.removeprefix(mark).strip()
    before, _, after = text.rpartition(mark)
    return (before + after).strip()


def _enclosed(text: str) -> str:
    """The content of the last tag, or else of the last box; "" if there is neither."""
    tags = TAG.findall(text)
    return tags[-1].strip() if tags else _boxed(text)


def _boxed(text: str) -> str:
    """The content of the last box that is closed; "" if there is none."""
    start = text.rfind(BOXED)
    if start < 0:
        return ""
    depth, begin = 1, start + len(BOXED)
    for end in range(begin, len(text)):
        depth += (text[end] == "{") - (text[end] == "}")
        if not depth:
            return text[begin:end].strip()
    return ""
