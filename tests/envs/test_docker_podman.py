"""The most important properties of the Docker back end on Podman, with a service that the test starts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import docker
import pytest

from envs import Command, Limits, SandboxLost
from envs.docker.orphans import LABEL, orphans, owner_labels, remove
from envs.docker.prepared_images import prepared_images, remove_prepared
from tests.envs.support.docker_daemons import podman_service
from tests.envs.support.docker_image import MINE, DockerHarness, alive, containers, full_image, soon, unique


@pytest.fixture(scope="module")
def client() -> Iterator[docker.DockerClient]:
    with podman_service() as service, pytest.MonkeyPatch.context() as patch:
        client = service.start()
        patch.setenv("DOCKER_HOST", service.address)
        yield client
        client.close()


@pytest.fixture(scope="module")
def harness(client: docker.DockerClient) -> Iterator[DockerHarness]:
    harness = DockerHarness(full_image(client))
    yield harness
    harness.close()


def test_commands_files_and_patches(harness: DockerHarness) -> None:
    async def story() -> None:
        sandbox = await harness.open(env={"FROM_ORIGIN": "yes"})
        done = await sandbox.run(Command("pwd; echo $FROM_ORIGIN; cat; exit 3", stdin=b"\xff\r\n"))
        assert (done.returncode, done.output) == (3, b"/testbed\nyes\n\xff\r\n")
        await sandbox.write("new", b"new\n")
        assert await sandbox.read("new") == b"new\n"
        await sandbox.run(Command("rm -rf .git; echo x > /run/base.git/x"))
        assert b"+new" in await sandbox.diff()
        await sandbox.close()

    harness(story())


def test_limits_and_no_way_out(harness: DockerHarness) -> None:
    async def story() -> None:
        sandbox = await harness.open(Limits(memory_mb=128, processes=40, disk_mb=8))
        bomb = await sandbox.run(Command(("python3", "-c", "x = b'x' * (400 << 20)")))
        assert bomb.returncode in (-9, 1)
        assert (await sandbox.run(Command("exec dd if=/dev/zero of=/tmp/hog bs=1048576 count=64"))).returncode == -25
        out = "import socket; socket.create_connection(('192.0.2.1', 80), 2)"
        assert b"unreachable" in (await sandbox.run(Command(("python3", "-c", out)))).output
        assert (await sandbox.run(Command("echo alive"))).output == b"alive\n"
        await sandbox.close()

    harness(story())


def test_a_snapshot_and_its_fork(client: docker.DockerClient, harness: DockerHarness) -> None:
    async def story() -> None:
        sandbox = await harness.open()
        await sandbox.write("new", b"new\n")
        snapshot = await sandbox.snapshot()
        fork = await snapshot.fork(label=MINE)
        assert await fork.read("new") == b"new\n"
        for each in (fork, sandbox, snapshot):
            await each.close()

    harness(story())


def test_a_closed_sandbox_and_a_killed_one_are_gone(client: docker.DockerClient, harness: DockerHarness) -> None:
    async def story() -> None:
        sandbox, word = await harness.open(), unique()
        under_way = asyncio.create_task(sandbox.run(Command(f"sleep {word}")))
        assert await asyncio.to_thread(soon, lambda: alive(word))
        await sandbox.close()
        with pytest.raises(SandboxLost):
            await under_way
        assert await asyncio.to_thread(soon, lambda: not containers(client, harness.label), 10)
        assert not alive(word)
        sandbox = await harness.open()
        (mine,) = containers(client, harness.label)
        await asyncio.to_thread(client.api.kill, mine)
        with pytest.raises(SandboxLost):
            await sandbox.run(Command("sleep 100"))

    harness(story())


def test_orphans_are_found_and_removed(client: docker.DockerClient, harness: DockerHarness) -> None:
    dead = {**owner_labels("x", MINE, 60), f"{LABEL}.owner": owner_labels("x", MINE, 60)[f"{LABEL}.owner"] + "1"}
    made = client.api.create_container(client.images.get(harness.origin.image).id, ["/bin/sleep", "1000"], labels=dead)[
        "Id"
    ]
    client.volumes.create(f"{MINE}-volume", labels=dead)
    found = orphans(client, 0.0)
    assert {each.id for each in found} == {made, f"{MINE}-volume"}
    for each in found:
        remove(client, each)
    assert not orphans(client, 0.0)


def test_prepared_images_are_listed_and_removed(client: docker.DockerClient, harness: DockerHarness) -> None:
    async def story() -> None:
        sandbox = await harness.open()
        (one,) = prepared_images(client, time.time())
        assert (one.in_use, one.why_useless) == (True, "")
        assert not remove_prepared(client, one)
        await sandbox.close()

    def unused() -> bool:
        harness(asyncio.sleep(0.01))  # only then does its loop run
        return not any(one.in_use for one in prepared_images(client, time.time()))

    harness(story())
    assert soon(unused, 20)
    assert all(remove_prepared(client, one) for one in prepared_images(client, time.time()))
    assert prepared_images(client, time.time()) == []
