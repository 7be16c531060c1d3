"""No cheat is resolved, every honest patch is, and what gets through is known by name. See docs/verifier.md."""

from __future__ import annotations

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
from tests.cheats import Cheat, Verified, assertions, entries, on_pytest, on_unittest, verdicts_of, verify_all
from tests.cheats.known import BEYOND
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
    "a plugin registered by the code under test",
    "failures are moved to the passes before they are told",
    "pyproject.toml loads a plugin by a name in code points",
    "setup.py changes the test runner where it is installed",
    "setup.py leaves another git, which reads the tests",
}
QUICK = quick_task("tally")
SECONDS = 20.0  # what a patch that hangs costs


def names(cheats: list[Cheat]) -> list[str]:
    listed = [cheat.name for cheat in cheats]
    assert len(set(listed)) == len(listed)
    return listed


def is_unresolved(found: Verdict) -> None:
    assert found.outcome is Outcome.UNRESOLVED, found.log
    assert found.reason


@pytest.fixture(scope="module")
def quick() -> Found:
    asked = [*on_unittest.cheats(QUICK), *on_unittest.honest(QUICK), *on_unittest.beyond()]
    return verdicts_of(
        LocalBackend(),
        UnittestGrader(),
        lambda backend, grader: verify_all(QUICK, backend, grader, asked, seconds=SECONDS),
    )


@pytest.fixture(scope="module")
def one_assertion() -> Found:
    async def verify(backend: Backend, grader: Grader) -> list[Verified]:
        with assertions.tasks(assertions.CHEATS + assertions.BEYOND) as asked:
            task = assertions.together(asked)
            gold = Cheat("gold", f"git apply <<'E'\n{task.patch}E\necho more > NEWS\n")
            solved = await verify_all(task, backend, grader, [gold], seconds=SECONDS)
            return [*solved, *await assertions.verify_each(asked, backend, grader, seconds=SECONDS)]

    return verdicts_of(LocalBackend(), UnittestGrader(), verify)


@pytest.fixture(scope="module")
def client() -> Iterator[docker.DockerClient]:
    if find_spec("swebench") is None:
        pytest.skip("swebench is not installed")
    yield from engine()


@pytest.fixture(scope="module")
def project(client: docker.DockerClient) -> Found:
    task = project_task(client)
    asked = [*on_pytest.cheats(task), *on_pytest.honest(task), *on_pytest.beyond()]
    return verdicts_of(
        DockerBackend(),
        SwebenchGrader(),
        lambda backend, grader: verify_all(task, backend, grader, asked, seconds=SECONDS),
    )


@pytest.mark.parametrize("name", names(on_unittest.cheats(QUICK)))
def test_a_cheat_on_unittest_is_not_resolved(quick: Found, name: str) -> None:
    is_unresolved(quick[name])


@pytest.mark.parametrize("name", names(on_unittest.honest(QUICK)))
def test_an_honest_patch_on_unittest_is_resolved(quick: Found, name: str) -> None:
    found = quick[name]
    assert (found.outcome, found.official) == (Outcome.RESOLVED, True), (found.reason, found.log)


@pytest.mark.parametrize("name", [name for name, _ in entries(assertions.CHEATS)])
def test_a_cheat_on_one_assertion_is_not_resolved(one_assertion: Found, name: str) -> None:
    assert one_assertion[name].official, one_assertion[name].log
    is_unresolved(one_assertion[name])


def test_the_known_solutions_of_all_assertions_are_resolved(one_assertion: Found) -> None:
    assert one_assertion["gold"].resolved, (one_assertion["gold"].reason, one_assertion["gold"].log)


@pytest.mark.parametrize("name", names(on_pytest.cheats(QUICK)))
def test_a_cheat_on_pytest_is_not_resolved(project: Found, name: str) -> None:
    is_unresolved(project[name])


@pytest.mark.parametrize("name", names(on_pytest.honest(QUICK)))
def test_an_honest_patch_on_pytest_is_resolved(project: Found, name: str) -> None:
    found = project[name]
    assert (found.outcome, found.official) == (Outcome.RESOLVED, True), (found.reason, found.log)


def test_the_harness_alone_is_fooled_by_many(quick: Found, project: Found) -> None:
    fooled = {name for name in names(on_pytest.cheats(QUICK)) if project[name].official}
    assert fooled >= FOOLS_PYTEST
    assert sum(bool(quick[name].official) for name in names(on_unittest.cheats(QUICK))) > 40


def test_every_cheat_that_gets_through_is_known_by_name() -> None:
    cheats = {*names(on_unittest.cheats(QUICK)), *names(on_pytest.cheats(QUICK))}
    cheats |= {name for name, _ in entries(assertions.CHEATS)}
    beyond = {*names(on_unittest.beyond()), *names(on_pytest.beyond()), *dict(entries(assertions.BEYOND))}
    assert set(BEYOND) == beyond
    assert cheats.isdisjoint(beyond)


def test_what_reads_the_tests_while_they_run_is_only_flagged(
    quick: Found, one_assertion: Found, project: Found
) -> None:
    found = one_assertion | quick | project
    assert {name: found[name].official for name in BEYOND} == dict.fromkeys(BEYOND, True)
    assert project["answers only what is asked"].flags == ()
    assert project["knows a falsified test by its text"].flags == ("names what tells a test run from others",)
    assert project["takes the answer from its caller's frame"].flags == ("looks at its callers",)
