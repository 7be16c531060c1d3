"""The lifetime of containers, images and volumes of a run, and the removal of those that a killed run leaves."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import docker
import pytest

from envs import Command, Limits, Origin
from envs.docker.orphans import LABEL, orphans, owner_labels, remove
from envs.docker.owner import Owner
from tests.envs.support.docker_image import (
    MINE,
    PROJECT,
    DockerHarness,
    alive,
    containers,
    engine,
    full_image,
    soon,
    unique,
)

BUSY = 20
FOR_MINE = f"{LABEL}.for={MINE}"


@pytest.fixture(scope="module")
def client() -> Iterator[docker.DockerClient]:
    yield from engine()


@pytest.fixture(scope="module")
def origin(client: docker.DockerClient) -> Origin:
    return full_image(client)


# owners


def test_an_owner_is_told_from_all_others_that_had_its_number() -> None:
    me = Owner.me()
    assert Owner.parse(str(me)) == me
    assert me.alive() is True
    assert replace(me, started="1").alive() is False
    assert replace(me, boot="another").alive() is False
    assert replace(me, host="elsewhere").alive() is None
    assert replace(me, boot="").alive() is None
    with subprocess.Popen(["sleep", "1000"]) as child:
        script = f"from envs.docker.owner import _started; print(_started({child.pid}))"
        started = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True).stdout
        other = replace(me, pid=child.pid, started=started.strip())
        assert other.alive() is True
        child.kill()
    assert other.alive() is False


def test_a_dead_child_that_nobody_has_waited_for_is_dead() -> None:
    child = subprocess.Popen(["sleep", "1000"])
    started = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[19]
    other = replace(Owner.me(), pid=child.pid, started=started)
    assert other.alive() is True
    child.kill()
    assert soon(lambda: other.alive() is False)
    child.wait()


# orphans

RUNNER = """
import asyncio, os, signal, sys, time
from envs import Command, Limits, Origin
from envs.docker.backend import DockerBackend
async def main(image, label, count, word, created):
    backend = DockerBackend()
    origin = Origin("", image=image)
    await backend.start()
    if created:
        await backend.open(origin, Limits(), label=label)
        backend._engine.api.start = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        await backend.open(origin, Limits(), label=label)
    sandboxes = await asyncio.gather(*[backend.open(origin, Limits(), label=label) for _ in range(int(count))])
    snapshot = await sandboxes[0].snapshot()
    running = [asyncio.create_task(r.run(Command(f"trap '' TERM HUP; sleep {word}; sleep {word}"))) for r in sandboxes]
    await asyncio.sleep(0.1)
    print(backend.run, backend.swept, flush=True)
    await running[0]
asyncio.run(main(*sys.argv[1:]))
"""


class Runner:
    """A run in a process of its own."""

    def __init__(self, origin: Origin, count: int, created: bool = False) -> None:
        self.word = unique()
        words = [str(origin.image), MINE, str(count), self.word, "created" if created else ""]
        self.process = subprocess.Popen([sys.executable, "-c", RUNNER, *words], cwd=PROJECT, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        self.run, _, self.swept = self.process.stdout.readline().decode().strip().partition(" ")

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()


def test_when_a_runner_with_many_busy_sandboxes_is_killed_none_is_left_soon(
    client: docker.DockerClient, origin: Origin
) -> None:
    left = set(containers(client, FOR_MINE))
    spared = client.api.create_container(origin.image, ["/bin/sleep", "1000"], labels={f"{LABEL}.for": MINE})
    runner = Runner(origin, BUSY)
    assert len(set(containers(client, FOR_MINE)) - left) == 1 + BUSY
    runner.kill()
    assert soon(lambda: not alive(runner.word), 3)
    assert soon(lambda: set(containers(client, FOR_MINE)) - left == {spared["Id"]}, 10)
    client.api.remove_container(spared["Id"], force=True)
    for orphan in [each for each in orphans(client, time.time()) if each.run == runner.run]:
        remove(client, orphan)


def test_several_may_remove_the_same_orphan_at_once(client: docker.DockerClient, origin: Origin) -> None:
    made = client.api.create_container(origin.image, ["/bin/sleep", "1000"], labels=marks_of_another_host())
    (orphan,) = [each for each in orphans(client, time.time() + 61) if each.id == made["Id"]]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: remove(client, orphan), range(8)))
    assert made["Id"] not in {each["Id"] for each in client.api.containers(all=True)}


def test_what_a_killed_runner_could_not_start_and_its_snapshots_are_swept_by_the_next_run_and_nothing_else(
    client: docker.DockerClient, origin: Origin
) -> None:
    neighbour, dead = Runner(origin, 1), Runner(origin, 1)
    dead.kill()
    Runner(origin, 0, created=True).kill()  # it has killed itself between making a container and starting it
    unmarked = client.api.create_container(origin.image, ["/bin/sleep", "1000"], labels={f"{LABEL}.for": MINE})
    foreign = client.api.create_container(origin.image, ["/bin/sleep", "1000"], labels=marks_of_another_host())
    volume = client.volumes.create(
        f"{MINE}-volume", labels={**owner_labels("x", MINE, 60), f"{LABEL}.owner": dead_owner()}
    )
    spared = {unmarked["Id"], foreign["Id"]}

    def left() -> set[str]:
        return {each["Id"] for each in listed() if each["State"] == "created"}

    def listed() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = client.api.containers(all=True, filters={"label": FOR_MINE})
        return found

    def images(run: str) -> list[object]:
        return list(client.api.images(filters={"label": f"{LABEL}.run={run}"}))

    harness = DockerHarness(origin)
    sandbox = harness(harness.open())
    assert soon(lambda: left() == spared, 20)
    assert soon(lambda: not images(dead.run), 20)
    assert soon(lambda: not client.volumes.list(filters={"name": volume.name}), 20)
    assert [each["State"] for each in listed() if neighbour.run in each["Names"][0]] == ["running"]
    assert images(neighbour.run)
    assert harness(sandbox.run(Command("echo mine"))).output == b"mine\n"
    neighbour.kill()
    harness.close()
    (late,) = [each for each in orphans(client, time.time() + 61) if each.id == foreign["Id"]]
    assert "deadline passed" in late.why
    assert not [each for each in orphans(client, time.time()) if each.id in spared]
    assert soon(lambda: not alive(neighbour.word))
    for orphan in [each for each in orphans(client, time.time()) if each.run == neighbour.run]:
        if orphan.kind == "image":
            assert soon(lambda: not containers(client, f"{LABEL}.run={neighbour.run}"), 10)
        remove(client, orphan)
        remove(client, orphan)
    for each in spared:
        client.api.remove_container(each, force=True)


def marks_of_another_host() -> dict[str, str]:
    return {**owner_labels("x", MINE, 60), f"{LABEL}.owner": str(replace(Owner.me(), host="elsewhere"))}


def dead_owner() -> str:
    return str(replace(Owner.me(), started="1"))


# what it costs the runner


def test_a_sandbox_costs_the_runner_one_file_descriptor(origin: Origin) -> None:
    harness = DockerHarness(origin)

    async def story() -> tuple[int, int]:
        await asyncio.gather(*[harness.open() for _ in range(6)])  # the pool has all its connections
        before = len(os.listdir("/proc/self/fd"))
        await asyncio.gather(*[harness.open() for _ in range(6)])
        return before, len(os.listdir("/proc/self/fd"))

    before, after = harness(story())
    harness.close()
    assert after - before <= 6 + 2


def test_a_sandbox_ends_itself_when_its_lifetime_is_over(client: docker.DockerClient, origin: Origin) -> None:
    harness = DockerHarness(origin)

    async def story() -> None:
        await harness.open(Limits(lifetime_seconds=0.5))
        assert await asyncio.to_thread(soon, lambda: not containers(client, harness.label))

    harness(story())
    harness.close()
