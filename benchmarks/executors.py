"""The executors compared: trajectories of three turns, made in one process and in several worker processes.

    python benchmarks/executors.py [--attempts 200] [--workers 8] [--processes 1 2 4] [--rounds 3]

The trajectories are those of `benchmarks/trajectories.py`: two bash calls and a submit in a local sandbox, against a
server that answers at once, verification off. Each round measures `here` and then `processes` with every number of
worker processes, so that a busy machine slows all of them; what is printed are medians.

*Trajectories a second* is from the first attempt's begin to the last attempt's end, by the log of events. *Start* is
the time from the start of the job to the first attempt. *CPU* is that of the whole job with its worker processes, their
start and their sandboxes.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from dataclasses import astuple, dataclass
from pathlib import Path

from instant_server import serving
from trajectories import job, timed


@dataclass(frozen=True, slots=True)
class Cost:
    """One job: trajectories a second, seconds until the first attempt began, CPU seconds."""

    rate: float
    start: float
    cpu: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attempts", type=int, default=200)
    parser.add_argument("--workers", type=int, default=8, help="attempts at once, in all processes together")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4], metavar="N")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    ways: dict[str, list[str]] = {"here": []}
    for number in arguments.processes:
        ways[f"processes, {number}"] = ["--executor", "processes", "--worker-processes", str(number)]
    costs: dict[str, list[Cost]] = {name: [] for name in ways}
    attempts = arguments.attempts
    print(f"{attempts} trajectories, {arguments.workers} at once, {os.cpu_count()} processors")
    with serving() as url:
        for _ in range(arguments.rounds):
            for name, options in ways.items():
                costs[name].append(measured([*job(url, attempts, arguments.workers), *options], attempts))
    print(f"{'':14} {'trajectories/s':>14}   {'start':>7}   {'CPU':>8}   CPU each")
    for name, each in costs.items():
        rate, start, cpu = map(statistics.median, zip(*map(astuple, each), strict=True))
        print(f"{name:14} {rate:14.1f}   {start:5.2f} s   {cpu:6.2f} s   {cpu / attempts * 1000:5.1f} ms")


def measured(command: list[str], attempts: int) -> Cost:
    """The cost of one job."""
    with tempfile.TemporaryDirectory() as folder:
        log, began = Path(folder) / "events.jsonl", time.time()
        _, cpu = timed([*command, "--events", str(log)])
        rows = [json.loads(line) for line in log.read_text().splitlines()]
    begins = [row["t"] for row in rows if row["event"] == "AttemptBegan"]
    ends = [row["t"] for row in rows if row["event"] == "AttemptEnded"]
    if len(ends) != attempts:
        raise SystemExit(f"{len(ends)} attempts ended, not {attempts}")
    return Cost(attempts / (max(ends) - min(begins)), min(begins) - began, cpu)


if __name__ == "__main__":
    main()
