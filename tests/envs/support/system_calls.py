"""Shared by the tests of sandboxes: a program that tries every system call that the filter denies."""

from __future__ import annotations

import os
from collections.abc import Iterable

from envs.syscall_filter import CALLS as CALLS_BY_NAME
from envs.syscall_filter import MACHINES

# Everything that the filter of system calls denies: a Python expression that is true if the call got through. `call`
# makes a call by its name.
CALLS = {
    "limits of the guest": "call('prlimit64', 1, 7, limits, 0) == 0",
    "limits of another process": "call('prlimit64', child, 7, limits, 0) == 0",
    "priority of the guest": "call('setpriority', 0, 1, 19) == 0",
    "priority of a group": "call('setpriority', 1, 0, 19) == 0",
    "priority of a user": "call('setpriority', 2, 0, 19) == 0",
    "scheduling of the guest": "call('sched_setscheduler', 1, 5, bytes(64)) == 0",
    "processors of the guest": "call('sched_setaffinity', 1, 8, b'\\1' + bytes(7)) == 0",
    "input and output of the guest": "call('ioprio_set', 1, 1, 3 << 13) == 0",
    "ptrace": "call('ptrace', 16, child, 0, 0) == 0",
    "tracing oneself": "call('ptrace', 0, 0, 0, 0) == 0",
    "reading memory": "error('process_vm_readv', child, 0, 0, 0, 0, 0) != 1",
    "writing memory": "error('process_vm_writev', child, 0, 0, 0, 0, 0) != 1",
    "advice on memory": "error('process_madvise', -1, 0, 0, 0, 0) != 1",
    "descriptors of others": "error('pidfd_getfd', os.pidfd_open(child), 0, 0) != 1",
    "comparing processes": "call('kcmp', child, os.getpid(), 1, 0, 0) >= 0",
    "vsock": "socket.socket(40, 1)",
    "packets": "socket.socket(17, 3)",
    "crypto": "socket.socket(38, 5)",
    "pair of another family": "error('socketpair', 30, 1, 0, bytes(8)) != 97",
    "adding keys": "call('add_key', b'user', b'x', b'y', 1, -2) > 0",
    "asking for keys": "error('request_key', b'user', b'x', 0, -2) != 1",
    "keys": "call('keyctl', 0, -3, 1) >= 0",
    "page faults": "call('userfaultfd', 1) >= 0",
    "bpf": "error('bpf', 0, bytes(64), 64) != 1",
    "counters": "error('perf_event_open', bytes(128), 0, -1, -1, 0) != 1",
    "io_uring": "error('io_uring_setup', 1, bytes(128)) != 38",
    "io_uring by a number": "error('io_uring_enter', -1, 0, 0, 0, 0) != 38",
    "user namespace": "call('unshare', 0x10000000) == 0",
    "time namespace": "error('unshare', 0x80) != 1",
    "entering a namespace": "error('setns', os.open('/proc/self/ns/uts', 0), 0) != 1",
    "namespace by clone": "error('clone', 0x10000011, 0, 0, 0, 0) != 1",
    "clone3": "error('clone3', bytes(64), 64) != 38",
    "mount": "error('mount', b'none', b'/tmp', b'tmpfs', 0, 0) != 1",
    "umount": "error('umount2', b'/tmp', 0) != 1",
    "pivot_root": "error('pivot_root', b'/tmp', b'/tmp') != 1",
    "opening a tree": "error('open_tree', -100, b'/tmp', 1) != 1",
    "moving a mount": "error('move_mount', -1, b'', -1, b'', 0) != 1",
    "opening a file system": "error('fsopen', b'tmpfs', 0) != 1",
    "changing a mount": "error('mount_setattr', -100, b'/tmp', 0, bytes(32), 32) != 1",
    "handle of a file": "error('name_to_handle_at', -100, b'/tmp', bytes(200), bytes(8), 0) != 1",
    "file by handle": "error('open_by_handle_at', -100, bytes(64), 0) != 1",
    "swap": "error('swapon', b'/tmp/x', 0) != 1",
    "loading a kernel": "error('kexec_load', 0, 0, 0, 0) != 1",
    "loading a module": "error('init_module', b'', 0, b'') != 1",
    "file without a name": "call('memfd_create', b'x', 0) >= 0",
    "secret memory": "call('memfd_secret', 0) >= 0",
    "shared memory": "call('shmget', 0, 4096, 0o1600) >= 0",
    "message queue": "call('msgget', 0, 0o1600) >= 0",
    "semaphores": "call('semget', 0, 1, 0o1600) >= 0",
}
COUNTED = ("file without a name", "shared memory", "message queue", "semaphores")  # in a container they are allowed
TRY_CALLS = """
import ctypes, os, socket, struct, sys, time
libc = ctypes.CDLL(None, use_errno=True)
limits = struct.pack("QQ", 64, 64)
numbers, tries = eval(sys.argv[1])
def call(name, *words):
    return libc.syscall(numbers[name], *(ctypes.c_long(word) if isinstance(word, int) else word for word in words))
def error(name, *words):
    return ctypes.get_errno() if call(name, *words) < 0 else 0
child = os.fork()
if not child:
    time.sleep(100)
for name, expression in tries.items():
    try:
        if eval(expression):
            print("REACHED", name)
    except OSError:
        pass
if os.uname().machine == "x86_64" and libc.syscall(0x40000000 + 39) >= 0:
    print("REACHED x32")
os.kill(child, 9)
print("tried", len(tries))
"""


def try_calls(names: Iterable[str]) -> tuple[str, ...]:
    """The command that makes these calls and tells which got through."""
    column = MACHINES[os.uname().machine][1]
    numbers = {name: columns[column] for name, columns in CALLS_BY_NAME.items()}
    return ("python3", "-c", TRY_CALLS, repr((numbers, {name: CALLS[name] for name in names})))
