"""What an engine's troubles cost: one that is stopped and started in the middle of a run, one that stays away."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator

import docker
import pytest

from envs import Command, SandboxLost, SandboxUnavailable
from envs.docker.engine import Engine
from tests.docker_daemons import Daemon, docker_daemon
from tests.docker_image import Room, careless, containers, full_image, one_line, soon


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with docker_daemon() as daemon:
        yield daemon


@pytest.fixture
def client(daemon: Daemon) -> Iterator[docker.DockerClient]:
    client = daemon.start()
    yield client
    client.close()
    daemon.stop()


@pytest.fixture
def room(daemon: Daemon, client: docker.DockerClient, monkeypatch: pytest.MonkeyPatch) -> Iterator[Room]:
    monkeypatch.setenv("DOCKER_HOST", daemon.address)
    room = Room(full_image(client))
    with careless():
        yield room
        room.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_an_engine_that_is_stopped_and_started_costs_the_sandboxes_that_were_open_and_no_more(
    daemon: Daemon, client: docker.DockerClient, room: Room, number: int
) -> None:
    async def story() -> bytes:
        sandboxes = [await room.open() for _ in range(2)]
        under_way = asyncio.create_task(sandboxes[0].run(Command("sleep 100")))
        await sandboxes[0].run(Command("true"))
        await asyncio.to_thread(daemon.stop, number)
        with pytest.raises(SandboxLost, match="sampled again"):
            await under_way
        with pytest.raises(SandboxLost):
            await sandboxes[1].run(Command("true"))
        waiting = asyncio.create_task(room.open())  # while it is away
        again = await asyncio.to_thread(daemon.start)
        try:
            sandbox = await waiting
            done = await sandbox.run(Command("echo back"))
            assert await sandbox.diff() == b""
            assert len(containers(again, room.label)) == 1
            await sandbox.close()
            assert await asyncio.to_thread(soon, lambda: not containers(again, room.label))
        finally:
            again.close()
        return done.output

    assert room(story()) == b"back\n"


def test_an_engine_that_stays_away_stops_the_run_with_the_remedy(
    daemon: Daemon, client: docker.DockerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", daemon.address)
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    room = Room(full_image(client), Engine(sleep=sleep))
    room(room.open())
    daemon.stop()
    with careless():
        with pytest.raises(SandboxUnavailable) as caught:
            room(room.open())
        room.close()
    assert "has been away for 120 s" in one_line(caught.value)
    assert "goes on where this run ended" in str(caught.value)
    assert pauses[:3] == [0.1, 0.2, 0.4]
    assert max(pauses) == 5.0
    assert 110 < sum(pauses) <= 120
