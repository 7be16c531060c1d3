"""An image whose repository commands cannot write is refused in its first sandbox, as the user that it names."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import docker
import pytest

from envs import Command, Origin, SandboxUnavailable
from envs.docker.orphans import LABEL
from tests.envs.support.docker_image import IMAGE, MINE, DockerHarness, engine, full_image, one_line

Variant = Callable[[str, str], Origin]


@pytest.fixture(scope="module")
def client() -> Iterator[docker.DockerClient]:
    yield from engine()


@pytest.fixture(scope="module")
def variant(client: docker.DockerClient) -> Iterator[Variant]:
    """Makes an image of the test image: what a script of root leaves, with a user that commands run as."""
    origin = full_image(client)
    names: list[str] = []

    def make(script: str, user: str) -> Origin:
        container = client.containers.create(
            origin.image, ["/bin/sh", "-c", script], user="0", labels={f"{LABEL}.for": MINE}, network_mode="none"
        )
        try:
            container.start()
            assert container.wait()["StatusCode"] == 0
            repository, tag = f"{IMAGE}-written", f"{MINE}-{len(names)}"
            container.commit(repository, tag, changes=[f"USER {user}"])
        finally:
            container.remove(force=True)
        names.append(f"{repository}:{tag}")
        return Origin(origin.commit, image=names[-1])

    yield make
    for name in names:
        client.images.remove(name, force=True)


def test_a_repository_that_commands_cannot_write_is_refused_with_the_user_and_the_remedy(variant: Variant) -> None:
    harness = DockerHarness(variant("chmod 777 /testbed; chmod 666 /testbed/a.txt", "1000"))
    try:
        for _ in range(2):  # each time, for the image may have been made again
            with pytest.raises(SandboxUnavailable) as refused:
                harness(harness.open())
            text = one_line(refused.value)
            assert (
                "cannot write /testbed, so no patch could be made or applied there: crlf.txt cannot be written" in text
            )
            assert "the folder belongs to user 0" in text
            assert "chown -R USER /testbed" in text
    finally:
        harness.close()


def test_a_repository_of_another_user_that_commands_can_write_is_one_for_git_too(variant: Variant) -> None:
    harness = DockerHarness(variant("chmod -R a+rwX /testbed", "1000"))
    try:
        sandbox = harness(harness.open())
        done = harness(sandbox.run(Command("git status --short && git log --oneline && echo more >> a.txt")))
        assert (done.returncode, b"dubious" in done.output) == (0, False), done.output
        assert b"+more" in harness(sandbox.diff())
        assert b"write-trial" not in harness(sandbox.diff())
    finally:
        harness.close()
