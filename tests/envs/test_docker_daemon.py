"""An engine that is restarted during a run costs time; one that stays down stops the run."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator

import docker
import pytest

from envs import Command, SandboxLost, SandboxUnavailable
from envs.docker.engine import Engine
from tests.envs.support.docker_daemons import Daemon, docker_daemon
from tests.envs.support.docker_image import DockerHarness, careless, containers, full_image, one_line, soon


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
def harness(daemon: Daemon, client: docker.DockerClient, monkeypatch: pytest.MonkeyPatch) -> Iterator[DockerHarness]:
    monkeypatch.setenv("DOCKER_HOST", daemon.address)
    harness = DockerHarness(full_image(client))
    with careless():
        yield harness
        harness.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_an_engine_that_is_stopped_and_started_costs_the_sandboxes_that_were_open_and_no_more(
    daemon: Daemon, client: docker.DockerClient, harness: DockerHarness, number: int
) -> None:
    async def story() -> bytes:
        sandboxes = [await harness.open() for _ in range(2)]
        under_way = asyncio.create_task(sandboxes[0].run(Command("sleep 100")))
        await sandboxes[0].run(Command("true"))
        await asyncio.to_thread(daemon.stop, number)
        with pytest.raises(SandboxLost, match="sampled again"):
            await under_way
        with pytest.raises(SandboxLost):
            await sandboxes[1].run(Command("true"))
        waiting = asyncio.create_task(harness.open())  # while it is away
        again = await asyncio.to_thread(daemon.start)
        try:
            sandbox = await waiting
            done = await sandbox.run(Command("echo back"))
            assert await sandbox.diff() == b""
            assert len(containers(again, harness.label)) == 1
            await sandbox.close()
            assert await asyncio.to_thread(soon, lambda: not containers(again, harness.label))
        finally:
            again.close()
        return done.output

    assert harness(story()) == b"back\n"


def test_an_engine_that_stays_away_stops_the_run_with_the_remedy(
    daemon: Daemon, client: docker.DockerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", daemon.address)
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    harness = DockerHarness(full_image(client), Engine(sleep=sleep))
    harness(harness.open())
    daemon.stop()
    with careless():
        with pytest.raises(SandboxUnavailable) as caught:
            harness(harness.open())
        harness.close()
    assert "has been away for 120 s" in one_line(caught.value)
    assert "goes on where this run ended" in str(caught.value)
    assert pauses[:3] == [0.1, 0.2, 0.4]
    assert max(pauses) == 5.0
    assert 110 < sum(pauses) <= 120
