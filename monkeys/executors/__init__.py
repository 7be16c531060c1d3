"""Executors: where attempts are made and submissions are verified. `make_executor` finds one by its name."""

from envs.registry import Registry
from monkeys.executors.executor import Account, Executor, ExecutorSetup, VerifySpec, WorkerFacts, WorkerSetup

__all__ = [
    "EXECUTORS",
    "Account",
    "Executor",
    "ExecutorSetup",
    "VerifySpec",
    "WorkerFacts",
    "WorkerSetup",
    "make_executor",
]

EXECUTORS = Registry(
    "executors",
    "executor",
    Executor,
    {"here": "monkeys.executors.here:Here", "processes": "monkeys.executors.processes:Processes"},
)


def make_executor(name: str, setup: ExecutorSetup) -> Executor:
    """The executor registered as `name`, not yet started. Raises `UnknownName`."""
    executor: Executor = EXECUTORS.make(name, setup)
    return executor
