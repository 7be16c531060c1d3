"""The filter of system calls, carried out as the kernel would on each kind of machine."""

from __future__ import annotations

import errno

import pytest

from envs.syscall_filter import ALLOW, ARGUMENTS, CALLS, DENIED, ERRNO, MACHINES, UNCOUNTED, X32, program

GUEST = 77
WORD = 1 << 32


def outcome(machine: str, number: int, *words: int, counted: bool = False, architecture: int | None = None) -> int:
    """The error with which the filter answers a call; 0 if it is allowed."""
    given = {0: number, 4: MACHINES[machine][0] if architecture is None else architecture}
    for index, word in enumerate((*words, 0, 0, 0, 0, 0, 0)[:6]):
        given[ARGUMENTS + 8 * index], given[ARGUMENTS + 8 * index + 4] = word % WORD, word // WORD % WORD
    lines, at, value = program(machine, GUEST, counted), 0, 0
    while True:
        code, if_true, if_false, operand = lines[at]
        at += 1
        if code == 0x20:
            value = given[operand]
        elif code == 0x06:
            return 0 if operand == ALLOW else operand - ERRNO
        else:
            true = {0x15: value == operand, 0x35: value >= operand, 0x45: bool(value & operand)}[code]
            at += if_true if true else if_false


@pytest.fixture(params=MACHINES)
def machine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def call(machine: str, name: str, *words: int, counted: bool = False) -> int:
    return outcome(machine, CALLS[name][MACHINES[machine][1]], *words, counted=counted)


def test_denied_calls_fail_and_all_others_do_not(machine: str) -> None:
    column = MACHINES[machine][1]
    assert {name: call(machine, name) for name in DENIED} == DENIED
    for name in UNCOUNTED:
        assert (call(machine, name), call(machine, name, counted=True)) == (errno.ENOSYS, 0)
    ruled = {columns[column] for columns in CALLS.values()}
    assert [number for number in range(500) if number not in ruled and outcome(machine, number)] == []


def test_what_is_allowed_depends_on_the_arguments(machine: str) -> None:
    pointer = 0x7FFF_0000_0000
    assert call(machine, "prlimit64", 0, 7, pointer, 0) == 0
    assert call(machine, "prlimit64", GUEST, 7, 0, pointer) == 0
    for process in (1, GUEST, WORD - 1):
        assert call(machine, "prlimit64", process, 7, pointer, 0) == errno.EPERM
        assert call(machine, "prlimit64", process, 7, 8, 0) == errno.EPERM
    for name in ("sched_setparam", "sched_setscheduler", "sched_setattr", "sched_setaffinity"):
        assert (call(machine, name, 0), call(machine, name, GUEST)) == (0, errno.EPERM)
    for name, whole in (("setpriority", 0), ("ioprio_set", 1)):
        assert (call(machine, name, whole, 0), call(machine, name, whole, GUEST)) == (0, errno.EPERM)
        assert call(machine, name, whole + 1, 0) == errno.EPERM
    assert [command for command in range(1100) if call(machine, "fcntl", 3, command)] == [1024]  # F_SETLEASE
    for name in ("socket", "socketpair"):
        allowed = [family for family in range(50) if not call(machine, name, family)]
        assert allowed == [1, 2, 10, 16]
        assert call(machine, name, 40) == errno.EAFNOSUPPORT
    threads = 0x3D0F00
    assert call(machine, "clone", threads) == call(machine, "unshare", 0x600) == 0
    for bit in (17, 25, 26, 27, 28, 29, 30):
        assert call(machine, "clone", 17 | 1 << bit) == call(machine, "unshare", 1 << bit) == errno.EPERM
    assert call(machine, "unshare", 0x80) == errno.EPERM


def test_no_other_interface_gets_round_it(machine: str) -> None:
    assert outcome(machine, 1, architecture=0x40000003) == errno.ENOSYS  # 32-bit programs
    if machine == "x86_64":
        assert outcome(machine, X32 | 39) == outcome(machine, WORD - 1) == errno.ENOSYS
