"""How a command ends: with an exit code, and with one line on standard error for what is wrong outside this program.

    0    done
    1    the machine failed: a sandbox, a file, a server, the installation
    2    a mistake in what was asked
    130  interrupted

Guarantees: no mistake of a person and no failure of the machine makes a traceback; one is a fault of this program.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable

__all__ = ["failed", "finished"]

NO_THREAD = "can't start new thread"  # Python's words where the system refuses
REMEDIES = {
    errno.ENOSPC: "free some space there",
    errno.EDQUOT: "free some space there",
    errno.EMFILE: "allow more open files (ulimit -n)",
    errno.ENFILE: "close other programs, for this machine allows no more open files",
    errno.EAGAIN: "allow more processes (ulimit -u)",
    errno.ENOMEM: "free some memory, or allow more (ulimit -v)",
    errno.EFBIG: "allow larger files (ulimit -f)",
}


def finished(work: Callable[[], int], what: str = "a run") -> int:
    """Do the work of a command and return the exit code. `what` is the thing that it reads, for messages."""
    try:
        return _done(work, what)
    except BrokenPipeError:
        # The reader of the output has gone, as `| head` does. What is still buffered must not complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        remedy = REMEDIES.get(error.errno or 0, "check the path and its permissions")
        return failed(f"cannot read or write{where} ({error.strerror or error}); {remedy}", 1)
    except MemoryError:
        return failed("there is not enough memory; free some, or allow more (ulimit -v)", 1)
    except RuntimeError as error:
        if str(error) != NO_THREAD:
            raise
        return failed("no thread can be started; allow more processes (ulimit -u) and more memory (ulimit -v)", 1)
    except ImportError as error:
        line = next(iter(str(error.__cause__ or error).strip().splitlines()), type(error).__name__)
        if "'git'" in line or "git executable" in line:  # GitPython runs it when it is imported
            return failed(f"git does not run ({line}); see what `git --version` says, and install git again", 1)
        remedy = "install this program again, and allow it enough memory (ulimit -v)"
        return failed(f"a package cannot be imported ({line}); {remedy}", 1)


def failed(message: str, code: int) -> int:
    """Say why in one line on standard error. Returns the exit code."""
    from envs.messages import complain

    complain(message)
    return code


def _done(work: Callable[[], int], what: str) -> int:
    # Imported after parsing, so that --help and a mistyped option answer at once.
    import sqlite3
    import zlib

    from envs.errors import MonkeysError
    from envs.sandbox import SandboxError
    from monkeys.runner.circuit_breaker import RunStopped

    try:
        code = work()
        if sys.stdout is not None:  # it is None where standard output is closed
            sys.stdout.flush()
    except (SandboxError, RunStopped) as error:
        return failed(str(error), 1)
    except MonkeysError as error:
        return failed(str(error), 2)
    except (sqlite3.Error, zlib.error) as error:
        return failed(f"{what} cannot be read ({error}); `sqlite3 run.sqlite .recover` saves what is left of it", 1)
    return code
