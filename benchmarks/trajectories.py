"""200 trajectories of three turns against a server that answers at once: what the runner itself costs.

    python benchmarks/trajectories.py [--attempts 200] [--workers 8] [--rounds 3] [--profile]

Each trajectory is two bash calls and a submit, on the local sandbox, verification off; the
server runs as a process of its own. Measured is the whole process of the main job: wall
time, and CPU time with all children, isolation included, from its start to its end.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from instant_server import serving

HERE = Path(__file__).resolve().parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attempts", type=int, default=200)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--profile", action="store_true", help="one more round under cProfile, its top entries printed")
    arguments = parser.parse_args()
    with serving() as url:
        measure(url, arguments)


def job(url: str, attempts: int, workers: int) -> list[str]:
    """The options of the main job."""
    return [
        *("--ids", "quick__ledger-1", "--attempts", str(attempts), "--model", "instant", "--base-url", url),
        *("--workers", str(workers), "--no-verify", "--quiet"),
    ]


def measure(url: str, arguments: argparse.Namespace) -> None:
    attempts = arguments.attempts
    options = job(url, attempts, arguments.workers)
    walls, cpus = [], []
    print(f"{attempts} trajectories, {arguments.workers} workers, {os.cpu_count()} processors")
    for _ in range(arguments.rounds):
        wall, cpu = timed(options)
        walls.append(wall)
        cpus.append(cpu)
        print(f"  {wall:5.2f} s wall   {cpu:5.2f} s CPU   {cpu / attempts * 1000:5.1f} ms CPU each")
    print(f"median: {statistics.median(walls):.2f} s wall, {statistics.median(cpus) / attempts * 1000:.1f} ms CPU each")
    if arguments.profile:
        timed(options, ("-m", "cProfile", "-s", "tottime"), show=14)


def timed(options: list[str], under: tuple[str, ...] = (), show: int = 0) -> tuple[float, float]:
    """Wall and CPU seconds of a whole main job with its children, perhaps `under` another module of Python."""
    with tempfile.TemporaryDirectory() as runs:
        command = [sys.executable, *under, "-m", "agent.swe", *options, "--runs", runs]
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = subprocess.run(command, cwd=HERE.parent, check=True, stdout=subprocess.PIPE, text=True)
        after, ended = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    print("".join(done.stdout.splitlines(keepends=True)[:show]), end="")
    return ended - began, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
