"""The guest without isolation: where there are no namespaces, an ordinary process on a plain copy.

It makes and owns its copy: when the stream to the runner ends, it kills what it started
and removes the copy, so that a runner killed with SIGKILL leaves nothing behind.
"""

import json
import os
import resource
import shutil
import subprocess
import sys

from envs.guest import Guest, describe

__all__ = ["main"]

FLOOR_BYTES = 1 << 30  # of the machine's disk, which commands here are not otherwise kept from filling


def main() -> None:
    """`python -c '...main()' FD SETTINGS`"""
    fd, settings = int(sys.argv[1]), json.loads(sys.argv[2])
    room = settings["room"]
    workdir = f"{room}/testbed"
    os.mkdir(room, 0o700)
    os.mkdir(workdir)
    upper = os.open(room, os.O_RDONLY)  # never empty: nobody knows whether anything differs
    guest = Guest(fd, fd, workdir, settings["env"], upper, settings["lifetime"], FLOOR_BYTES)
    try:
        if problem := fill(workdir, settings["repository"], settings["seed"]):
            guest.send({"id": 0, "error": problem})
        else:
            limit_memory(settings["memory_mb"])
            guest.serve()
    except OSError:
        pass  # the host is gone
    finally:
        guest.end_all()
        for folder, names, _ in os.walk(room):  # commands may have left folders that cannot be entered
            for name in names:
                if not os.path.islink(f"{folder}/{name}"):
                    os.chmod(f"{folder}/{name}", 0o700)
        shutil.rmtree(room, ignore_errors=True)


def fill(workdir: str, repository: str, seed: str) -> str:
    """Copy the repository, or another sandbox's files just as they are; what went wrong, or nothing."""
    if seed:
        done = subprocess.run(
            ["cp", "-a", f"{seed}/.", workdir], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False
        )
        return done.stderr.decode("utf-8", "replace").strip() if done.returncode else ""
    try:
        shutil.copytree(repository, workdir, symlinks=True, dirs_exist_ok=True)
    except OSError as error:
        return f"copying {repository}: {describe(error)}"
    return ""


def limit_memory(megabytes: int) -> None:
    memory = megabytes << 20
    try:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    except (OSError, ValueError):
        pass  # macOS has the constant and refuses it
