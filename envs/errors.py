"""The base of every error that this project raises on purpose.

It is in the lowest package, so that every package can derive its errors from it. A message is one line: it names the
thing, the cause, the remedy and what was left unchanged.

    MonkeysError
    ├── ConfigError        a setting is wrong                               monkeys.spec
    ├── UnknownName        nothing usable is registered under a name        envs.registry
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
    """The base of all errors of this project: `except MonkeysError` catches every one of them."""
