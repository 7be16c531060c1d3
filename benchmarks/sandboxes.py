"""Cost of a sandbox: open, run, output, diff, fork, close, and many alive at once; compared with the command line.

    python benchmarks/sandboxes.py                          local, and docker if an engine answers
    python benchmarks/sandboxes.py --image IMAGE            an image of your own, with or without a repository

Each figure is a median in milliseconds: wall time, and processor time of this process and its direct children (for
the command line, of the client that it starts). All rows of one back end are from one run on one machine; compare the
ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import envs
from envs import Backend, Command, Limits, Origin, Sandbox, SandboxUnavailable
from envs.base import scrubbed_copy
from envs.local.backend import adopt
from envs.memory_budget import MemoryBudget
from envs.pool import Pool
from envs.start_limiter import StartLimiter

TEN_MB = "head -c 10485760 /dev/zero | tr '\\0' 'x'"
SMALL = Limits(memory_mb=64, output_bytes=64 * 1024)


@dataclass(frozen=True, slots=True)
class Cost:
    """Medians in milliseconds: wall time, and processor time of the client."""

    wall: float
    cpu: float


def cpu_seconds() -> float:
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


async def cost(times: int, work: Callable[[], Awaitable[Any]]) -> Cost:
    walls, cpu = [], cpu_seconds()
    for _ in range(times):
        began = time.perf_counter()
        await work()
        walls.append(time.perf_counter() - began)
    return Cost(1e3 * statistics.median(walls), 1e3 * (cpu_seconds() - cpu) / times)


async def measure(backend: Backend, origin: Origin, limits: Limits, times: int) -> dict[str, Cost]:
    """The rows of one back end."""
    found: dict[str, Cost] = {}
    opened: list[Sandbox] = []

    async def open_one() -> None:
        opened.append(await backend.open(origin, limits, label="benchmark"))

    async def close_one() -> None:
        await opened.pop().close()

    await open_one()  # the first one starts the back end and prepares the base
    found["open"] = await cost(times, open_one)
    found["close"] = await cost(times, close_one)
    sandbox = opened[0]
    found["run true"] = await cost(20 * times, lambda: sandbox.run(Command(("true",))))
    found["10 MB of output, capped at 64 KB"] = await cost(times, lambda: sandbox.run(Command(TEN_MB)))
    found["10 MB of output, all of it"] = await cost(times, lambda: sandbox.run(Command(TEN_MB, output_cap=16 << 20)))
    await sandbox.run(Command("echo changed > changed.txt"))
    if origin.commit:
        found["diff"] = await cost(times, sandbox.diff)
    snapshots = []

    async def snapshot() -> None:
        snapshots.append(await sandbox.snapshot())

    found["snapshot"] = await cost(times, snapshot)

    async def fork() -> None:
        opened.append(await snapshots[0].fork(label="benchmark"))

    found["fork"] = await cost(times, fork)
    for one in opened:
        await one.close()
    for one_snapshot in snapshots:
        await one_snapshot.close()
    return found


async def warm(name: str, origin: Origin, limits: Limits, times: int) -> Cost:
    """The cost of an open from a pool whose warm sandboxes are ready."""
    budget = MemoryBudget(1 << 20, key="benchmark", overcommit=True)
    pool = Pool(envs.backend(name), budget=budget, limiter=StartLimiter(8), warm=2)
    walls, cpu = [], 0.0
    try:
        await (await pool.open(origin, limits, label="first")).close()
        for _ in range(times):
            while pool.ready < 2:
                await asyncio.sleep(0.005)
            began, before = time.perf_counter(), cpu_seconds()
            sandbox = await pool.open(origin, limits, label="benchmark")
            walls.append(time.perf_counter() - began)
            cpu += cpu_seconds() - before
            await sandbox.close()
    finally:
        await pool.close()
        budget.close()
    return Cost(1e3 * statistics.median(walls), 1e3 * cpu / times)


async def many(backend: Backend, origin: Origin, limits: Limits, count: int) -> tuple[float, float]:
    """Seconds until `count` sandboxes are alive at once, and until each has run a command."""
    began = time.perf_counter()
    starts = asyncio.Semaphore(8 if backend.name == "docker" else count)

    async def one() -> Sandbox:
        async with starts:
            return await backend.open(origin, limits, label="benchmark")

    sandboxes = await asyncio.gather(*(one() for _ in range(count)))
    alive = time.perf_counter() - began
    done = await asyncio.gather(*(sandbox.run(Command("echo alive")) for sandbox in sandboxes))
    assert all(one.output == b"alive\n" for one in done)
    total = time.perf_counter() - began
    await asyncio.gather(*(sandbox.close() for sandbox in sandboxes))
    return alive, total


def command_line(image: str, times: int) -> dict[str, Cost]:
    """The same rows for Docker's own client."""

    def call(*words: str) -> str:
        return subprocess.run(["docker", *words], check=True, capture_output=True, text=True).stdout.strip()

    def timed(work: Callable[[], Any]) -> Cost:
        async def once() -> None:
            work()

        return asyncio.run(cost(times, once))

    names: list[str] = []
    run = ("run", "-d", "-i", "--init", "--network", "none", "--label", "coding-monkeys-benchmark", image, "cat")
    found = {"open": timed(lambda: names.append(call(*run)))}
    found["run true"] = timed(lambda: call("exec", names[0], "true"))
    ten = ("exec", names[0], "sh", "-c", TEN_MB)
    found["10 MB of output, all of it"] = timed(lambda: call(*ten))
    images: list[str] = []
    found["snapshot"] = timed(lambda: images.append(call("commit", names[0])))
    forks: list[str] = []
    fork = (*run[:-2], images[0], "cat")
    found["fork"] = timed(lambda: forks.append(call(*fork)))
    found["close"] = timed(lambda: call("rm", "-f", names.pop()))
    for left in (*names, *forks):
        call("rm", "-f", left)
    for name in dict.fromkeys(images):
        call("rmi", "-f", name)
    return found


def show(console: Console, title: str, ours: dict[str, Cost], plain: dict[str, Cost], heading: str) -> None:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for column in ("", "ms", "CPU ms", *((f"{heading} ms", "CPU ms", "times", "CPU times") if plain else ())):
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    for name, mine in ours.items():
        row = [name, f"{mine.wall:.2f}", f"{mine.cpu:.2f}"]
        if theirs := plain.get(name):
            ratios = (theirs.wall / mine.wall, theirs.cpu / max(mine.cpu, 1e-3))
            row += [f"{theirs.wall:.1f}", f"{theirs.cpu:.1f}", *(f"{ratio:.1f}" for ratio in ratios)]
        table.add_row(*row)
    console.print(table)


async def whole(name: str, origin: Origin, arguments: argparse.Namespace) -> tuple[dict[str, Cost], str]:
    backend = envs.backend(name)
    try:
        await backend.start()
        cold = await measure(backend, origin, SMALL, arguments.times)
        alive, total = await many(backend, origin, SMALL, arguments.alive)
    finally:
        await backend.close()
    pooled = {"open, from the warm pool": await warm(name, origin, SMALL, arguments.times)}
    crowd = f"{arguments.alive} sandboxes alive at once after {alive:.1f} s; each has run a command after {total:.1f} s"
    return {"open": cold.pop("open"), **pooled, **cold}, crowd


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=20, metavar="N", help="repetitions of each (default %(default)s)")
    parser.add_argument("--alive", type=int, default=250, metavar="N", help="sandboxes at once (default %(default)s)")
    parser.add_argument("--image", default="python:3.11-slim", help="for docker (default %(default)s)")
    parser.add_argument(
        "--commit", default="", help="the image's base commit, or HEAD; without it no repository is used"
    )
    parser.add_argument("--only", choices=("local", "docker"))
    arguments = parser.parse_args()
    console = Console(width=110)
    if arguments.only != "docker":
        with tempfile.TemporaryDirectory() as folder:
            repository = Path(folder) / "repository"
            commit = scrubbed_copy(Path(__file__).resolve().parent.parent, "HEAD", repository)
            Path(folder).chmod(0o755)
            adopt(repository)
            found, crowd = asyncio.run(whole("local", Origin(commit, repository=repository), arguments))
        plain = {"run true": asyncio.run(cost(100, lambda: asyncio.to_thread(subprocess.run, ["true"], check=True)))}
        show(console, "local, compared with a plain subprocess", found, plain, "plain")
        console.print(crowd, "\n")
    if arguments.only != "local":
        try:
            origin = Origin(arguments.commit, image=arguments.image)
            found, crowd = asyncio.run(whole("docker", origin, arguments))
        except SandboxUnavailable as error:
            console.print(f"docker skipped: {error}")
            return
        plain = command_line(arguments.image, max(5, arguments.times // 2)) if shutil.which("docker") else {}
        show(console, f"docker, {arguments.image}, compared with its command line", found, plain, "docker")
        console.print(crowd)


if __name__ == "__main__":
    main()
