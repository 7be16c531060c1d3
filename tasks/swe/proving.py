"""Proofs of a task: which of its tests can be falsified, and how, from runs on the base and with the known solution.

They depend on no patch, and are made once. The runs on the base and with the known solution share a sandbox, since both
are trusted: what is installed and built there serves both, unless the known solution changes more than Python code.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from tasks.swe import mixed_run
from tasks.swe.altering import EVERY, LEFT, RIGHT
from tasks.swe.mixed_run import Change, Copies, Proof, Proofs, Sources
from tasks.swe.once import OncePerTask
from tasks.swe.patches import touched_files
from tasks.swe.running import MixedTests, Room, Run, Runner, longest
from tasks.swe.task import SweTask

__all__ = ["Prover"]

WAITING = 30.0  # seconds that tests which try their false assertions again may take in all, beside installing


class Prover:
    """Makes the proofs of tasks with `runner`."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._proofs = OncePerTask(self._prove)
        self._expected: dict[str, asyncio.Future[Proofs | None]] = {}

    def begun(self, task: SweTask) -> bool:
        """Whether the proofs of this task are made, or being made."""
        return task in self._proofs

    async def proofs(self, task: SweTask) -> Proofs:
        """The proofs, made by the first who asks. Raises `SandboxError` and `GraderFailed`."""
        return await self._proofs.get(task)

    def under_way(self, task: SweTask) -> bool:
        """Whether they are being made."""
        return task.id in self._expected

    async def expected(self, task: SweTask) -> Proofs | None:
        """The proofs to expect of those that are under way, as soon as the base has been run.

        None if they cannot be told before they are made.
        """
        return await asyncio.shield(self._expected[task.id])

    async def _prove(self, task: SweTask) -> Proofs:
        told = self._expected[task.id] = asyncio.get_running_loop().create_future()
        try:
            return await self._proved(task, told)
        finally:
            if self._expected.get(task.id) is told:  # while this was being ended, others may have begun again
                del self._expected[task.id]
            if not told.done():
                told.set_result(None)

    async def _proved(self, task: SweTask, told: asyncio.Future[Proofs | None]) -> Proofs:
        """Find out with the known solution which tests can be falsified, and how."""
        python = {
            name: text.decode("utf-8", "replace")
            for name, text in (await self._runner.hidden.get(task)).items()
            if text and name.endswith(".py")
        }
        sources = Sources.of(python, task.fail_to_pass, task.pass_to_pass)
        chance = secrets.SystemRandom()
        functions = sorted(sources.fail_to_pass)
        # By chance, so that of no test a patch can know that it is never falsified.
        chosen = chance.sample(functions, min(mixed_run.MOST_FALSIFIED, len(functions)))
        if not chosen:
            return Proofs(sources)
        if not task.patch.strip():  # nothing can be proved: each test fails at its end, and runs once in a process
            assumed = {
                name: Proof({mixed_run.AT_END: dict.fromkeys(ids, "")}, ids, repeats=False, hidden=False)
                for name, ids in sources.fail_to_pass.items()
            }
            return Proofs(sources, assumed)
        others = sorted(sources.others)
        others = chance.sample(others, min(mixed_run.MOST_OTHERS, len(others)))
        async with self._runner.room(task) as room:
            base = _Trial(sources, mixed_run.single(dict.fromkeys(chosen, mixed_run.TRUTH)), chosen, alone=True)
            untouched = await base.run(room)
            places = mixed_run.failing_places(base.copies, untouched.trace)
            trial = _Trial(sources, mixed_run.proving(chosen, others, places), chosen)
            told.set_result(mixed_run.expected_proofs(sources, trial.copies, hidden=trial.hidden, places=places))
            await room.apply(task.patch.encode())
            run = await trial.run(room, prepare=not _is_code_alone(task.patch))
        proofs = trial.judge(run, places)
        # In a sandbox of their own, where the run on the base has left something; and some tests need their own text.
        within = None
        for hidden in (chosen, []):
            left = [name for name in chosen if name not in proofs or not (proofs[name].repeats or hidden)]
            if not left:
                continue
            if not run.timed_out:
                trial = _Trial(sources, mixed_run.proving(left, others if hidden else [], places), hidden)
                run = await self._alone(task, trial)
                proofs |= trial.judge(run, places)
            left = [name for name in left if name not in proofs]
            if (
                left and run.timed_out
            ):  # too many copies for a slow test, or an altered one never ends: one copy in a process
                trial = _Trial(sources, mixed_run.single(dict.fromkeys(left, mixed_run.TRUTH)), hidden)
                once = await self._alone(task, trial)
                within = longest(once)
                found = trial.judge(once, places)
                proofs |= {name: replace(proof, changes={}, repeats=False) for name, proof in found.items()}
        await self._prove_every_try(task, sources, proofs, untouched.seconds + WAITING)
        left = [name for name in chosen if name in proofs and not proofs[name].repeats]
        await self._prove_apart(task, sources, proofs, left, within)
        return Proofs(sources, proofs, frozenset(functions) - set(chosen))

    async def _prove_every_try(self, task: SweTask, sources: Sources, proofs: dict[str, Proof], within: float) -> None:
        """Prove what no single false assertion fails: a test that tries its assertion again until it holds.

        One that waits long for that stays as it is, since it would use up the time of each patch.
        """
        chosen = {
            name: proof
            for name, proof in proofs.items()
            if name in sources.fail_to_pass and proof.repeats and proof.again
        }
        if not chosen:
            return
        hidden = [name for name, proof in chosen.items() if proof.hidden]
        trial = _Trial(sources, mixed_run.at_every_try(chosen), hidden)
        found = trial.judge(await self._alone(task, trial, within), {})
        for name in found.keys() & chosen.keys():
            if found[name].repeats:
                proofs[name] = replace(chosen[name], changes={**found[name].changes, **chosen[name].changes})

    async def _prove_apart(
        self,
        task: SweTask,
        sources: Sources,
        proofs: dict[str, Proof],
        names: Collection[str],
        within: float | None,
    ) -> None:
        """Prove what cannot run twice in a process: a run for each change, until one makes it fail."""
        first = {name: Change.drawn(RIGHT, min(proofs[name].places, default=proofs[name].last)) for name in names}
        for name in names:
            proofs[name] = replace(proofs[name], changes={})
        for change in (None, Change.drawn(RIGHT, EVERY), Change.drawn(LEFT, EVERY), mixed_run.AT_END):
            changes = {name: change or first[name] for name in names if not proofs[name].changes}
            if not changes:
                return
            trial = _Trial(sources, mixed_run.single(changes, {name: proofs[name].seed for name in changes}), [])
            statuses = (await self._alone(task, trial, within)).statuses
            for name, tried in changes.items():
                found = {test: statuses.get(test, "") for test in proofs[name].passing}
                failed = {test: status for test, status in found.items() if status in mixed_run.FAILING}
                proofs[name] = replace(proofs[name], changes={tried: failed} if failed else {})

    async def _alone(self, task: SweTask, trial: _Trial, within: float | None = None) -> Run:
        """A run with the known solution in a sandbox of its own."""
        async with self._runner.room(task) as room:
            await room.apply(task.patch.encode())
            return await trial.run(room, within=within)


@dataclass(frozen=True, slots=True)
class _Trial:
    """The copies of one run of trusted code, with the functions whose constants are `hidden`.

    `alone` leaves out what is not copied.
    """

    sources: Sources
    copies: Copies
    hidden: Collection[str]
    alone: bool = False

    async def run(self, room: Room, *, within: float | None = None, prepare: bool = True) -> Run:
        """The run, with the trace of its copies."""
        trace = f"/tmp/{secrets.token_hex(8)}"
        files = self.sources.write(self.copies, self.hidden, trace, alone=self.alone)
        tests = MixedTests(files, mixed_run.ids_in(self.sources, self.copies), trace)
        return await room.run(tests, within=within, prepare=prepare)

    def judge(self, run: Run, places: Mapping[str, frozenset[int]]) -> dict[str, Proof]:
        """What the run proves."""
        return mixed_run.judge_proof(
            self.sources, self.copies, run.statuses, run.trace, hidden=self.hidden, places=places
        )


def _is_code_alone(patch: str) -> bool:
    """Whether a patch changes Python modules and nothing that installing or building depends on."""
    files = [PurePosixPath(name) for name in touched_files(patch)]
    return all(file.suffix == ".py" and file.name != "setup.py" for file in files)
