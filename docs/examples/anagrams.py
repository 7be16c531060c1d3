"""A suite of one's own: anagrams of words in a file. Many answers are right, so a function verifies them."""

from __future__ import annotations

from pathlib import Path

from envs import Sandbox
from tasks import Outcome, Submission, Task, TaskError, TaskSet, Verdict
from tasks.suite import VerifierSetup


class AnagramSuite:
    name = "anagrams"
    kind = "answer"
    needs_sandbox = False
    sources = "a .words file with one word a line"

    def reads(self, source: str) -> bool:
        return source.endswith(".words")

    def load(self, source: str) -> TaskSet:
        try:
            words = Path(source).read_text("utf-8").split()
        except OSError as error:
            raise TaskError(f"{source} cannot be read ({error.strerror}); give a file with one word a line") from None
        tasks = tuple(Task(id=f"anagram-{word}", statement=word) for word in words)
        return TaskSet(Path(source).stem, tasks, self.name)

    def prepare(self, tasks: TaskSet) -> TaskSet:
        return tasks

    def shown(self, task: Task) -> str:
        return f"Give an anagram of the word {task.statement!r}, other than the word itself. Answer with one word."

    async def collect(self, task: Task, sandbox: Sandbox | None, reply: str) -> Submission:
        return Submission(reply.strip().lower().encode(), self.kind)

    def known(self, task: Task) -> Submission | None:
        return None

    def canonical(self, task: Task, submission: Submission) -> bytes:
        return submission.body

    def verifier(self, setup: VerifierSetup) -> AnagramVerifier:
        return AnagramVerifier()


class AnagramVerifier:
    async def verify(self, task: Task, submission: Submission) -> Verdict:
        word, answer = task.statement.lower(), submission.body.decode()
        good = sorted(word) == sorted(answer) and word != answer
        outcome, reason = (Outcome.RESOLVED, "") if good else (Outcome.UNRESOLVED, "not an anagram")
        return Verdict(outcome, reason, {"anagram": "passed" if good else "failed"}, 0.0)

    async def close(self) -> None:
        pass
