"""Makes local sandboxes: one small process that forks a guest into namespaces of its own.

Started once per run as a separate process, because a fork of a small single-threaded
Python costs a fraction of starting one, and because the runner must not itself be
unshared. It builds a bare root once (the system's programs read-only, a few devices, an
empty virtual environment of the runner's Python; no home, no run directory, no
configuration of the host), and for each request forks a guest, the first process of its
own PID namespace, with its own mounts, network (loopback only), IPC and host name. What
an attempt writes goes to an overlay on a tmpfs that only its own mounts hold, so that
nothing of it, mount, file or process, outlives the guest.

Works as root (the guests then run as an unprivileged user) and without (through a user
namespace). Linux 5.12 or newer. The control socket is the life line: when the runner is
gone the nursery exits, and as the first process of the outer PID namespace it takes every
guest with it.
"""

import ctypes
import fcntl
import gc
import json
import os
import re
import resource
import signal
import socket
import struct
import subprocess
import sys

from envs.guest import Guest

TYPE_CHECKING = False
if TYPE_CHECKING:  # every module loaded here is copied by every fork
    from typing import Any

__all__ = ["main"]

INSIDE_ID = 1000  # who the guest is to itself

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x20000, 0x4000000, 0x8000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 4096, 16384, 1 << 18
MNT_DETACH = 2
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID = 1, 2
AT_FDCWD, AT_RECURSIVE = -100, 0x8000
SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}.get(os.uname().machine, 41)
SYS_MOUNT_SETATTR = 442
PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS = 4, 38
SIOCSIFFLAGS, IFF_UP = 0x8914, 1

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store", "/gnu/store", "/etc/alternatives")
FOLDERS = ("box", "dev", "etc", "old", "opt/venv/bin", "proc", "run/base.git", "run/scratch", "testbed", "tmp")
DEVICES = ("null", "zero", "full", "random", "urandom")
ETC = {
    "passwd": f"root:x:0:0:root:/tmp:/bin/sh\nagent:x:{INSIDE_ID}:{INSIDE_ID}:agent:/tmp:/bin/sh\n",
    "group": f"root:x:0:\nagent:x:{INSIDE_ID}:\n",
    "hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    "gitconfig": "[safe]\n\tdirectory = *\n[user]\n\tname = agent\n\temail = agent@localhost\n",
}

libc = ctypes.CDLL(None, use_errno=True)


def check(result: int, what: str) -> None:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")


def unshare(flags: int) -> None:
    check(libc.unshare(flags), "unshare")


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    result = libc.mount(source.encode(), target.encode(), kind.encode(), flags, options.encode())
    check(result, f"mount {kind or 'bind'} on {target}")


def bind(source: str, target: str, *, read_only: bool = True) -> None:
    mount(source, target, flags=MS_BIND | MS_REC)
    if read_only:
        attributes = struct.pack("QQQQ", MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID, 0, 0, 0)
        result = libc.syscall(SYS_MOUNT_SETATTR, AT_FDCWD, target.encode(), AT_RECURSIVE, attributes, len(attributes))
        check(result, f"make {target} read-only")


def pivot(root: str, old: str) -> None:
    """Make `root` the root of this mount namespace, what was it so far appearing at `old` below."""
    check(libc.syscall(SYS_PIVOT_ROOT, root.encode(), (root + old).encode()), "pivot_root")
    os.chdir("/")


def map_user(inside: int, uid: int, gid: int) -> None:
    for name, text in (("setgroups", "deny"), ("uid_map", f"{inside} {uid} 1"), ("gid_map", f"{inside} {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def escape(path: str) -> str:
    """A path as it is written in the options of an overlay."""
    return re.sub(r"([\\:,])", r"\\\1", path)


def below(path: str, folders: "tuple[str, ...]") -> bool:
    return any(path.startswith(f"{folder}/") for folder in folders)


def write_text(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


class Nursery:
    """Holds the prepared root and forks guests into views of it."""

    def __init__(
        self,
        control: socket.socket,
        python: str,
        base_prefix: str,
        overlay: bool,
        guest_id: int,
        private: "list[str]",
    ) -> None:
        self.control = control
        self.python = python
        self.shown = SYSTEM if below(f"{base_prefix}/", SYSTEM) else (*SYSTEM, base_prefix)
        self.overlay = overlay
        self.root_user = os.geteuid() == 0
        self.private = private
        self.guest_id = guest_id if self.root_user else 0  # as this namespace numbers users
        self.uid, self.gid = os.getuid(), os.getgid()

    def prepare(self) -> None:
        """Become the first process of a PID namespace whose root directory holds /old (the host) and /new."""
        if self.root_user:
            unshare(CLONE_NEWNS | CLONE_NEWPID)
        else:
            unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID)
            map_user(0, self.uid, self.gid)
        pid = os.fork()
        if pid:  # hold the place until the nursery proper is gone; its end, or ours, ends all
            self.control.close()
            _, status = os.waitpid(pid, 0)
            os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
        libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        self.own_pids = os.open("/proc/thread-self/ns/pid_for_children", os.O_RDONLY)
        mount("none", "/", flags=MS_REC | MS_PRIVATE)
        mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID, "mode=755,size=16m")
        for name in ("old", "new", "trial/.git"):  # /trial: an empty repository, to find out whether all this works
            os.makedirs(f"/tmp/{name}")
        pivot("/tmp", "/old")
        self.furnish("/new")

    def furnish(self, new: str) -> None:
        """The root that every sandbox sees, built once and read-only from then on."""
        for name in FOLDERS:
            os.makedirs(f"{new}/{name}")
        for path in self.shown:
            there = f"/old{path}"
            if not os.path.lexists(there):
                continue
            os.makedirs(os.path.dirname(new + path), exist_ok=True)
            if os.path.islink(there):
                os.symlink(os.readlink(there), new + path)
            else:
                os.makedirs(new + path, exist_ok=True)
                bind(there, new + path)
        for name, text in ETC.items():
            write_text(f"{new}/etc/{name}", text)
        for name in ("ld.so.cache", "localtime"):
            if os.path.exists(f"/old/etc/{name}"):
                with open(f"/old/etc/{name}", "rb") as file, open(f"{new}/etc/{name}", "wb") as copy:
                    copy.write(file.read())
        for name in DEVICES:
            write_text(f"{new}/dev/{name}", "")
            bind(f"/old/dev/{name}", f"{new}/dev/{name}", read_only=False)
        for name, target in (("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
            os.symlink(target, f"{new}/dev/{name}")
        os.symlink("/tmp", f"{new}/dev/shm")
        # An empty virtual environment: `python` is the runner's, with nothing but the standard library.
        write_text(
            f"{new}/opt/venv/pyvenv.cfg",
            f"home = {os.path.dirname(self.python)}\ninclude-system-site-packages = false\n",
        )
        for name in ("python", "python3"):
            os.symlink(self.python, f"{new}/opt/venv/bin/{name}")
        self.hide(new)
        bind(new, new)

    def hide(self, new: str) -> None:
        """This package and all that is installed beside it: solutions and hidden tests may be among it."""
        for path in self.private:
            if below(path, self.shown):
                mount("tmpfs", new + path, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=4k")

    def serve(self) -> None:
        gc.disable()
        gc.freeze()
        self.control.send(b'{"ok": true}')
        while True:
            data, fds, _, _ = socket.recv_fds(self.control, 1 << 16, 1)
            if not data:
                break
            reap(os.WNOHANG)
            self.fork(json.loads(data), fds[0])
        signal.signal(signal.SIGALRM, lambda *_: os._exit(0))  # a first process never dies of a default action
        signal.alarm(2)  # guests end with their streams; should one not, our own end takes it along
        reap(0)

    def fork(self, request: "dict[str, Any]", fd: int) -> None:
        try:
            unshare(CLONE_NEWPID)
            pid = os.fork()
        except OSError as error:
            report(fd, error)
            os.close(fd)
            return
        if pid:
            check(libc.setns(self.own_pids, CLONE_NEWPID), "setns")
            os.close(fd)
            return
        self.control.close()
        try:
            upper = self.enter(request)
            guest = Guest(fd, fd, "/testbed", request["env"], upper)
        except BaseException as error:
            report(fd, error)
            os._exit(1)
        try:
            guest.serve()
        except OSError:
            pass  # the host is gone
        except BaseException:
            sys.excepthook(*sys.exc_info())  # a fault of ours: say so where the runner's own errors go
        os._exit(0)

    def enter(self, request: "dict[str, Any]") -> int:
        """In the new first process: its own mounts and network, its limits, no way back. Gives the upper folder."""
        unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS)
        loopback_up()
        socket.sethostname("sandbox")
        limits = request["limits"]
        mount("tmpfs", "/new/box", "tmpfs", MS_NOSUID | MS_NODEV, f"mode=755,size={limits['disk_mb']}m")
        for name in ("upper", "work", "tmp"):
            os.mkdir(f"/new/box/{name}")
            os.chown(f"/new/box/{name}", self.guest_id, self.guest_id)
        lower = f"/old{request['repository']}" if request["repository"] else "/trial"
        upper = self.lay(lower, "/new/box", "/new/testbed")
        mount("tmpfs", "/new/run/scratch", "tmpfs", MS_NOSUID | MS_NODEV, f"mode=755,size={limits['disk_mb']}m")
        os.chown("/new/run/scratch", self.guest_id, self.guest_id)
        mount("/new/box/tmp", "/new/tmp", flags=MS_BIND)
        bind(f"{lower}/.git", "/new/run/base.git")
        mount("proc", "/new/proc", "proc", MS_NOSUID | MS_NODEV)
        check(libc.umount2(b"/new/box", MNT_DETACH), "umount")
        pivot("/new", "/old")
        if not self.overlay:
            subprocess.run(["/bin/cp", "-a", f"/old{lower}/.", "/testbed"], check=True, stdin=subprocess.DEVNULL)
        check(libc.umount2(b"/old", MNT_DETACH), "umount")
        resign(self.guest_id, limits)
        return upper

    def lay(self, lower: str, box: str, target: str) -> int:
        if self.overlay:
            # Folders of the base can only be renamed with redirects, which the kernel grants to root alone.
            kind = "redirect_dir=on" if self.root_user else "userxattr"
            options = f"lowerdir={escape(lower)},upperdir={box}/upper,workdir={box}/work,{kind}"
            mount("overlay", target, "overlay", MS_NOSUID | MS_NODEV, options)
        else:
            mount(f"{box}/upper", target, flags=MS_BIND)
        return os.open(f"{box}/upper", os.O_RDONLY)


def loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        fcntl.ioctl(probe, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))


def resign(uid: int, limits: "dict[str, Any]") -> None:
    """Give up every privilege for good, and take on the limits."""
    if uid:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        libc.prctl(PR_SET_DUMPABLE, 1)  # setresuid took it; without it our own /proc/self is root's
    # A user namespace of its own also makes the process limit count for this sandbox alone.
    unshare(CLONE_NEWUSER)
    map_user(INSIDE_ID, uid, uid)
    # No further ones inside: in a namespace of its own a command could mount memory that counts nowhere.
    write_text("/proc/sys/user/max_user_namespaces", "0")
    memory, disk = limits["memory_mb"] << 20, limits["disk_mb"] << 20
    for what, value in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, disk),
        (resource.RLIMIT_NPROC, limits["processes"]),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (value, value))
    check(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    libc.prctl(PR_SET_DUMPABLE, 0)


def reap(flags: int) -> None:
    """Collect guests that have ended; their CPU time is then counted as ours."""
    try:
        while os.waitpid(-1, flags)[0]:
            pass
    except ChildProcessError:
        pass


def report(fd: int, error: BaseException) -> None:
    text = json.dumps({"id": 0, "error": f"{type(error).__name__}: {error}"}).encode()
    try:
        os.write(fd, struct.pack(">II", len(text), 0) + text)
    except OSError:
        pass  # the host is gone


def main() -> None:
    """`python -c '...main()' CONTROL_FD PYTHON BASE_PREFIX overlay|copy GUEST_ID PRIVATE...`"""
    fd, python, base_prefix, kind, guest_id, *private = sys.argv[1:]
    control = socket.socket(fileno=int(fd))
    nursery = Nursery(control, python, base_prefix, kind == "overlay", int(guest_id), private)
    try:
        nursery.prepare()
    except OSError as error:
        control.send(json.dumps({"error": str(error)}).encode())
        return
    nursery.serve()
