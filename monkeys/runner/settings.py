"""What one run is told. A record: nothing here does anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.loop import AttemptLimits
from agent.servers import Serve
from monkeys.runner.budget import RunLimits
from monkeys.runner.scheduler import AllocationSpec

__all__ = ["AllocationSpec", "RunLimits", "Settings"]


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that one run is told. See `python -m agent.swe --help` for each."""

    # What is sampled
    tasks: str = "quick"
    ids: tuple[str, ...] = ()
    attempts: int = 250
    allocate: AllocationSpec = field(default_factory=AllocationSpec)  # but for waves it needs `verify`
    seed: int = 0
    attempt: AttemptLimits = field(default_factory=AttemptLimits)
    spend: RunLimits = field(default_factory=RunLimits)
    retries: int = 3

    # Who answers
    model: str = "monkey"
    base_url: str | Sequence[str] | None = None
    serve: Serve = field(default_factory=Serve)  # a server of our own
    api_key_env: str = "OPENAI_API_KEY"
    sampling: dict[str, Any] = field(default_factory=dict)  # body fields: temperature, top_p, stop, ...
    scaffold: str = "tools"  # what an attempt starts with and may do, one of `agent.scaffolds.SCAFFOLDS`
    actions: str = "native"  # how a model writes them, one of `agent.actions.FORMS`, where the scaffold leaves it open
    as_recorded: frozenset[str] = frozenset()  # what a replay takes from its record, of these and of the limits' names
    replay_strict: bool = False  # a replayed attempt ends where it is asked otherwise than recorded
    scheduled: bool = False  # the server takes a priority with each request
    reasoning: str = "keep"  # or "drop": whether what the model thought is sent back
    first_turns: int = 1  # of attempts on one issue, asked for with one request
    request_seconds: float = 600.0
    outage_seconds: float = 1800.0
    workers: int | None = None  # None: as suits the model
    prices: Path | None = None  # None: what is published of the provider's

    # Where
    sandbox: str | None = None  # None: what the tasks need
    limits: dict[str, Any] = field(default_factory=dict)  # those of `Limits` that are to be other than usual
    overcommit: bool = False
    warm: int | None = None  # None: as suits the sandboxes
    starts: int = 8
    image_mirror: str = ""  # a registry and prefix to look in first
    platform: str = ""  # of images; empty: the engine's own
    image_quota_gb: float | None = None

    # Who verifies
    verify: bool = True
    verify_seconds: float = 1800.0
    verify_workers: int = 2
    remember: bool = True  # verdicts, for all runs on this machine
    recheck: float = 0.0
    calibration: Path | None = None
    unstable: str = "majority"

    # What is left of it
    run: str | None = None  # None: named after the tasks, the model and the configuration
    runs: Path = Path("runs")
    quiet: bool = False
