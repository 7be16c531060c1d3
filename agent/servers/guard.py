"""Runs a server, and ends it with all that it ever started once the pipe on its standard input is closed.

    python -I -S guard.py SECONDS COMMAND...

Guarantees, on Linux: when the process at the other end of the pipe is gone, also by SIGKILL, or when the server itself
has ended, no process of the server is left, whatever signals it ignores and whatever session it is in. They are all
descendants of this process, which adopts those whose parent died. They get SIGTERM first and are killed after SECONDS.
On other systems the same holds for the processes in the server's group. If this process is killed, the server is killed
with it (Linux). It exits with the server's status, 128 + N for signal N.

Uses few modules of the standard library and nothing else: it starts at once and takes 4 MB.
"""

import ctypes
import os
import select
import signal
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

__all__ = ["main"]

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
LEFT_SECONDS = 1.0  # for processes that stay when the server itself has ended
KILLED_SECONDS = 10.0  # a process that hangs in a driver cannot be ended
LOOK_SECONDS = 0.02
ENDINGS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)


def main(grace: float, command: "list[str]") -> int:
    """Guard `command` until it has ended. Returns its exit status."""
    control_process(PR_SET_CHILD_SUBREAPER, 1)
    wake, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker)
    for number in (*ENDINGS, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    server = os.fork()
    if not server:
        become(command)
    poll = select.poll()
    poll.register(0, select.POLLIN)
    poll.register(wake, select.POLLIN)
    status, wanted = None, True
    while wanted and status is None:
        for fd, _ in poll.poll():
            heard = os.read(fd, 64)
            wanted = wanted and (bool(heard) if fd == 0 else not set(heard) & set(ENDINGS))
        status = reap(server)[0]
    return end(server, status, grace)


def become(command: "list[str]") -> "NoReturn":
    """In the new process: become the server, in a session of its own."""
    try:
        os.setsid()
        control_process(PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.set_wakeup_fd(-1)
        for number in (*ENDINGS, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.execvp(command[0], command)
    except OSError as error:
        print(f"{command[0]} cannot be started: {error.strerror}", file=sys.stderr, flush=True)
    finally:
        os._exit(127)


def reap(server: int) -> "tuple[int | None, bool]":
    """Collect ended processes: the exit status of the server if it is among them, and whether any process is left."""
    status = None
    try:
        while True:
            pid, how = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return status, True
            if pid == server:
                code = os.waitstatus_to_exitcode(how)
                status = code if code >= 0 else 128 - code
    except ChildProcessError:
        return status, False


def end(server: int, status: "int | None", grace: float) -> int:
    """End all processes. Returns the exit status of the server."""
    tell(server, signal.SIGTERM)
    now = time.monotonic()
    patience = now + (grace if status is None else LEFT_SECONDS)
    limit = now + grace + KILLED_SECONDS
    while now < limit:
        ended, left = reap(server)
        if ended is not None:
            status, patience = ended, min(patience, now + LEFT_SECONDS)
        if not left:
            break
        if now >= patience:
            for pid in descendants():
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            tell(server, signal.SIGKILL)
        time.sleep(LOOK_SECONDS)
        now = time.monotonic()
    tell(server, signal.SIGKILL)  # for systems where no process adopts those whose parent died
    return 128 + signal.SIGKILL if status is None else status


def tell(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):  # macOS says the latter of a group of zombies
        pass


def descendants() -> "list[int]":
    """The children of this process, theirs, and so on; none where there is no /proc."""
    children: dict[int, list[int]] = {}
    try:
        names = os.listdir("/proc")
    except OSError:
        return []
    for name in names:
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    parent = int(file.read().rpartition(b")")[2].split()[1])
            except OSError:
                continue  # gone in this moment
            children.setdefault(parent, []).append(int(name))
    found = list(children.get(os.getpid(), ()))
    for pid in found:  # which grows meanwhile
        found += children.get(pid, ())
    return found


def control_process(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), sys.argv[2:]))
