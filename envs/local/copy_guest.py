"""The guest without isolation, for machines without namespaces: an ordinary process on a plain copy of a repository.

The guest makes and owns its copy: when the stream to the runner ends, it kills the processes that it started and
removes the copy, so that a runner killed with SIGKILL leaves nothing behind.
"""

import json
import os
import resource
import shutil
import subprocess
import sys

from envs.guest import Guest, describe, open_oom_score
from envs.syscall_filter import restrict_calls

__all__ = ["main"]

FLOOR_BYTES = 1 << 30  # stay free on the machine's disk, which nothing else keeps commands from filling


def main() -> None:
    """`python -c '...main()' FD SETTINGS`"""
    fd, settings = int(sys.argv[1]), json.loads(sys.argv[2])
    owned = settings["folder"]
    workdir = f"{owned}/testbed"
    os.mkdir(owned, 0o700)
    os.mkdir(workdir)
    upper = os.open(owned, os.O_RDONLY)  # never empty, for without an overlay it is not known whether anything differs
    unfiltered = restrict_calls(os.getpid(), False)
    guest = Guest(
        fd, fd, workdir, settings["env"], upper, settings["lifetime"], FLOOR_BYTES, unfiltered, open_oom_score()
    )
    try:
        if problem := fill(workdir, settings["repository"], settings["snapshot"]):
            guest.send({"id": 0, "error": problem})
        else:
            limit_memory(settings["memory_mb"])
            guest.serve()
    except OSError:
        pass  # the runner has ended
    finally:
        guest.kill_all()
        for folder, names, _ in os.walk(owned):  # commands may have left folders that cannot be entered
            for name in names:
                if not os.path.islink(f"{folder}/{name}"):
                    os.chmod(f"{folder}/{name}", 0o700)
        shutil.rmtree(owned, ignore_errors=True)


def fill(workdir: str, repository: str, snapshot: str) -> str:
    """Copy the repository, or the files of another sandbox as they are. Returns the problem, empty if there is none."""
    if snapshot:
        done = subprocess.run(
            ["cp", "-a", f"{snapshot}/.", workdir], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False
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
        pass  # macOS defines this limit and refuses to set it
