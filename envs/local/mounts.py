"""The kernel's mounts, namespaces and keys, as far as the namespace server needs them. Linux 5.12 or newer.

Every call raises `OSError` with the call and its object in the message. Standard library only and small, for every
process that the namespace server forks copies it.
"""

import ctypes
import os
import re
import struct

__all__ = [
    "CLONE_NEWIPC",
    "CLONE_NEWNET",
    "CLONE_NEWNS",
    "CLONE_NEWPID",
    "CLONE_NEWUSER",
    "CLONE_NEWUTS",
    "MS_BIND",
    "MS_NODEV",
    "MS_NOSUID",
    "MS_PRIVATE",
    "MS_RDONLY",
    "MS_REC",
    "attach",
    "bind",
    "enter_namespace",
    "escape",
    "forget_keys",
    "map_user",
    "mount",
    "pivot",
    "prctl",
    "size_options",
    "tmpfs",
    "unmount",
    "unshare",
    "write_text",
]

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x20000, 0x4000000, 0x8000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 4096, 16384, 1 << 18
FILES_PER_MB = 128  # an empty file takes about a kilobyte of the kernel's memory, which no size counts
MNT_DETACH = 2
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV = 1, 2, 4
FSCONFIG_SET_STRING, FSCONFIG_CMD_CREATE = 1, 6
CLOEXEC, MOVE_MOUNT_F_EMPTY_PATH = 1, 4
KEYCTL_JOIN_SESSION_KEYRING, KEYCTL_SETPERM, KEY_SPEC_SESSION_KEYRING = 1, 5, -3
AT_FDCWD, AT_RECURSIVE = -100, 0x8000
SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}.get(os.uname().machine, 41)
SYS_KEYCTL = {"x86_64": 250, "aarch64": 219}.get(os.uname().machine, 219)
SYS_MOVE_MOUNT, SYS_FSOPEN, SYS_FSCONFIG, SYS_FSMOUNT, SYS_MOUNT_SETATTR = 429, 430, 431, 432, 442

libc = ctypes.CDLL(None, use_errno=True)


def check(result: int, what: str) -> int:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")
    return result


def unshare(flags: int) -> None:
    check(libc.unshare(flags), "unshare")


def enter_namespace(fd: int, flags: int) -> None:
    check(libc.setns(fd, flags), "setns")


def prctl(option: int, value: int) -> None:
    check(libc.prctl(option, value, 0, 0, 0), f"prctl {option}")


def forget_keys() -> None:
    """Leave the session's keyring, which namespaces do not hide, for an empty one that no process may use.

    All sandboxes share the empty one, for an ordinary user may not have one for each.
    """
    if libc.syscall(SYS_KEYCTL, KEYCTL_JOIN_SESSION_KEYRING, None) < 0:
        return  # a kernel without keys, or one that denies them to this process and so to all that it starts
    check(libc.syscall(SYS_KEYCTL, KEYCTL_SETPERM, KEY_SPEC_SESSION_KEYRING, 0), "keyctl setperm")


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    result = libc.mount(os.fsencode(source), os.fsencode(target), kind.encode(), flags, os.fsencode(options))
    check(result, f"mount {kind or 'bind'} on {target}")


def bind(source: str, target: str, *, read_only: bool = True) -> None:
    mount(source, target, flags=MS_BIND | MS_REC)
    if read_only:
        attributes = struct.pack("QQQQ", MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID, 0, 0, 0)
        where = os.fsencode(target)
        result = libc.syscall(SYS_MOUNT_SETATTR, AT_FDCWD, where, AT_RECURSIVE, attributes, len(attributes))
        check(result, f"make {target} read-only")


def size_options(size_mb: int) -> "tuple[tuple[str, str], ...]":
    """The options by which a file system in memory is limited: its bytes, and its files and folders."""
    return ("size", f"{size_mb}m"), ("nr_inodes", str(max(1, size_mb) * FILES_PER_MB + 1024))


def tmpfs(size_mb: int) -> int:
    """A new file system in memory, not mounted yet. It is freed with its last descriptor."""
    context = check(libc.syscall(SYS_FSOPEN, b"tmpfs", CLOEXEC), "fsopen tmpfs")
    try:
        for name, value in (("mode", "755"), *size_options(size_mb)):
            result = libc.syscall(SYS_FSCONFIG, context, FSCONFIG_SET_STRING, name.encode(), value.encode(), 0)
            check(result, "fsconfig tmpfs")
        check(libc.syscall(SYS_FSCONFIG, context, FSCONFIG_CMD_CREATE, None, None, 0), "fsconfig tmpfs")
        return check(libc.syscall(SYS_FSMOUNT, context, CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV), "fsmount tmpfs")
    finally:
        os.close(context)


def attach(fd: int, target: str) -> None:
    """Mount a file system that `tmpfs` made at `target`."""
    result = libc.syscall(SYS_MOVE_MOUNT, fd, b"", AT_FDCWD, os.fsencode(target), MOVE_MOUNT_F_EMPTY_PATH)
    check(result, f"mount tmpfs on {target}")


def unmount(target: str) -> None:
    """Remove a mount from this namespace. Files that are open in it stay usable."""
    check(libc.umount2(os.fsencode(target), MNT_DETACH), f"umount {target}")


def pivot(root: str, old: str) -> None:
    """Make `root` the root of this mount namespace; the former root appears at `old` below it."""
    check(libc.syscall(SYS_PIVOT_ROOT, os.fsencode(root), os.fsencode(root + old)), "pivot_root")
    os.chdir("/")


def map_user(inside: int, uid: int, gid: int) -> None:
    for name, text in (("setgroups", "deny"), ("uid_map", f"{inside} {uid} 1"), ("gid_map", f"{inside} {gid} 1")):
        write_text(f"/proc/self/{name}", text)


def escape(path: str) -> str:
    """A path in the form that the options of an overlay need."""
    return re.sub(r"([\\:,])", r"\\\1", path)


def write_text(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)
