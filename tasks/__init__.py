"""Tasks: what is to be solved, and who verifies it. Uses `envs`; knows nothing of agents or sampling."""

from tasks.swe.rows import load_tasks
from tasks.task import Outcome, Submission, Task, TaskError, TaskSet, Verdict

__all__ = ["Outcome", "Submission", "Task", "TaskError", "TaskSet", "Verdict", "load_tasks"]
