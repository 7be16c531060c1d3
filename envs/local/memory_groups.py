"""Memory limits of whole sandboxes, by control groups of the kernel (v1 or v2) where this process may make them.

The limit of a process counts neither files in memory, nor what sockets, pipes and the kernel itself hold. A control
group counts all of that, for all processes of a sandbox together. When it is used up, the kernel ends a process of
that sandbox and no other; if that is the guest, the commands inside ended their own sandbox.

Where no group can be made (no rights, the controller is not there or not delegated), the limits of processes and file
systems are all there is.
"""

import os

__all__ = ["MemoryGroup", "MemoryGroups", "find_groups"]

NAME = "coding-monkeys"


class MemoryGroup:
    """The group of one sandbox."""

    def __init__(self, path: str, kind: int) -> None:
        self.path, self.kind = path, kind

    def join(self) -> None:
        """Move this process, which has one thread, into the group; all that it starts is in it too."""
        # A thread that moves itself need not wait for all others, which takes the kernel about 10 ms.
        write(f"{self.path}/{'tasks' if self.kind == 1 else 'cgroup.procs'}", "0")

    def exhausted(self) -> bool:
        """Whether the kernel ended a process because the group's memory was used up."""
        name = "memory.oom_control" if self.kind == 1 else "memory.events"
        try:
            with open(f"{self.path}/{name}") as file:
                fields = dict(line.split() for line in file)
        except (OSError, ValueError):
            return False
        return fields.get("oom_kill", "0") != "0"

    def remove(self) -> None:
        """Remove it, once its processes have ended."""
        try:
            os.rmdir(self.path)
        except OSError:
            pass  # `MemoryGroups.close` tries again


class MemoryGroups:
    """Makes groups below a folder of its own. `kind` is the version of the interface, 1 or 2."""

    def __init__(self, parent: str, kind: int) -> None:
        self.folder, self.kind = f"{parent}/{NAME}-{os.getpid()}-{os.urandom(4).hex()}", kind
        self.prepare()

    def prepare(self) -> None:
        """Make the folder of this process. Raises `OSError`."""
        os.mkdir(self.folder)
        if self.kind == 2:
            write(f"{self.folder}/cgroup.subtree_control", "+memory")

    def make(self, number: int, megabytes: int) -> MemoryGroup:
        """Make the group of a sandbox. Raises `OSError`."""
        group = MemoryGroup(f"{self.folder}/{number}", self.kind)
        if not os.path.isdir(self.folder):
            self.prepare()
        os.mkdir(group.path)
        limit = str(megabytes << 20)
        if self.kind == 1:
            write(f"{group.path}/memory.limit_in_bytes", limit)
            swap = f"{group.path}/memory.memsw.limit_in_bytes"
        else:
            write(f"{group.path}/memory.max", limit)
            swap, limit = f"{group.path}/memory.swap.max", "0"
        if os.path.exists(swap):  # not every kernel counts it
            write(swap, limit)
        return group

    def move_below(self, root: str) -> None:
        """Find the folder below `root` from now on, to which the file system was moved."""
        self.folder = root + self.folder

    def close(self) -> None:
        """Remove the folder with all groups whose processes have ended."""
        try:
            for name in os.listdir(self.folder):
                if os.path.isdir(f"{self.folder}/{name}"):
                    os.rmdir(f"{self.folder}/{name}")
            os.rmdir(self.folder)
        except OSError:
            pass


def find_groups() -> "MemoryGroups | None":
    """The groups that this process can make and join; None if there are none."""
    with open("/proc/self/cgroup") as own, open("/proc/self/mountinfo") as mounts:
        found = candidates(own.read(), mounts.read())
    for parent, kind in found:
        try:
            groups = MemoryGroups(parent, kind)
        except OSError:
            continue
        try:
            works = can_join(groups.make(0, 64))
        except OSError:
            works = False
        if works:
            sweep(parent)
            return groups
        groups.close()
    return None


def can_join(group: MemoryGroup) -> bool:
    """Whether a process may enter the group; tried by one that ends at once."""
    pid = os.fork()
    if not pid:
        try:
            group.join()
        except OSError:
            os._exit(1)
        os._exit(0)
    worked = os.waitpid(pid, 0)[1] == 0
    group.remove()
    return worked


def candidates(own: str, mounts: str) -> "list[tuple[str, int]]":
    """Folders in which groups may be made, the nearest first, with the version of their interface.

    `own` and `mounts` are the texts of the files `cgroup` and `mountinfo` of a process.
    """
    found = []
    for _, controllers, path in (line.split(":", 2) for line in own.splitlines()):
        for fields in (line.split() for line in mounts.splitlines()):
            kind, options = fields[fields.index("-") + 1], fields[-1].split(",")
            inside, top = fields[3].rstrip("/"), fields[4]
            if path != inside and not path.startswith(f"{inside}/"):
                continue  # the group is not below what is mounted there
            place = path[len(inside) :].rstrip("/")
            if kind == "cgroup" and "memory" in options and "memory" in controllers.split(","):
                found.append((top + place, 1))
            elif kind == "cgroup2" and not controllers:
                # A group with processes in it cannot hand its controller on: then one above it may.
                while not hands_on_memory(top + place) and place:
                    place = os.path.dirname(place).rstrip("/")
                if hands_on_memory(top + place):
                    found.append((top + place, 2))
    return found


def hands_on_memory(path: str) -> bool:
    try:
        with open(f"{path}/cgroup.subtree_control") as file:
            return "memory" in file.read().split()
    except OSError:
        return False


def sweep(parent: str) -> None:
    """Remove empty groups that a server which was killed has left."""
    for name in os.listdir(parent):
        if name.startswith(f"{NAME}-") and not os.path.exists(f"/proc/{name.split('-')[2]}"):
            groups = MemoryGroups.__new__(MemoryGroups)
            groups.folder = f"{parent}/{name}"
            groups.close()


def write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)
