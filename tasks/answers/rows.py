"""From a row with `question` and `answer` to an `AnswerTask`.

    {"question": "What is 6 times 7?", "answer": 42, "id": "times-1", "subject": "arithmetic"}

`answer` is a text, a number, or a list of these, any of which is right. Optional fields: `id` (default: the file's name
without its suffix, and the line, as in "sums-3") and `subject` or `group` (default: the file's name without its
suffix). Other fields are ignored.

Guarantees: a broken row is refused with its place and the remedy before anything is sampled. So is an expected answer
that no reply can match, such as a solution that ends with the answer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from tasks.answers.extract import answer_in
from tasks.answers.normalise import LONGEST, normalised
from tasks.answers.task import AnswerTask
from tasks.row_files import has_lone_surrogate
from tasks.task import TaskError

__all__ = ["task_of_row"]

SHOWN = 60  # characters of an answer in a message
NEEDED = "a row needs a question (a text) and an answer (a text, a number, or a list of these)"


def task_of_row(where: str, row: Any, name: str) -> AnswerTask:
    """The task of one row. `where` is its place, which ends in its number; `name` is the file's. Raises `TaskError`."""
    if not isinstance(row, Mapping):
        raise TaskError(f"{where}: not an object; {NEEDED}")
    for key in ("question", "answer"):
        if row.get(key) is None:
            raise TaskError(f"{where}: field {key!r} is missing{_misspelt(key, row)}; {NEEDED}")
    number = re.findall("[0-9]+", where)[-1]
    question = _text(where, "question", row["question"])
    if not question.strip():
        raise TaskError(f"{where}: field 'question' is empty; write the question, or remove the row")
    return AnswerTask(
        id=_label(where, row, ("id",)) or f"{name}-{number}",
        statement=question,
        group=_label(where, row, ("subject", "group")) or name,
        answers=_answers(where, row["answer"]),
    )


def _answers(where: str, value: Any) -> tuple[str, ...]:
    accepted = tuple(_answer(where, one) for one in (value if isinstance(value, list) else [value]))
    if not accepted:
        raise TaskError(f"{where}: field 'answer' is an empty list, so no answer would be right; add one")
    return accepted


def _answer(where: str, value: Any) -> str:
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        text = str(value)
    else:
        if isinstance(value, bool):
            written = str(value).lower()
            raise TaskError(
                f"{where}: field 'answer' is not a text or a number but {written}; write it as the text \"{written}\""
            )
        text = _text(where, "answer", value, " or a number")
    if len(text) > LONGEST:
        raise TaskError(
            f"{where}: field 'answer' has {len(text):,} characters, and at most {LONGEST:,} are compared; shorten it"
        )
    if not normalised(text):
        raise TaskError(f"{where}: field 'answer' is empty, or holds only punctuation; write the answer")
    if normalised(read := answer_in(f"Answer: {text}")) != normalised(text):
        raise TaskError(
            f"{where}: field 'answer' is {_shown(text)}, which no reply can match: of a reply that ends with it, "
            f"{_shown(read)} is taken for the answer; write the answer alone"
        )
    return text


def _shown(text: str) -> str:
    return repr(text if len(text) <= SHOWN else f"{text[: SHOWN // 2]} ... {text[-SHOWN // 2 :]}")


def _misspelt(key: str, row: Mapping[str, Any]) -> str:
    """A hint at a field whose name differs in case."""
    close = [name for name in row if name != key and name.casefold() == key]
    return f" and {close[0]!r} is there, so write its name in lower case" if close else ""


def _label(where: str, row: Mapping[str, Any], keys: tuple[str, ...]) -> str:
    """The first of these optional fields; "" if there is none. A number is taken as its text."""
    for key in keys:
        value = row.get(key)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if value is not None:
            label = _text(where, key, value).strip()
            if not label or not label.isprintable():
                raise TaskError(f"{where}: field {key!r} is empty or has control characters; name it, or leave it out")
            return label
    return ""


def _text(where: str, key: str, value: Any, more: str = "") -> str:
    if not isinstance(value, str):
        raise TaskError(f"{where}: field {key!r} is not a text{more}; {NEEDED}")
    if has_lone_surrogate(value):
        raise TaskError(f"{where}: field {key!r} holds half a character (a lone surrogate); correct the text")
    return value
