"""Print the verdict on every honest but odd patch: `python -m tests.honest [a part of a name ...]`."""

from __future__ import annotations

import asyncio
import sys
import time

import docker

from envs import backend
from tasks.swe.grading import Grader, UnittestGrader
from tasks.swe.harness import SwebenchGrader
from tasks.swe.task import SweTask
from tests.cheats import table
from tests.cheats.project import project_task
from tests.helpers import quick_task
from tests.honest import Honest, on_pytest, on_unittest, verify_all


async def show(task: SweTask, backend_name: str, grader: Grader, asked: list[Honest], names: list[str]) -> None:
    began = time.monotonic()
    sandboxes = backend(backend_name)
    try:
        chosen = [each for each in asked if not names or any(name in each.name for name in names)]
        verified = await verify_all(task, sandboxes, grader, chosen, seconds=60.0)
    finally:
        await sandboxes.close()
        await grader.close()
    print(f"{table(task.id, verified)}\n\nVerified {len(verified)} in {time.monotonic() - began:.0f} s.\n", flush=True)


async def main(names: list[str]) -> None:
    await show(quick_task("tally"), "local", UnittestGrader(), on_unittest.honest(), names)
    await show(project_task(docker.from_env(timeout=60)), "docker", SwebenchGrader(), on_pytest.honest(), names)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
