"""Questions are read or refused with the place; answers are found in replies and compared by their normal forms."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from tasks import Outcome, Submission, TaskError, Verdict, VerifierSetup, load_tasks
from tasks.answers.extract import answer_in
from tasks.answers.normalise import LONGEST, normalised
from tasks.answers.rows import task_of_row
from tasks.answers.suite import AnswerSuite
from tasks.answers.task import AnswerTask

SUITE = AnswerSuite()


def write(folder: Path, *rows: Any, name: str = "sums.jsonl") -> str:
    path = folder / name
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows), "utf-8")
    return str(path)


def row(**fields: Any) -> dict[str, Any]:
    return {"question": "What is 6 times 7?", "answer": "42", **fields}


def read(spec: str) -> list[AnswerTask]:
    tasks = load_tasks(spec, "answers").tasks
    assert all(isinstance(task, AnswerTask) for task in tasks)
    return [task for task in tasks if isinstance(task, AnswerTask)]


def verdict(reply: str, *answers: str) -> Verdict:
    """The verdict on a model's reply to a question with these answers."""
    task = AnswerTask(id="a", statement="?", answers=answers)

    async def main() -> Verdict:
        return await SUITE.verifier(VerifierSetup()).verify(task, await SUITE.collect(task, None, reply))

    return asyncio.run(main())


# what is read


def test_a_file_of_questions_is_read_with_ids_and_groups_of_its_own_or_by_default(tmp_path: Path) -> None:
    rows = [row(), "", row(id="mine", subject="algebra"), row(id=7, group="number theory", answer=[1, "one"])]
    first, second, third = read(write(tmp_path, *rows))
    assert (first.id, second.id, third.id) == ("sums-1", "mine", "7")
    assert (first.group, second.group, third.group) == ("sums", "algebra", "number theory")
    assert (first.answers, third.answers) == (("42",), ("1", "one"))
    assert first.statement == "What is 6 times 7?"
    assert first.origin is None
    assert first.test_command == ""


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("42", "42"),
        ("-7", "-7"),
        ("0.1", "0.1"),
        ("3.14159265358979323846264338327950288", "3.14159265358979323846264338327950288"),
        ("12345678901234567890123", "12345678901234567890123"),
        ("1e400", "1E+400"),
        ('"x = 5"', "x = 5"),
    ],
)
def test_numbers_are_taken_as_exactly_as_they_are_written(tmp_path: Path, answer: str, text: str) -> None:
    [task] = read(write(tmp_path, f'{{"question": "?", "answer": {answer}}}'))
    assert task.answers == (text,)


def test_a_json_list_is_read_too(tmp_path: Path) -> None:
    spec = write(tmp_path, json.dumps([row(), row()]), name="sums.json")
    assert [task.id for task in load_tasks(spec).tasks] == ["sums-1", "sums-2"]


def test_the_digest_changes_with_the_question_and_the_answer_only(tmp_path: Path) -> None:
    rows = [row(id="a"), row(id="b"), row(id="c", answer=43), row(id="d", question="?")]
    assert len({task.digest for task in read(write(tmp_path, *rows))}) == 4
    [same] = read(write(tmp_path, row(id="a", subject="other", level=5), name="again.jsonl"))
    assert same.digest == read(write(tmp_path, row(id="a")))[0].digest


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        ("{broken", "not JSON"),
        ('{"question": "?", "answer": 1e999999999999999999999}', "not JSON"),
        ("[1, 2]", "not an object; a row needs a question"),
        ({"question": "?"}, "field 'answer' is missing; a row needs"),
        ({"answer": "4"}, "field 'question' is missing"),
        (row(answer=None), "field 'answer' is missing"),
        (row(question=["?"]), "field 'question' is not a text"),
        (row(question=" "), "field 'question' is empty"),
        (row(answer={"value": 4}), "field 'answer' is not a text or a number"),
        (row(answer=True), "field 'answer' is not a text or a number but true; write it as the text \"true\""),
        (row(answer=["no", False]), 'write it as the text "false"'),
        ({"Question": "?", "answer": "4"}, "field 'question' is missing and 'Question' is there, so write"),
        ({"question": "?", "Answer": "4"}, "field 'answer' is missing and 'Answer' is there, so write"),
        (
            row(answer="6 * 7 = <<6*7=42>>42\n#### 42"),
            "'6 * 7 = <<6*7=42>>42' is taken for the answer",
        ),
        (row(answer="It is 6 * 7 #### 42"), "which no reply can match: of a reply that ends with it, '42' is taken"),
        (row(answer="\\boxed{3} apples"), "'3' is taken for the answer; write the answer alone"),
        (row(answer=["5", "Answer: 5"]), "field 'answer' is 'Answer: 5', which no reply can match"),
        (row(answer="The answer is 5"), "which no reply can match"),
        (row(answer="x" * 900 + "\n5"), " ... "),
        ('{"question": "?", "answer": NaN}', "field 'answer' is not a text or a number"),
        (row(answer=[]), "field 'answer' is an empty list"),
        (row(answer=["4", ["5"]]), "field 'answer' is not a text or a number"),
        (row(answer=""), "field 'answer' is empty, or holds only punctuation"),
        (row(answer=["4", " . "]), "field 'answer' is empty, or holds only punctuation"),
        (row(answer="9" * (LONGEST + 1)), "field 'answer' has 2,001 characters, and at most 2,000 are compared"),
        (row(answer="half \ud800"), "field 'answer' holds half a character (a lone surrogate)"),
        (row(question="half \ud800"), "field 'question' holds half a character"),
        (row(id=""), "field 'id' is empty or has control characters"),
        (row(id="a\nb"), "field 'id' is empty or has control characters"),
        (row(id=[1]), "field 'id' is not a text"),
        (row(subject=1.5), "field 'subject' is not a text"),
        (row(id="fine"), "the id fine is there twice, first at"),
    ],
    ids=lambda value: value[:50] if isinstance(value, str) else "",
)
def test_a_broken_row_is_refused_with_its_file_line_and_remedy(tmp_path: Path, broken: Any, why: str) -> None:
    spec = write(tmp_path, row(id="fine"), broken)
    with pytest.raises(TaskError) as caught:
        load_tasks(spec)
    text = str(caught.value)
    assert text.startswith(f"{spec}:2: ")
    assert why in text
    assert "\n" not in text
    assert len(text) < 500


def test_a_file_that_is_not_utf8_is_refused_with_the_line(tmp_path: Path) -> None:
    path = tmp_path / "latin.jsonl"
    path.write_bytes(json.dumps(row()).encode() + b'\n{"question": "caf\xe9"}\n')
    with pytest.raises(TaskError, match=r"latin.jsonl:2: not UTF-8 \(.*\); save the file as UTF-8"):
        load_tasks(str(path))


@pytest.mark.parametrize("name", ["Question", "QUESTION"])
def test_a_file_whose_first_row_has_a_field_in_capitals_is_told_of_it(tmp_path: Path, name: str) -> None:
    with pytest.raises(TaskError, match=r"sums.jsonl:1: field '\w+' is missing and '[QA]\w+' is there"):
        load_tasks(write(tmp_path, {name: "?", "Answer": 4}))


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        (
            "sums.csv",
            "question,answer\n?,4\n",
            "sums.csv is a .csv file, and files of rows are .jsonl (one JSON object a",
        ),
        ("sums", "question,answer\n?,4\n", "sums is a file without suffix, and files of rows are .jsonl"),
        ("sums.parquet", "PAR1\udcff", "sums.parquet: not a whole Parquet file ("),
    ],
)
def test_a_file_of_another_format_is_told_what_is_read(tmp_path: Path, name: str, text: str, why: str) -> None:
    path = tmp_path / name
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    for suite in (None, "answers"):
        with pytest.raises(TaskError) as caught:
            load_tasks(str(path), suite)
        assert why in str(caught.value)
        assert "\n" not in str(caught.value)


def test_lines_of_objects_are_read_under_any_name(tmp_path: Path) -> None:
    assert len(read(write(tmp_path, row(), name="sums.ndjson"))) == 1


# the answer in a reply


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("6 times 7\nAnswer: 42", "42"),
        ("Answer: 41\nNo, wait.\nANSWER : 42 \nThat is all.", "42"),
        ("**Answer:** 42", "42"),
        ("**Answer: 42**", "42"),
        ("**Answer**: 42", "42"),
        ("Answer: **42**", "**42**"),
        ("- Final answer: 42", "42"),
        ("### Answer:\n\n42\n", "42"),
        ("Answer: $\\boxed{42}$.", "42"),
        ("Answer:", ""),
        ("We get \\boxed{41}, no, \\boxed{\\frac{1}{2}}.\nDone", "\\frac{1}{2}"),
        ("We get \\boxed{42", "We get \\boxed{42"),
        ("The answer is 42.\n\n  ", "42."),
        ("Work.\nTherefore, the final answer is $1,000.", "$1,000."),
        ("The answer is not known.\nParis", "Paris"),
        ("What the answer is", "What the answer is"),
        ("1. Answer: 42", "42"),
        ("2) **Answer:** 42", "42"),
        ("**1. Answer: 42**.", "42."),
        ("*Answer:* 42", "42"),
        ("* Answer: *42*", "*42*"),
        ("_Final Answer: a_b_", "a_b"),
        ("`Answer: 42`", "42"),
        ("**Answer:** **42**", "**42**"),
        ("My answer: 42", "42"),
        ("So, my final answer is: 42", "42"),
        ("Answer\u00a0: 42", "42"),
        ("Answer：42", "42"),
        ("\u200bAnswer:\u200b 42", "42"),
        ("Answer: Answer: 42", "42"),
        ("Answer: The answer is 42", "42"),
        ("Incorrect answer: 41\n42", "42"),
        ("Answer: A*", "A*"),
        ("Answer: 6 * 7", "6 * 7"),
        ("Answer:\n```text\n42\n```\n", "42"),
        ("Answer: ```\n42\n```", "42"),
        ("**Answer:**\n\n$$\n42\n$$\nas was asked.", "42"),
        ("Answer:\n\\[\n42\n\\]", "42"),
        ("It is\n$$\n42\n$$", "42"),
        ("It is\n42\n---\n", "42"),
        ("I think\n<answer>41</answer>, no, <answer>\n42\n</answer>, I am sure", "42"),
        ("Answer: <answer>42</answer>", "42"),
        ("<answer>\\boxed{42}</answer>", "42"),
        ("<answer>Answer:\n42</answer>", "42"),
        ("Answer: 42<|im_end|>", "42"),
        ("It is\n42 </s> \n<|endoftext|>\n", "42"),
        ("42<｜end▁of▁sentence｜>", "42"),
        ("6 times 7 is 42.\n#### 42", "42"),
        ("So #### 42", "42"),
        ("So:\n### 42", "42"),
        ("Solutions:\n- 3\n- 5", "5"),
        ("Answer:\n* 5", "5"),
        ("Solution:\n– 5", "5"),
        ("Solution:\n-5", "-5"),
        ("Answer: - 5", "- 5"),
        ("- 5", "- 5"),
        ("```", ""),
        ("Long thoughts\n\nParis", "Paris"),
        ("", ""),
        (" \n\t\n", ""),
    ],
)
def test_the_answer_is_found_in_a_reply(reply: str, answer: str) -> None:
    assert answer_in(reply) == answer


def test_what_is_shown_asks_for_the_form_in_which_the_answer_is_found(tmp_path: Path) -> None:
    [task] = load_tasks(write(tmp_path, row())).tasks
    shown = SUITE.shown(task)
    assert shown.startswith("What is 6 times 7?\n\n")
    assert "42" not in shown
    assert answer_in(shown) == "..."


def test_half_a_character_in_a_reply_is_no_error() -> None:
    assert verdict("Answer: \ud800", "42").outcome is Outcome.UNRESOLVED


# the normal form


@pytest.mark.parametrize(
    "same",
    [
        ("1000", "1,000", "1000.0", "+1000", "1e3", "1.000E3", "$1,000", "$ 1,000.00", "1000%", "1,000 %", "0001000"),
        ("1000", "１０００", "**1,000**", "`1000`", "1000.", "$1000$", "\\(1000\\)", "\\$1{,}000", "\\boxed{1000}"),
        ("-5", "−5", "- 5", "-$5", "$-5", "-5.0"),
        ("0.5", ".5", "0.50", "5e-1"),
        ("0", "-0", "0.000", "0e7", "$0"),
        ("Paris", "paris", " PARIS. ", '"Paris"', "“Paris”", "'Paris'", "**Paris**.", "\\text{Paris}", "Paris,"),
        ("new york", "New  York", "New\u00a0York", "New\nYork"),
        ("B", "(B)", "b.", "**(b)**"),
        ("Straße", "STRASSE", "strasse"),
        ("42", "*42*", "_42_", "***42***", "4\u200b2", "\ufeff42", "42。", "42\u200d"),
        ("-5", "–5", "—5", "‐5", "‑5", "‒5"),
        ("don't", "don’t", "don‘t", "don‛t"),
        ('say "hi" now', "say “hi” now", "say „hi‟ now"),
        ("well-known", "well‐known", "well–known"),
        ("1/2", "½", "1⁄2", "*½*"),
        ("1 1/2", "1½", "1 ½", "１½"),
        ("-1/2", "-½", "−½"),
        ("2/3 cup", "⅔ cup"),
        ("ﬁve", "five"),
        ("10²", "10^2"),
        ("\\frac{1}{2}", "$\\frac{1}{2}$", "\\boxed{\\frac{1}{2}}."),
    ],
    ids=lambda same: same[0],
)
def test_answers_that_are_the_same(same: tuple[str, ...]) -> None:
    assert {normalised(answer) for answer in same} == {normalised(same[0])}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1½", "11/2"),
        ("½", "12"),
        ("½", "0.5"),
        ("½3", "1/23"),
        ("2½", "2/1/2"),
        ("½½", "1/21/2"),
        ("2²½", "2^21/2"),
        ("*a* and *b*", "a* and *b"),
        ("2*3*4", "234"),
        ("* 5 *", "5"),
        ("_ 5 _", "5"),
        ("a_1_b", "a1b"),
        ("5'", '5"'),
        ("5′", "5"),
        ("-5", "– -5"),
        ("1–2", "12"),
        ("می‌خواهم", "میخواهم"),
        ("👩‍🚀", "👩🚀"),
        ("🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", "🏴"),
        ("<answer>5</answer>", "5"),
        ("10²", "102"),
        ("101₂", "1012"),
        ("1/2", "0.5"),
        ("50%", "0.5"),
        ("5!", "5"),
        ("-5", "5"),
        ("1,2", "12"),
        ("1,23,456", "123456"),
        ("1 000", "1000"),
        ("2+3", "5"),
        ("x = 5", "5"),
        ("€5", "5"),
        ("5 km", "5"),
        ("(0, 1]", "[0, 1]"),
        ("(ab)", "ab"),
        ("a*", "a"),
        ('"a" and "b"', 'a" and "b'),
        ("__init__", "init"),
        ("0.3", "0.30000000000000004"),
        ("12345678901234567890", "12345678901234567891"),
        ("1e5000", "1e5001"),
        ("", "0"),
    ],
)
def test_answers_that_are_not_the_same(one: str, other: str) -> None:
    assert normalised(one) != normalised(other)


ODD = st.text(
    st.sampled_from("0123456789.,+-−–eE$%\\ \"'`*“”‘’⁄/(){}[]boxedtxBⅫ²₂½¾ßİ\u0345\u200b\u200d\u00ad。\n_:;!"),
    max_size=30,
)


@settings(deadline=None)
@given(st.text() | ODD)
@example("\u1fb7²")
@example("\\boxed{\\boxed{'\"1,000\"'}}")
def test_the_normal_form_of_a_normal_form_is_itself(answer: str) -> None:
    once = normalised(answer)
    assert normalised(once) == once
    assert normalised(f"  {answer}\n") == once


@given(st.integers(-1000, 1000), st.sampled_from("½⅓¾"), st.integers(1, 1000), st.integers(1, 1000))
def test_a_fraction_in_one_character_equals_the_same_one_written_out_and_no_other(
    whole: int, fraction: str, top: int, bottom: int
) -> None:
    plain = {"½": "1/2", "⅓": "1/3", "¾": "3/4"}[fraction]
    assert normalised(f"{whole}{fraction}") == normalised(f"{whole} {plain}")
    assert normalised(f"{whole}{fraction}") != normalised(f"{top}/{bottom}")
    assert (normalised(fraction) == normalised(f"{top}/{bottom}")) == (plain == f"{top}/{bottom}")


MARKED = [
    "Answer: {}",
    "**Answer:** {}",
    "**Answer: {}**",
    "1. *Answer*: {}",
    "My answer：{}<|im_end|>",
    "Answer:\n```\n{}\n```",
    "Answer:\n$$\n{}\n$$\n",
    "Thoughts.\n<answer>{}</answer>",
    "Thoughts.\nThe answer is {}.</s>",
    "Thoughts.\n#### {}",
]


@given(st.sampled_from(MARKED), st.integers(-(10**6), 10**6), st.integers(-(10**6), 10**6))
def test_a_number_is_resolved_in_every_form_and_another_one_in_none(form: str, number: int, other: int) -> None:
    for written in (f"{number}", f"{number:,}", f"${number}$", f"*{number}*", f"${number}"):
        canonical = normalised(answer_in(form.format(written)))
        assert canonical == str(number)
        assert (canonical == normalised(str(other))) == (number == other)


@settings(deadline=None)
@given(st.text() | ODD | st.sampled_from(["Answer: 5", "\\boxed{3} apples", "a\nb", "- 5", "<s>x</s>", "#### 1"]))
def test_an_expected_answer_is_refused_or_resolved_by_a_reply_that_ends_with_it(answer: str) -> None:
    try:
        task = task_of_row("file:1", {"question": "?", "answer": answer}, "file")
    except TaskError:
        return
    assert verdict(f"Thoughts.\nAnswer: {answer}", *task.answers).resolved


@given(
    st.decimals(allow_nan=False, allow_infinity=False).filter(lambda value: abs(value.adjusted()) < 500_000),
    st.data(),
)
def test_equal_numbers_are_equal_however_they_are_written(value: Decimal, data: st.DataObject) -> None:
    written = [str(value), f"{value:e}"]
    if abs(value.adjusted()) < 200:
        written += [
            f"{value:f}",
            f"{value:,f}",
            f"${value:,f}",
            f"{value:f}%",
            f"{value:f}" + ("" if "." in f"{value:f}" else ".0"),
        ]
    forms = {normalised(data.draw(st.sampled_from(written))) for _ in range(3)}
    assert forms == {normalised(str(value))}


@given(st.decimals(-1000, 1000, places=3), st.decimals(-1000, 1000, places=3))
def test_different_numbers_are_different(one: Decimal, other: Decimal) -> None:
    assume(one != other)
    assert normalised(str(one)) != normalised(str(other))


def test_the_longest_answer_is_normalised_in_a_moment() -> None:
    for text in (
        "\\boxed{" * 250,
        "\\boxed{" * 111 + "}" * 111,
        "`" * LONGEST,
        '"' * LONGEST,
        "²" * LONGEST,
        "9," * 1000,
    ):
        assert normalised(normalised(text)) == normalised(text)


def test_a_label_without_an_answer_leaves_the_one_before_it() -> None:
    assert answer_in("Answer: 42\n\nLet me check that again.\nAnswer:") == "42"


def test_the_answer_in_a_long_reply_is_found_in_a_moment() -> None:
    for part in (
        "\n",
        " ",
        "*",
        "#",
        "</s>",
        "<answer>",
        "\\boxed{",
        "Answer",
        "Answer:",
        "1.",
        "1",
        "- ",
        "“",
        "the ",
    ):
        assert len(answer_in(part * 200_000)) <= 200_000 * len(part)


# verdicts


@pytest.mark.parametrize(
    ("reply", "answers", "resolved"),
    [
        ("Answer: 1,000", ("1000",), True),
        ("Answer: 1000.0", ("1,000",), True),
        ("Answer: city of paris", ("Paris", "City of Paris"), True),
        ("Answer: Rome", ("Paris", "City of Paris"), False),
        ("Answer: 6*7", ("42",), False),
        ("Answer: 42 or 43", ("42",), False),
    ],
)
def test_an_answer_is_resolved_if_it_equals_one_of_those_expected(
    reply: str, answers: tuple[str, ...], resolved: bool
) -> None:
    found = verdict(reply, *answers)
    assert found.outcome is (Outcome.RESOLVED if resolved else Outcome.UNRESOLVED)
    assert found.tests == {"answer": "passed" if resolved else "failed"}
    assert found.official is None


def test_a_reason_does_not_name_the_expected_answer() -> None:
    assert verdict("Answer: 41", "42").reason == "the answer is not an expected one"
    assert verdict("", "42").reason == "no answer"
    assert verdict("Answer: .", "42").reason == "no answer"
    assert b"42" not in verdict("Answer: 41", "42").log


def test_an_answer_that_is_too_long_is_compared_as_it_is() -> None:
    task = AnswerTask(id="a", statement="?", answers=("42",))
    long = Submission(b"x" * 1_000_000, "answer")
    assert SUITE.canonical(task, long) == long.body
    assert verdict("x" * 1_000_000, "42").outcome is Outcome.UNRESOLVED


def test_equal_answers_are_one_vote() -> None:
    task = AnswerTask(id="a", statement="?", answers=("42",))
    votes = [SUITE.canonical(task, Submission(text.encode(), "answer")) for text in ("1,000", "$1000", "1000.")]
    assert votes == [b"1000"] * 3
