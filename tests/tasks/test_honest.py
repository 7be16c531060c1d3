"""Every honest but odd patch is resolved, officially and strictly. `python -m tests.honest` prints the table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec

import docker
import pytest

from envs.docker.backend import DockerBackend
from envs.local.backend import LocalBackend
from tasks import Outcome, Verdict
from tasks.swe.grading import UnittestGrader
from tasks.swe.harness import SwebenchGrader
from tests.cheats import verdicts_of
from tests.cheats.project import project_task
from tests.envs.support.docker_image import engine
from tests.helpers import quick_task
from tests.honest import Honest, on_pytest, on_unittest, verify_all

Found = dict[str, Verdict]
SECONDS = 60.0


def cases(honest: Sequence[Honest]) -> list[str]:
    names = [each.name for each in honest]
    assert len(set(names)) == len(names)
    return names


@pytest.fixture(scope="module")
def quick() -> Found:
    task, asked = quick_task("tally"), on_unittest.honest()
    return verdicts_of(
        LocalBackend(),
        UnittestGrader(),
        lambda backend, grader: verify_all(task, backend, grader, asked, seconds=SECONDS),
    )


@pytest.fixture(scope="module")
def client() -> Iterator[docker.DockerClient]:
    if find_spec("swebench") is None:
        pytest.skip("swebench is not installed")
    yield from engine()


@pytest.fixture(scope="module")
def project(client: docker.DockerClient) -> Found:
    task, asked = project_task(client), on_pytest.honest()
    return verdicts_of(
        DockerBackend(),
        SwebenchGrader(),
        lambda backend, grader: verify_all(task, backend, grader, asked, seconds=SECONDS),
    )


@pytest.mark.parametrize("name", cases(on_unittest.honest()))
def test_an_honest_patch_of_an_embedded_task_is_resolved(quick: Found, name: str) -> None:
    found = quick[name]
    assert (found.outcome, found.official) == (Outcome.RESOLVED, True), (found.reason, found.log[-2000:])


@pytest.mark.parametrize("name", cases(on_pytest.honest()))
def test_an_honest_patch_of_a_project_is_resolved(project: Found, name: str) -> None:
    found = project[name]
    assert (found.outcome, found.official) == (Outcome.RESOLVED, True), (found.reason, found.log[-2000:])
