"""The guest without isolation: where there are no namespaces, an ordinary process on a plain copy.

It owns its copy: when the stream to the runner ends, it kills what it started and removes
the copy, so that a runner killed with SIGKILL leaves nothing behind.
"""

import json
import os
import resource
import shutil
import signal
import sys

from envs.guest import Guest

__all__ = ["main"]


def main() -> None:
    """`python -c '...main()' FD SETTINGS`"""
    fd, settings = int(sys.argv[1]), json.loads(sys.argv[2])
    memory = settings["limits"]["memory_mb"] << 20
    try:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    except (OSError, ValueError):
        pass  # macOS has the constant and refuses it
    guest = Guest(fd, fd, settings["workdir"], settings["env"])
    try:
        guest.serve()
    except OSError:
        pass  # the host is gone
    finally:
        for pid in guest.running:
            try:
                os.killpg(pid, signal.SIGKILL)
            except OSError:
                pass
        shutil.rmtree(settings["room"], ignore_errors=True)
