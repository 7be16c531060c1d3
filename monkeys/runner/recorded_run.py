"""A run that is gone on with from its record alone: by `monkeys verify RUN --each-turn` and by `monkeys branch`.

Guarantee: what is added to the run was made under its recorded configuration. What the record does not hold (a file of
tasks, a calibration) must be given again, and is compared with the record.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agent.agent import AttemptSpec
from agent.limits import AttemptLimits
from agent.trajectory import Usage
from monkeys.runner.model_setup import Asked, scaffold_spec
from monkeys.runner.resources import WARM_AT_MOST, ResourceSpec
from monkeys.runner.verify_rules import VerifyRules
from monkeys.spec import ConfigError, ImageOptions, RunSpec, SessionOptions, VerifyOptions
from monkeys.spec.build import build
from monkeys.spec.recorded import recorded_values
from monkeys.store import AttemptRow, Store, StoreError
from tasks import TaskError, TaskSet, load_tasks
from tasks.suites import suite_of

__all__ = ["RecordedRun", "Unpaid", "spec_of_row"]


class Unpaid:
    """The account of an attempt that costs nothing."""

    def paid(self, usage: Usage, dollars: float) -> None:
        pass

    def on_close(self, close: object) -> None:
        pass


def spec_of_row(row: AttemptRow) -> AttemptSpec:
    """The spec of an attempt on record."""
    return AttemptSpec(row.task, row.index, row.seed, row.arm, row.brief, row.parents)


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """The run in `folder`, with its configuration, its tasks and the rules by which it is verified."""

    folder: Path
    config: Mapping[str, Any]
    tasks: TaskSet
    rules: VerifyRules

    @classmethod
    def read(cls, folder: Path, task_set: str | None, verify: VerifyOptions) -> RecordedRun:
        """`task_set` is given where the record's own name does not tell it. Raises a `MonkeysError`."""
        store = Store.read(folder)
        try:
            config, ids = store.config, store.task_ids()
            told = any(row.turns for row in store.attempts())
        finally:
            store.close()
        if not told:
            raise StoreError(
                f"run {folder.name} holds no conversations, as a run that `monkeys verify` made from patches; name the "
                "run in which the attempts were sampled; nothing was changed"
            )
        name = task_set or str(config.get("tasks", {}).get("set", ""))
        try:
            tasks = load_tasks(name, config.get("suite")).select(ids)
        except TaskError as error:
            if task_set:
                raise
            raise TaskError(
                f"the tasks of run {folder.name} are not found by its record: {error}; give --tasks"
            ) from None
        recorded = config.get("verify", {})
        options = {"seconds": recorded["seconds"]} if "seconds" in recorded else {}
        rules = VerifyRules.of(replace(verify, **options, unstable=recorded.get("unstable", verify.unstable)))
        if rules.saved() != {**rules.saved(), **recorded} or ("calibration" in rules.saved()) != (
            "calibration" in recorded
        ):
            raise ConfigError(
                f"run {folder.name} goes by {_calibration(recorded)}, and now there is {_calibration(rules.saved())}; "
                "give --calibration FILE as it was given for the run; nothing was changed"
            )
        return cls(folder, config, tasks, rules)

    @property
    def needs_sandbox(self) -> bool:
        return suite_of(self.tasks.suite).needs_sandbox

    def values(self) -> dict[str, Any]:
        """The options that the run was made with, by path."""
        return recorded_values(self.config)

    @property
    def limits(self) -> AttemptLimits:
        """Of one attempt."""
        return AttemptLimits(**self.config.get("limits", {}))

    def resources(self, workers: int, session: SessionOptions | None = None, taken_mb: int = 0) -> ResourceSpec:
        """The same sandboxes as the run has, `workers` attempts at once."""
        sandbox, session = self.config.get("sandbox", {}), session or SessionOptions()
        return ResourceSpec(
            sandbox=sandbox.get("name") or None,
            limits=dict(sandbox.get("limits", {})),
            workers=workers,
            starts=session.starts,
            warm=min(workers, WARM_AT_MOST) if session.warm is None else session.warm,
            overcommit=session.overcommit,
            images=ImageOptions(platform=sandbox.get("platform", "")),
            seconds=max(self.limits.seconds, *map(self.rules.seconds_for, self.tasks.tasks)),
            taken_mb=taken_mb,
        )

    def replay(self) -> Asked:
        """The agent that plays the recorded attempts again, and takes their submissions after each turn."""
        agent = self.config.get("agent", {})
        name = agent.get("name", "loop")
        if name != "loop":
            raise ConfigError(
                f"run {self.folder.name} was made with agent {name}, whose turns cannot be replayed in a sandbox; only "
                "those of agent loop can; nothing was changed"
            )
        spec = build(RunSpec, {**self.values(), "agent.each_turn": True})
        return Asked(
            spec=spec,
            agent=name,
            scaffold=scaffold_spec(spec, name, None),
            limits=self.limits,
            recording=self.folder,
        )


def _calibration(saved: Mapping[str, Any]) -> str:
    return f"calibration {saved['calibration']}" if "calibration" in saved else "no calibration"
