"""The guest without isolation: where there are no namespaces, an ordinary process on a plain copy.

It makes and owns its copy: when the stream to the runner ends, it kills what it started
and removes the copy, so that a runner killed with SIGKILL leaves nothing behind.
"""

import json
import os
import resource
import shutil
import sys
import tempfile

from envs.guest import Guest, describe

__all__ = ["main"]


def main() -> None:
    """`python -c '...main()' FD SETTINGS`"""
    fd, settings = int(sys.argv[1]), json.loads(sys.argv[2])
    memory = settings["memory_mb"] << 20
    try:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    except (OSError, ValueError):
        pass  # macOS has the constant and refuses it
    room = tempfile.mkdtemp(prefix="sandbox-")
    guest = Guest(fd, fd, f"{room}/testbed", settings["env"])
    try:
        try:
            shutil.copytree(settings["repository"], guest.workdir, symlinks=True)
        except OSError as error:
            guest.send({"id": 0, "error": f"copying {settings['repository']}: {describe(error)}"})
        else:
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
