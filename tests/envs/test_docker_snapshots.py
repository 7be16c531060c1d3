"""Snapshots of containers and their forks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import docker
import pytest

from envs import Command, Origin, SandboxError, SandboxLost
from tests.envs.support.docker_image import MINE, DockerHarness, alive, engine, full_image, soon, unique


@pytest.fixture(scope="module")
def client() -> Iterator[docker.DockerClient]:
    yield from engine()


@pytest.fixture(scope="module")
def origin(client: docker.DockerClient) -> Origin:
    return full_image(client)


@pytest.fixture
def harness(origin: Origin) -> Iterator[DockerHarness]:
    harness = DockerHarness(origin)
    yield harness
    harness.close()


def images(client: docker.DockerClient, harness: DockerHarness) -> list[str]:
    return [image["Id"] for image in client.api.images(filters={"label": harness.label})]


def test_forks_have_the_files_of_that_moment_and_go_their_own_ways(
    client: docker.DockerClient, harness: DockerHarness
) -> None:
    async def story() -> None:
        sandbox, word = await harness.open(env={"FROM_ORIGIN": "yes"}), unique()
        await sandbox.run(Command("rm a.txt; chmod -x p/run.sh; echo kept > /tmp/kept; mkdir -m 700 /tmp/private"))
        await sandbox.write("new", b"\xff new\r\n")
        under_way = asyncio.create_task(sandbox.run(Command(f"sleep {word}")))
        assert await asyncio.to_thread(soon, lambda: alive(word))
        snapshot = await sandbox.snapshot()
        await sandbox.write("new", b"later\n")
        forks = await asyncio.gather(snapshot.fork(label=MINE), snapshot.fork(label=MINE))
        patch = await forks[0].diff()
        assert b"deleted file mode 100644" in patch
        assert b"old mode 100755" in patch
        assert await forks[0].read("new") == b"\xff new\r\n"
        assert await sandbox.read("new") == b"later\n"
        seen = await forks[1].run(Command("pwd; echo $FROM_ORIGIN; cat /tmp/kept; ls -ld /tmp/private"))
        assert seen.output.startswith(b"/testbed\nyes\nkept\ndrwx------ ")
        left = await forks[1].run(Command("cat /proc/[0-9]*/cmdline"))
        assert word.encode() not in left.output
        await forks[0].write("mine", b"mine\n")
        assert await forks[1].diff() == patch
        await sandbox.close()
        with pytest.raises(SandboxLost):
            await under_way
        again = await forks[0].snapshot()
        grandchild = await again.fork(label=MINE)
        assert await grandchild.read("mine") == b"mine\n"
        for each in (snapshot, again, again):
            await each.close()
        assert (await grandchild.run(Command("cat mine"))).output == b"mine\n"  # it lives on
        assert (await forks[1].run(Command("echo alive"))).output == b"alive\n"

    harness(story())
    assert images(client, harness)
    harness(harness.backend.close())
    assert not images(client, harness)


def test_the_image_of_a_closed_snapshot_goes_at_once_where_nothing_stands_on_it(
    client: docker.DockerClient, harness: DockerHarness
) -> None:
    async def story() -> None:
        sandbox = await harness.open()
        snapshot = await sandbox.snapshot()
        assert len(images(client, harness)) == 1
        await snapshot.close()
        await snapshot.close()
        assert not images(client, harness)
        with pytest.raises(SandboxError):
            await snapshot.fork()
        await sandbox.close()
        with pytest.raises(SandboxLost):
            await sandbox.snapshot()

    harness(story())
