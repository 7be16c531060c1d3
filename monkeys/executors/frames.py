"""Frames between a driver and its worker processes: pickled objects over a stream, each after its length.

Both ends are processes of this program, started by one another: a pickle from anybody else is never read.

    driver to worker                                worker to driver
    Setup      the recipe of the worker             Ready      it is open
    Check      see whether the model answers        Paid       an attempt was charged
    Attempt    make an attempt                      Done       what a call came to
    Verify     verify a submission                  Failed     an exception, of a call or of the set-up
    Close      the run has reached a limit          Told       an event
    Cancel     call an attempt or verification off  Alive      nothing but that, every few seconds
"""

from __future__ import annotations

import asyncio
import pickle
import struct
from dataclasses import dataclass

from agent.agent import AttemptSpec
from agent.trajectory import Trajectory, Usage
from envs.events import Event
from monkeys.executors.executor import VerifySpec, WorkerFacts, WorkerSetup
from tasks.task import Verdict

__all__ = [
    "Alive",
    "Attempt",
    "Cancel",
    "Check",
    "Close",
    "Done",
    "Failed",
    "Frame",
    "Paid",
    "Ready",
    "Setup",
    "Told",
    "Verify",
    "read_frame",
    "write_frame",
]

LENGTH = struct.Struct("!Q")


@dataclass(frozen=True, slots=True)
class Setup:
    setup: WorkerSetup


@dataclass(frozen=True, slots=True)
class Check:
    call: int


@dataclass(frozen=True, slots=True)
class Attempt:
    call: int
    spec: AttemptSpec


@dataclass(frozen=True, slots=True)
class Verify:
    call: int
    spec: VerifySpec


@dataclass(frozen=True, slots=True)
class Close:
    call: int
    at_once: bool


@dataclass(frozen=True, slots=True)
class Cancel:
    call: int


@dataclass(frozen=True, slots=True)
class Ready:
    facts: WorkerFacts


@dataclass(frozen=True, slots=True)
class Paid:
    call: int
    usage: Usage
    dollars: float


@dataclass(frozen=True, slots=True)
class Done:
    call: int
    result: Trajectory | Verdict | None  # None of a check


@dataclass(frozen=True, slots=True)
class Failed:
    call: int | None  # None: the set-up failed
    error: BaseException


@dataclass(frozen=True, slots=True)
class Alive:
    pass


@dataclass(frozen=True, slots=True)
class Told:
    event: Event


Frame = Setup | Check | Attempt | Verify | Close | Cancel | Ready | Paid | Done | Failed | Told | Alive


async def read_frame(reader: asyncio.StreamReader) -> Frame | None:
    """The next frame; None once the other end is gone."""
    try:
        (length,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
        frame: Frame = pickle.loads(await reader.readexactly(length))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    return frame


def write_frame(writer: asyncio.StreamWriter, frame: Frame) -> None:
    """Send a frame. To an end that is gone it is dropped: its reader says so."""
    body = pickle.dumps(frame, pickle.HIGHEST_PROTOCOL)
    if not writer.is_closing():
        writer.writelines((LENGTH.pack(len(body)), body))
