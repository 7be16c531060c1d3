"""Print the tables of verdicts: `python -m tests.cheats [WORD ...]`.

With words, only the patches whose name holds one of them are verified.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import docker

from envs import Backend, backend
from tasks.swe.grading import Grader, UnittestGrader
from tasks.swe.harness import SwebenchGrader
from tests.cheats import Cheat, Verified, assertions, entries, on_pytest, on_unittest, table, verify_all
from tests.cheats.project import project_task
from tests.helpers import quick_task

Verify = Callable[[Backend, Grader], Coroutine[Any, Any, Sequence[Verified]]]
SECONDS = 30.0


async def show(title: str, backend_name: str, grader: Grader, verify: Verify) -> None:
    began = time.monotonic()
    sandboxes = backend(backend_name)
    try:
        verified = await verify(sandboxes, grader)
    finally:
        await sandboxes.close()
        await grader.close()
    if verified:
        seconds = time.monotonic() - began
        print(f"{table(title, verified)}\n\nVerified {len(verified)} in {seconds:.0f} s.\n", flush=True)


async def main(words: list[str]) -> None:
    def asked(cheats: Sequence[Cheat]) -> list[Cheat]:
        return [each for each in cheats if not words or any(word in each.name for word in words)]

    quick, project = quick_task("tally"), project_task(docker.from_env(timeout=60))
    on_quick = asked([*on_unittest.cheats(quick), *on_unittest.honest(quick), *on_unittest.beyond()])
    on_project = asked([*on_pytest.cheats(project), *on_pytest.honest(project), *on_pytest.beyond()])
    ones = asked([Cheat(name, "") for name, _ in entries(assertions.CHEATS + assertions.BEYOND)])
    if not (on_quick or ones or on_project):
        sys.exit(f"no patch has {' or '.join(words)} in its name; nothing was verified")
    await show(
        "embedded task, unittest",
        "local",
        UnittestGrader(),
        lambda backend, grader: verify_all(quick, backend, grader, on_quick, seconds=SECONDS),
    )
    with assertions.tasks(assertions.CHEATS + assertions.BEYOND) as found:
        names = {each.name for each in ones}
        chosen = [each for each in found if each.cheat.name in names]
        await show(
            "one assertion, unittest",
            "local",
            UnittestGrader(),
            lambda backend, grader: assertions.verify_each(chosen, backend, grader, seconds=SECONDS),
        )
    await show(
        "itsdangerous, pytest",
        "docker",
        SwebenchGrader(),
        lambda backend, grader: verify_all(project, backend, grader, on_project, seconds=SECONDS),
    )


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
