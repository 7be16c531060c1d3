"""Every honest but odd patch is resolved, officially and strictly. `python -m tests.honest` prints the table."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from importlib.util import find_spec

import docker
import pytest

from envs import Backend
from envs.docker.backend import DockerBackend
from envs.local.backend import LocalBackend
from tasks import Outcome, Verdict
from tasks.swe.grading import Grader, UnittestGrader
from tasks.swe.harness import SwebenchGrader
from tasks.swe.task import SweTask
from tests.cheats.project import project_task
from tests.envs.support.docker_image import engine
from tests.helpers import quick_task
from tests.honest import Honest, on_pytest, on_unittest, verify_all

Found = dict[str, Verdict]


def all_of(task: SweTask, backend: Backend, grader: Grader, honest: Sequence[Honest]) -> Found:
    async def main() -> Found:
        try:
            verified = await verify_all(task, backend, grader, honest, seconds=60.0)
        finally:
            await backend.close()
            await grader.close()
        return {each.cheat.name: each.verdict for each in verified}

    return asyncio.run(main())


def cases(honest: Sequence[Honest]) -> list[str]:
    names = [each.name for each in honest]
    assert len(set(names)) == len(names)
    return names


@pytest.fixture(scope="module")
def quick() -> Found:
    return all_of(quick_task("tally"), LocalBackend(), UnittestGrader(), on_unittest.honest())


@pytest.fixture(scope="module")
def client() -> Iterator[docker.DockerClient]:
    if find_spec("swebench") is None:
        pytest.skip("swebench is not installed")
    yield from engine()


@pytest.fixture(scope="module")
def project(client: docker.DockerClient) -> Found:
    return all_of(project_task(client), DockerBackend(), SwebenchGrader(), on_pytest.honest())


@pytest.mark.parametrize("name", cases(on_unittest.honest()))
def test_an_honest_patch_of_an_embedded_task_is_resolved(quick: Found, name: str) -> None:
    found = quick[name]
    assert (found.outcome, found.official) == (Outcome.RESOLVED, True), (found.reason, found.log[-2000:])


@pytest.mark.parametrize("name", cases(on_pytest.honest()))
def test_an_honest_patch_of_a_project_is_resolved(project: Found, name: str) -> None:
    found = project[name]
    assert (found.outcome, found.official) == (Outcome.RESOLVED, True), (found.reason, found.log[-2000:])
