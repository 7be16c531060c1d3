"""Print the verdict on every cheat: `python -m tests.cheats`."""

from __future__ import annotations

import asyncio
import sys
import time

import docker

from envs import backend
from tasks.swe.grading import Grader, UnittestGrader
from tasks.swe.harness import SwebenchGrader
from tasks.swe.task import SweTask
from tests.cheats import Cheat, on_pytest, on_unittest, table, verify_all
from tests.cheats.project import project_task
from tests.helpers import quick_task


async def show(task: SweTask, backend_name: str, grader: Grader, asked: list[Cheat], names: list[str]) -> None:
    began = time.monotonic()
    sandboxes = backend(backend_name)
    try:
        chosen = [each for each in asked if not names or any(name in each.name for name in names)]
        verified = await verify_all(task, sandboxes, grader, chosen, seconds=30.0)
    finally:
        await sandboxes.close()
        await grader.close()
    print(f"{task.id}, {len(verified)} patches in {time.monotonic() - began:.0f} s\n{table(verified)}\n", flush=True)


async def main(names: list[str]) -> None:
    quick, project = quick_task("tally"), project_task(docker.from_env(timeout=60))
    on_quick = [*on_unittest.cheats(quick), *on_unittest.honest(quick)]
    on_project = [*on_pytest.cheats(), *on_pytest.honest(project), *on_pytest.beyond()]
    await show(quick, "local", UnittestGrader(), on_quick, names)
    await show(project, "docker", SwebenchGrader(), on_project, names)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
