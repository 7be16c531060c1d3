"""The suite `answers`: questions whose answer is a short text, verified by comparing it with the expected ones.

It reads files of rows (`tasks.row_files`) with `question` and `answer` (`tasks.answers.rows`). There is no
sandbox: the answer is taken from the model's last reply (`tasks.answers.extract`). An answer is right if its normal
form (`tasks.answers.normalise`) equals that of an expected answer. Verifying costs microseconds, so nothing is cached.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from envs import Sandbox
from tasks.answers.extract import FORM, answer_in
from tasks.answers.normalise import LONGEST, normalised
from tasks.answers.rows import task_of_row
from tasks.answers.task import as_question
from tasks.row_files import first_row, is_path, rows_of_file, stem_of, task_set
from tasks.suite import VerifierSetup
from tasks.task import Outcome, Submission, Task, TaskError, TaskSet, Verdict

__all__ = ["AnswerSuite", "AnswerVerifier"]

KIND = "answer"
TEST = "answer"


class AnswerSuite:
    """Questions whose submissions are short texts."""

    name = "answers"
    kind = KIND
    needs_sandbox = False
    sources = "a .jsonl, .json or .parquet file of questions (with question and answer)"

    def reads(self, source: str) -> bool:
        # In any case: a row with "Question" is refused with what is wrong with it.
        return is_path(source) and {"question", "answer"} <= {name.casefold() for name in first_row(source)}

    def load(self, source: str) -> TaskSet:
        path = Path(source)
        if not is_path(source):
            raise TaskError(f"no task set {source!r} in suite {self.name}, which reads {self.sources}")
        rows = rows_of_file(path, read_float=Decimal)  # exact, whatever its number of digits
        name = stem_of(path)
        return task_set(name, self.name, ((where, task_of_row(where, row, name)) for where, row in rows))

    def prepare(self, tasks: TaskSet) -> TaskSet:
        return tasks

    def shown(self, task: Task) -> str:
        return f"{task.statement.strip()}\n\n{FORM}"

    async def collect(self, task: Task, sandbox: Sandbox | None, reply: str) -> Submission:
        return Submission(answer_in(reply).encode("utf-8", "replace"), KIND)

    def known(self, task: Task) -> Submission | None:
        return Submission(as_question(task).answers[0].encode(), KIND)

    def canonical(self, task: Task, submission: Submission) -> bytes:
        return _canonical(submission.body)

    def verifier(self, setup: VerifierSetup) -> AnswerVerifier:
        return AnswerVerifier()


class AnswerVerifier:
    """Compares an answer with the expected ones by their normal forms. Its reasons do not name the expected answer."""

    async def verify(self, task: Task, submission: Submission) -> Verdict:
        """The verdict on an answer. Never raises for what an answer holds."""
        reason = _why_wrong(submission, as_question(task).answers)
        if reason:
            return Verdict(Outcome.UNRESOLVED, reason, {TEST: "failed"}, 0.0)
        return Verdict(Outcome.RESOLVED, "", {TEST: "passed"}, 0.0)

    async def close(self) -> None:
        pass


def _why_wrong(submission: Submission, answers: tuple[str, ...]) -> str:
    """Why a submission does not answer a question; "" if it does."""
    if submission.kind != KIND:
        return f"the submission is of the kind {submission.kind}, and this task needs an {KIND}"
    given = _canonical(submission.body)
    if not given:
        return "no answer"
    if any(given == _canonical(answer.encode()) for answer in answers):
        return ""
    return "the answer is not an expected one"


def _canonical(body: bytes) -> bytes:
    """The normal form of an answer, as bytes; an answer that is too long to be compared stays as it is."""
    text = body.decode("utf-8", "replace")
    return normalised(text).encode() if len(text) <= LONGEST else body
