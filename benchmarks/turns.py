"""Cost of a turn's patch (`--patch-each-turn`) where nothing changed and where a file did, beside the final one.

    python benchmarks/turns.py                               local: an embedded task, and this repository
    python benchmarks/turns.py --image IMAGE --commit BASE   a container too, of an image with a repository in /testbed

Each figure is a mean in milliseconds: wall time, and processor time of the runner and of everything in the sandbox. The
requests are those that the runner sends to the guest. "run true" is the smallest command, for comparison.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import resource
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import envs
from envs import Command, Limits, Origin, Peeking, Sandbox
from envs.base import scrubbed_copy
from envs.channel import Channel
from envs.local.backend import adopt
from tasks import load_tasks
from tasks.suites import suite_of

TICKS = 100  # of the kernel in a second
LIMITS = Limits(memory_mb=512)
requests = itertools.count()


def counted(call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def send(*arguments: Any, **named: Any) -> Any:
        next(requests)
        return await call(*arguments, **named)

    return send


async def used(sandbox: Sandbox) -> float:
    """Seconds of processor time of the guest, of all that it has waited for, and of this process."""
    fields = (await sandbox.run(Command("cat /proc/1/stat"))).output.rpartition(b")")[2].split()
    own = resource.getrusage(resource.RUSAGE_SELF)
    return sum(map(int, fields[11:15])) / TICKS + own.ru_utime + own.ru_stime


async def measure(sandbox: Sandbox, times: int) -> dict[str, tuple[float, float, float]]:
    """Wall milliseconds, processor milliseconds and requests of each kind of turn."""
    assert isinstance(sandbox, Peeking)
    peek = sandbox.peek
    path = (await sandbox.run(Command("git ls-files '*.py' '*.txt' | head -n 1"))).output.decode().strip()
    data, number = await sandbox.read(path), itertools.count()

    async def edit() -> None:
        await sandbox.write(path, data + b"\n# %d\n" % next(number))

    async def peek_after_edit() -> None:
        await edit()
        await peek()

    async def diff_after_edit() -> None:
        await edit()
        await sandbox.diff()

    kinds: dict[str, Callable[[], Awaitable[Any]]] = {
        "run true": lambda: sandbox.run(Command(("true",))),
        "edit": edit,
        "patch, nothing was ever changed": peek,
        "edit, and its patch": peek_after_edit,
        "patch, nothing changed since": peek,
        "edit, and the final patch": diff_after_edit,
    }
    found = {}
    await peek()
    for kind, work in kinds.items():
        before, cpu, began = next(requests), await used(sandbox), time.perf_counter()
        for _ in range(times):
            await work()
        wall = time.perf_counter() - began
        sent = next(requests) - before - 2  # one is counted by each of these, and one asks for the processor time
        found[kind] = (1e3 * wall / times, 1e3 * (await used(sandbox) - cpu) / times, sent / times)
    return found


async def whole(name: str, origin: Origin, times: int) -> dict[str, tuple[float, float, float]]:
    backend = envs.backend(name)
    try:
        return await measure(await backend.open(origin, LIMITS, label="benchmark"), times)
    finally:
        await backend.close()


def show(console: Console, title: str, found: dict[str, tuple[float, float, float]]) -> None:
    table = Table("", "ms", "CPU ms", "requests", title=title, title_justify="left", box=None, pad_edge=False)
    for kind, (wall, cpu, sent) in found.items():
        table.add_row(kind, f"{wall:.2f}", f"{cpu:.2f}", f"{sent:.1f}")
    console.print(table, "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=100, metavar="N", help="turns of each kind (default %(default)s)")
    parser.add_argument("--image", help="an image with a repository, for a container")
    parser.add_argument("--commit", default="", help="the base commit in it")
    arguments = parser.parse_args()
    Channel.call = counted(Channel.call)  # type: ignore[method-assign, assignment]
    console = Console(width=110)
    task = suite_of("swe").prepare(load_tasks("quick")).tasks[0]
    assert task.origin is not None
    show(console, f"local, {task.id}", asyncio.run(whole("local", task.origin, arguments.times)))
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        repository = Path(folder) / "repository"
        commit = scrubbed_copy(Path(__file__).resolve().parent.parent, "HEAD", repository)
        adopt(repository)
        files = sum(path.is_file() and ".git" not in path.parts for path in repository.rglob("*"))
        origin = Origin(commit, repository=repository)
        show(console, f"local, {files} files", asyncio.run(whole("local", origin, arguments.times)))
    if arguments.image:
        origin = Origin(arguments.commit, image=arguments.image)
        show(console, f"docker, {arguments.image}", asyncio.run(whole("docker", origin, arguments.times)))


if __name__ == "__main__":
    main()
