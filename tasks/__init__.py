"""Tasks: what is to be solved, and what verifies it. Uses `envs`; knows nothing of agents or sampling.

`load_tasks` reads a task set; `suite_of(tasks.suite)` gives the suite that collects and verifies submissions for it.
"""

from tasks.suite import Suite, Verifier, VerifierSetup
from tasks.suites import load_tasks, suite_of
from tasks.task import Outcome, Submission, Task, TaskError, TaskSet, Verdict

__all__ = [
    "Outcome",
    "Submission",
    "Suite",
    "Task",
    "TaskError",
    "TaskSet",
    "Verdict",
    "Verifier",
    "VerifierSetup",
    "load_tasks",
    "suite_of",
]
