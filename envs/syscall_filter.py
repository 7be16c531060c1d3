"""The filter of system calls in every sandbox: a seccomp program that the guest sets before it runs anything.

Standard library only, Python 3.6 or newer, one file: in a container its text precedes that of the guest. A process and
all that it starts keep the filter for good.

What it denies is of no use to a repository's tests, and reaches the guest, other sandboxes or parts of the kernel that
nothing else guards:

- limits, priorities and memory of other processes, first of all the guest's: prlimit64, ptrace, process_vm_*;
- leases on files, for which the guest would wait when it starts a program;
- sockets of other families than Unix, IPv4, IPv6 and netlink: a VSOCK socket is in no network namespace;
- keys, further namespaces, mounts, files by handle, tracing, io_uring, loading of modules and kernels;
- other ways of making system calls: 32-bit programs and the x32 interface.

Where nothing but a limit of each process counts memory, it also denies what takes memory outside of every process:
memfd_create, System V shared memory, message queues and semaphores.

A denied call fails with EPERM, or with ENOSYS or EAFNOSUPPORT where programs know how to go on without it.
"""

import errno
import os
import struct

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 38, 2
ALLOW, ERRNO = 0x7FFF0000, 0x00050000
LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
NUMBER, ARCHITECTURE, ARGUMENTS = 0, 4, 16  # offsets in what the program is given; an argument has 8 bytes
X32 = 0x40000000  # the bit of calls by the x32 interface
# mount, cgroup, uts, ipc, user, pid and net; CLONE_NEWTIME is the exit signal's bit in clone, and only unshare takes it
NAMESPACES = 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000
NEW_TIME = 0x80
FAMILIES = (1, 2, 10, 16)  # AF_UNIX, AF_INET, AF_INET6, AF_NETLINK
PRIO_PROCESS = 0
SET_LEASE = 1024

# By machine: the audit architecture, and the numbers of the calls below. All calls from 424 on have one number.
MACHINES = {
    "x86_64": (0xC000003E, 0),
    "aarch64": (0xC00000B7, 1),
}  # type: dict[str, tuple[int, int]]
CALLS = {
    # name: (x86_64, aarch64); -1 where there is no such call
    "prlimit64": (302, 261),
    "setpriority": (141, 140),
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119),
    "sched_setattr": (314, 274),
    "sched_setaffinity": (203, 122),
    "ioprio_set": (251, 30),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    "move_pages": (279, 239),
    "migrate_pages": (256, 238),
    "fcntl": (72, 25),
    "socket": (41, 198),
    "socketpair": (53, 199),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "userfaultfd": (323, 282),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "fanotify_init": (300, 262),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "clone": (56, 220),
    "clone3": (435, 435),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "open_tree_attr": (467, 467),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "lookup_dcookie": (212, 18),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "acct": (163, 89),
    "reboot": (169, 142),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "shmat": (30, 196),
    "msgget": (68, 186),
    "semget": (64, 190),
}  # type: dict[str, tuple[int, int]]
# The error of each call that is denied whatever its arguments are.
DENIED = dict.fromkeys(
    (
        *("ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "process_mrelease", "pidfd_getfd"),
        *("kcmp", "move_pages", "migrate_pages", "add_key", "request_key", "keyctl", "userfaultfd", "bpf"),
        *("perf_event_open", "fanotify_init", "setns", "mount", "umount2", "pivot_root", "open_tree", "move_mount"),
        *("fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr", "open_tree_attr", "name_to_handle_at"),
        *("open_by_handle_at", "swapon", "swapoff", "kexec_load", "kexec_file_load", "init_module", "finit_module"),
        *("delete_module", "lookup_dcookie", "quotactl", "quotactl_fd", "acct", "reboot"),
    ),
    errno.EPERM,
)
# clone3 holds its flags in memory, where no filter can read them: the C library then uses clone.
for name in ("clone3", "io_uring_setup", "io_uring_enter", "io_uring_register", "memfd_secret"):
    DENIED[name] = errno.ENOSYS
UNCOUNTED = ("memfd_create", "shmget", "shmat", "msgget", "semget")
OTHERS = ("sched_setparam", "sched_setscheduler", "sched_setattr", "sched_setaffinity")  # take a process first


def program(machine: str, guest: int, counted: bool) -> "list[tuple[int, int, int, int]]":
    """The instructions for a machine: (code, jump if true, jump if false, value).

    `guest` is the number of the process that serves the host. `counted` says that something else counts all memory of
    the sandbox, so that the calls of `UNCOUNTED` may stay.
    """
    architecture, column = MACHINES[machine]
    found = [
        (LOAD, 0, 0, ARCHITECTURE),
        (EQUAL, 1, 0, architecture),
        (RETURN, 0, 0, ERRNO | errno.ENOSYS),
        (LOAD, 0, 0, NUMBER),
    ]
    if machine == "x86_64":
        found += [(AT_LEAST, 0, 1, X32), (RETURN, 0, 0, ERRNO | errno.ENOSYS)]

    def call(name: str, *rule: "tuple[int, int, int, int]") -> None:
        """Apply a rule to one call. A rule that comes to its end allows it."""
        number = CALLS[name][column]
        body = [*rule, (RETURN, 0, 0, ALLOW)]
        found.append((EQUAL, 0, len(body), number))
        found.extend(body)

    def argument(index: int, high: bool = False) -> "tuple[int, int, int, int]":
        return (LOAD, 0, 0, ARGUMENTS + 8 * index + 4 * high)

    denied = (RETURN, 0, 0, ERRNO | errno.EPERM)
    others = dict(DENIED)
    if not counted:
        others.update(dict.fromkeys(UNCOUNTED, errno.ENOSYS))
    for name in sorted(others):
        call(name, (RETURN, 0, 0, ERRNO | others[name]))
    # Limits may be set for the caller itself, which has the number 0, and read for all.
    set_limits = (argument(2), (EQUAL, 0, 2, 0), argument(2, True), (EQUAL, 1, 0, 0))
    call("prlimit64", argument(0), (EQUAL, 5, 0, 0), *set_limits, denied)
    for name in OTHERS:
        call(name, argument(0), (EQUAL, 0, 1, guest), denied)
    # A process group or a user may include the guest.
    call("setpriority", argument(0), (EQUAL, 0, 2, PRIO_PROCESS), argument(1), (EQUAL, 0, 1, guest), denied)
    call("ioprio_set", argument(0), (EQUAL, 0, 2, 1), argument(1), (EQUAL, 0, 1, guest), denied)
    # A lease on a program makes its exec wait, and the guest with it.
    call("fcntl", argument(1), (EQUAL, 0, 1, SET_LEASE), denied)
    for name in ("socket", "socketpair"):
        families = [(EQUAL, len(FAMILIES) - at, 0, family) for at, family in enumerate(FAMILIES)]
        call(name, argument(0), *families, (RETURN, 0, 0, ERRNO | errno.EAFNOSUPPORT))
    call("clone", argument(0), (ANY_BIT, 0, 1, NAMESPACES), denied)
    call("unshare", argument(0), (ANY_BIT, 0, 1, NAMESPACES | NEW_TIME), denied)
    return [*found, (RETURN, 0, 0, ALLOW)]


def filter_code(guest: int, counted: bool) -> bytes:
    """The filter for this machine in the kernel's form (see `program`); empty if there is none for it."""
    machine = os.uname().machine
    lines = program(machine, guest, counted) if machine in MACHINES else []
    return b"".join(struct.pack("=HBBI", *line) for line in lines)


def set_filter(code: bytes) -> str:
    """Set a filter for this process and all that it starts. Returns why it could not be set, empty if it was."""
    if not code:
        return "it is not written for machines of kind %s" % os.uname().machine
    try:
        import ctypes

        lines = ctypes.create_string_buffer(code, len(code))
        head = ctypes.create_string_buffer(struct.pack("@HP", len(code) // 8, ctypes.addressof(lines)))
        prctl, word = ctypes.CDLL(None, use_errno=True).prctl, ctypes.c_ulong
        prctl(PR_SET_NO_NEW_PRIVS, word(1), word(0), word(0), word(0))
        if prctl(PR_SET_SECCOMP, word(SECCOMP_MODE_FILTER), head, word(0), word(0)):
            return "the kernel refused it: %s" % os.strerror(ctypes.get_errno())
    except (ImportError, OSError, AttributeError) as error:
        return "this Python cannot ask for it: %s" % error
    return ""


def restrict_calls(guest: int, counted: bool) -> str:
    """Make the filter of `program` and set it. Returns why it could not be set, empty if it was."""
    return set_filter(filter_code(guest, counted))
