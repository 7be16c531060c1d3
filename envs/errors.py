"""The base of every error that this project raises on purpose.

It stands on the lowest floor so that all rooms can derive from it. A message names the thing, the cause, the remedy
and what was left unchanged, in one line that a person can act on.

    MonkeysError
    ├── ConfigError        a setting is wrong                               monkeys.spec
    ├── UnknownName        nothing is registered under a name               envs.registry
    ├── TaskError          a task set cannot be read                        tasks.task
    ├── SandboxError       a sandbox failed or cannot be opened             envs.sandbox
    ├── ModelError         a model cannot answer                            agent.models.model
    ├── Unsuited           agent, scaffold and task do not fit together     agent.scaffolds
    ├── StoreError         a run cannot be opened or written                monkeys.store
    ├── RunStopped         a run ended before it was complete               monkeys.runner.circuit_breaker
    └── CountsError, CoverageError, FitError, CostError, SelectionError     the science and its files
"""

__all__ = ["MonkeysError"]


class MonkeysError(Exception):
    """Something that a person can mend. `except MonkeysError` catches every error of this project."""
