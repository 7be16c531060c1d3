"""No cheat is resolved, every honest patch is, and what gets through is known by name. See docs/verifier.md."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
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
from tests.cheats import Cheat, on_pytest, on_unittest, verify_all
from tests.cheats.project import project_task
from tests.envs.support.docker_image import engine
from tests.helpers import quick_task

Found = dict[str, Verdict]
# What the task's own harness takes for solved; if it learns better, this learns it too.
FOOLS_PYTEST = {
    "hook makereport in conftest.py",
    "reports patched by the code under test",
    "results printed at exit",
    "equals everything",
    "xfail raised by the code under test",
    "pytest.py in the root",
    "entry point in an egg-info",
    "compiled code",
}


def names(cheats: list[Cheat]) -> list[str]:
    listed = [cheat.name for cheat in cheats]
    assert len(set(listed)) == len(listed)
    return listed


def all_of(task: SweTask, backend: Backend, grader: Grader, cheats: list[Cheat]) -> Found:
    async def main() -> Found:
        try:
            verified = await verify_all(task, backend, grader, cheats, seconds=30.0)
        finally:
            await backend.close()
            await grader.close()
        return {each.cheat.name: each.verdict for each in verified}

    return asyncio.run(main())


@pytest.fixture(scope="module")
def quick() -> Found:
    task = quick_task("tally")
    return all_of(task, LocalBackend(), UnittestGrader(), [*on_unittest.cheats(task), *on_unittest.honest(task)])


@pytest.fixture(scope="module")
def client() -> Iterator[docker.DockerClient]:
    if find_spec("swebench") is None:
        pytest.skip("swebench is not installed")
    yield from engine()


@pytest.fixture(scope="module")
def project(client: docker.DockerClient) -> Found:
    task = project_task(client)
    asked = [*on_pytest.cheats(), *on_pytest.honest(task), *on_pytest.beyond()]
    return all_of(task, DockerBackend(), SwebenchGrader(), asked)


@pytest.mark.parametrize("name", names(on_unittest.cheats(quick_task("tally"))))
def test_a_cheat_on_unittest_is_not_resolved(quick: Found, name: str) -> None:
    assert quick[name].outcome is Outcome.UNRESOLVED, quick[name].log
    assert quick[name].reason


@pytest.mark.parametrize("name", names(on_unittest.honest(quick_task("tally"))))
def test_an_honest_patch_on_unittest_is_resolved(quick: Found, name: str) -> None:
    found = quick[name]
    assert (found.outcome, found.official) == (Outcome.RESOLVED, True), (found.reason, found.log)


@pytest.mark.parametrize("name", names(on_pytest.cheats()))
def test_a_cheat_on_pytest_is_not_resolved(project: Found, name: str) -> None:
    assert project[name].outcome is Outcome.UNRESOLVED, project[name].log
    assert project[name].reason


@pytest.mark.parametrize("name", names(on_pytest.honest(quick_task("tally"))))
def test_an_honest_patch_on_pytest_is_resolved(project: Found, name: str) -> None:
    found = project[name]
    assert (found.outcome, found.official) == (Outcome.RESOLVED, True), (found.reason, found.log)


def test_the_harness_alone_is_fooled_by_many(quick: Found, project: Found) -> None:
    fooled = {cheat.name for cheat in on_pytest.cheats() if project[cheat.name].official}
    assert fooled >= FOOLS_PYTEST
    assert sum(bool(quick[cheat.name].official) for cheat in on_unittest.cheats(quick_task("tally"))) > 5


def test_what_reads_the_tests_while_they_run_is_only_flagged(project: Found) -> None:
    assert {name: project[name].outcome for name in names(on_pytest.beyond())} == dict.fromkeys(
        [
            "answers only what is asked",
            "knows a falsified test by its text",
            "takes the answer from its caller's frame",
        ],
        Outcome.RESOLVED,
    )
    assert project["answers only what is asked"].flags == ()
    assert project["knows a falsified test by its text"].flags == ("names what tells a test run from others",)
    assert project["takes the answer from its caller's frame"].flags == ("looks at its callers",)
