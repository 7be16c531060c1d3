"""The namespace server: one small process that makes local sandboxes by forking guests into namespaces of their own.

It is started once per run as a separate process, because a fork of a small single-threaded Python costs a fraction of
starting one, and because the runner itself must stay in its namespaces. It builds a bare root once (the system's
programs read-only, a few devices, an empty virtual environment of the runner's Python; no home, no run directory, no
configuration of the host). For each request it forks a guest, the first process of its own PID namespace, with its own
mounts, network (loopback only), IPC and host name. All that a sandbox writes goes to its writable layer, a tmpfs that
only its own mounts and one descriptor of this process hold, so that no mount, file or process of it outlives the guest.

A snapshot is a copy of a writable layer. A process of its own takes it through that descriptor while the server serves
other requests; a fork is an overlay on such copies (see `envs.local.overlay_layers`). A guest inherits no descriptor
of another sandbox and sees no layer.

Requests come over the control socket, each with a descriptor for the answers:

    {"op": "open", "sandbox", "repository", "layers", "limits", "env"}   the guest's stream
    {"op": "snapshot", "sandbox", "layer", "disk_mb"}                    {} or {"error": "why"}
    {"op": "drop", "layer"}

Works as root (the guests then run as an unprivileged user) and as an ordinary user (through a user namespace). Linux
5.12 or newer. The control socket is the life line: when the runner ends, the server exits, and because it is the first
process of the outer PID namespace, every guest ends with it.
"""

import errno
import fcntl
import gc
import json
import os
import resource
import select
import signal
import socket
import stat
import struct
import subprocess
import sys

from envs.guest import Guest, describe, open_oom_score
from envs.local.memory_groups import MemoryGroup, MemoryGroups, find_groups
from envs.local.mounts import (
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    MS_BIND,
    MS_NODEV,
    MS_NOSUID,
    MS_PRIVATE,
    MS_RDONLY,
    MS_REC,
    attach,
    bind,
    enter_namespace,
    escape,
    forget_keys,
    map_user,
    mount,
    pivot,
    prctl,
    size_options,
    tmpfs,
    unmount,
    unshare,
    write_text,
)
from envs.local.overlay_layers import PARTS, LayerStore
from envs.local.shown import below, shown_folders
from envs.syscall_filter import filter_code, set_filter

TYPE_CHECKING = False
if TYPE_CHECKING:  # every fork copies every module that is loaded here
    from typing import Any

__all__ = ["main"]

INSIDE_ID = 1000  # the user that a guest is inside its own user namespace

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS = 1, 4, 38
SIOCSIFFLAGS, IFF_UP = 0x8914, 1

FOLDERS = ("dev", "etc", "old", "opt/venv/bin", "proc", "run/base.git", "run/scratch", "testbed", "tmp", "writable")
DEVICES = ("null", "zero", "full", "random", "urandom")
ETC = {
    "passwd": f"root:x:0:0:root:/tmp:/bin/sh\nagent:x:{INSIDE_ID}:{INSIDE_ID}:agent:/tmp:/bin/sh\n",
    "group": f"root:x:0:\nagent:x:{INSIDE_ID}:\n",
    "hosts": "127.0.0.1 localhost\n127.0.1.1 sandbox\n::1 localhost\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    "resolv.conf": "",
    "gitconfig": "[safe]\n\tdirectory = *\n[user]\n\tname = agent\n\temail = agent@localhost\n",
}
# Where a sandbox with the host's network finds host names and certificates; empty in all others.
RESOLVERS = ("resolv.conf", "hosts")
CERTIFICATES = ("ssl", "pki", "ca-certificates")


class RunningSandbox:
    """A sandbox as the server holds it.

    `number` is the client's, `writable` the descriptor of its writable layer, `stream` that of its guest's stream, on
    which the server tells why the guest was ended.
    """

    def __init__(self, number: int, writable: int, stream: int, group: "MemoryGroup | None") -> None:
        self.number, self.writable, self.stream, self.group = number, writable, stream, group

    def close(self, status: int) -> None:
        """Free what it holds. `status` is how its guest ended."""
        if self.group:
            if os.WIFSIGNALED(status) and self.group.exhausted():
                why = "its commands used up the memory of the sandbox"
                send_frame(self.stream, {"id": -1, "bye": why, "exhausted": True})
            self.group.remove()
        os.close(self.writable)
        os.close(self.stream)


class NamespaceServer:
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
        self.shown = shown_folders(base_prefix)
        self.overlay = overlay
        self.root_user = os.geteuid() == 0
        self.private = private
        self.guest_id = guest_id if self.root_user else 0  # as this namespace numbers users
        self.uid, self.gid = os.getuid(), os.getgid()
        self.sandboxes: dict[int, RunningSandbox] = {}  # by pid of the guest
        self.groups: MemoryGroups | None = None
        self.count = 0  # of groups
        self.files = resource.getrlimit(resource.RLIMIT_NOFILE)  # the limit of open files that guests get
        self.filter = filter_code(guest=1, counted=False)

    def prepare(self) -> None:
        """Become the first process of a PID namespace whose root directory holds /old (the host) and /new."""
        self.groups = find_groups()
        if self.root_user:
            unshare(CLONE_NEWNS | CLONE_NEWPID)
        else:
            unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID)
            map_user(0, self.uid, self.gid)
        pid = os.fork()
        if pid:  # wait for the server proper: the end of either process ends all guests
            self.control.close()
            _, status = os.waitpid(pid, 0)
            if self.groups:
                self.groups.move_below("/old")  # where the server proper has put the host's files
                self.groups.close()
            os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        forget_keys()
        resource.setrlimit(resource.RLIMIT_NOFILE, (self.files[1], self.files[1]))  # one for each writable layer
        self.own_pids = os.open("/proc/thread-self/ns/pid_for_children", os.O_RDONLY)
        mount("none", "/", flags=MS_REC | MS_PRIVATE)
        mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID, "mode=755,size=16m")
        for name in ("old", "new", "online", "trial"):  # /trial: an empty folder for the client's trial sandbox
            os.mkdir(f"/tmp/{name}")
        write_text("/tmp/online/nsswitch.conf", ETC["nsswitch.conf"].replace("hosts: files", "hosts: files dns"))
        for name in RESOLVERS:  # copied before the pivot, after which their links lead nowhere
            if os.path.exists(f"/etc/{name}"):
                copy_file(f"/etc/{name}", f"/tmp/online/{name}")
        pivot("/tmp", "/old")
        if self.groups:
            self.groups.move_below("/old")
        self.layers = LayerStore("/layers")
        self.build_root("/new")

    def build_root(self, new: str) -> None:
        """Build the root that every sandbox sees, once; it is read-only from then on."""
        for name in FOLDERS:
            os.makedirs(f"{new}/{name}")
        for path in self.shown:
            source = f"/old{path}"
            if not os.path.lexists(source):
                continue
            os.makedirs(os.path.dirname(new + path), exist_ok=True)
            if os.path.islink(source):
                os.symlink(os.readlink(source), new + path)
            else:
                os.makedirs(new + path, exist_ok=True)
                bind(source, new + path)
        for name, text in ETC.items():
            write_text(f"{new}/etc/{name}", text)
        for name in ("ld.so.cache", "localtime"):
            if os.path.exists(f"/old/etc/{name}"):
                copy_file(f"/old/etc/{name}", f"{new}/etc/{name}")
        for name in CERTIFICATES:
            os.mkdir(f"{new}/etc/{name}")
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
        self.hide_packages(new)
        bind(new, new)

    def hide_packages(self, new: str) -> None:
        """Hide this package and all that are installed, which may hold solutions and hidden tests."""
        for path in self.private:
            if not below(path, self.shown) or not os.path.exists(new + path):
                continue  # not shown, or inside of a folder that is hidden already
            if os.path.isdir(new + path):
                mount("tmpfs", new + path, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=4k,nr_inodes=16")
            else:
                bind("/old/dev/null", new + path, read_only=False)

    def serve(self) -> None:
        """Answer requests until the runner ends, and free the resources of each guest that ends."""
        wake, waker = os.pipe()
        os.set_blocking(waker, False)
        signal.set_wakeup_fd(waker)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self.own = [wake, waker, self.own_pids, self.control.fileno()]
        poll = select.poll()
        poll.register(wake, select.POLLIN)
        poll.register(self.control, select.POLLIN)
        gc.disable()
        gc.freeze()
        self.control.send(json.dumps({"ok": True, "grouped": self.groups is not None}).encode())
        alive = True
        while alive:
            for fd, _ in poll.poll():
                if fd == wake:
                    os.read(wake, 4096)
                    self.reap(os.WNOHANG)
                else:
                    alive = self.receive()
        signal.signal(signal.SIGALRM, lambda *_: os._exit(0))  # default actions do not end a first process
        signal.alarm(2)  # guests end with their streams; one that does not is ended by the exit of this process
        self.reap(0)

    def receive(self) -> bool:
        data, fds, _, _ = socket.recv_fds(self.control, 1 << 16, 1)
        if not data:
            return False
        request = json.loads(data)
        try:
            getattr(self, "on_" + request["op"])(request, *fds)
        except OSError as error:
            send_frame(fds[0], {"id": 0, "error": describe(error)})
        for fd in fds:
            os.close(fd)
        return True

    def on_open(self, request: "dict[str, Any]", stream: int) -> None:
        limits = request["limits"]
        writable, group = tmpfs(limits["disk_mb"]), self.make_group(limits["memory_mb"] + limits["disk_mb"])
        try:
            unshare(CLONE_NEWPID)
            try:
                pid = os.fork()
                if not pid:
                    self.run_guest(request, stream, writable, group)
            finally:
                enter_namespace(self.own_pids, CLONE_NEWPID)
        except OSError:
            os.close(writable)
            if group:
                group.remove()
            raise
        self.sandboxes[pid] = RunningSandbox(request["sandbox"], writable, os.dup(stream), group)

    def make_group(self, megabytes: int) -> "MemoryGroup | None":
        self.count += 1
        try:
            return self.groups.make(self.count, megabytes) if self.groups else None
        except OSError:
            return None  # somebody took the right away since the start

    def on_snapshot(self, request: "dict[str, Any]", answer: int) -> None:
        writable = next((each.writable for each in self.sandboxes.values() if each.number == request["sandbox"]), None)
        if writable is None:
            raise OSError(errno.ESRCH, "the sandbox has ended")
        if os.fork():
            return  # a large copy takes seconds, during which other requests are served
        try:
            self.close_others(writable)
            os.umask(0)
            self.layers.take(request["layer"], writable, request["disk_mb"])
            if not send_frame(answer, {"id": 0, "ok": True}):
                self.layers.drop(request["layer"])
        except Exception as error:
            send_frame(answer, {"id": 0, "error": describe(error)})
        finally:
            os._exit(0)

    def on_drop(self, request: "dict[str, Any]") -> None:
        self.layers.drop(request["layer"])

    def reap(self, flags: int) -> None:
        """Collect guests that have ended and free their writable layers. Their CPU time is added to this one's."""
        try:
            while True:
                pid, status = os.waitpid(-1, flags)
                if not pid:
                    break
                if pid in self.sandboxes:
                    self.sandboxes.pop(pid).close(status)
        except ChildProcessError:
            pass

    # in a forked process

    def close_others(self, own: int) -> None:
        """Close the descriptors that would keep other sandboxes alive or give access to them."""
        signal.set_wakeup_fd(-1)
        for fd in self.own:
            os.close(fd)
        for sandbox in self.sandboxes.values():
            os.close(sandbox.stream)
            if sandbox.writable != own:
                os.close(sandbox.writable)

    def run_guest(self, request: "dict[str, Any]", stream: int, writable: int, group: "MemoryGroup | None") -> None:
        """Run the guest in the new first process until it ends, and exit."""
        try:
            try:
                self.close_others(writable)
                if group:
                    group.join()
                upper, oom_score = self.enter_sandbox(request, writable)
                unfiltered = set_filter(self.filter)
                lifetime = request["limits"]["lifetime_seconds"]
                guest = Guest(stream, stream, "/testbed", request["env"], upper, lifetime, 0, unfiltered, oom_score)
            except Exception as error:
                send_frame(stream, {"id": 0, "error": describe(error)})
                return
            guest.serve()
        except OSError:
            pass  # the runner has ended
        except BaseException:
            sys.excepthook(*sys.exc_info())  # a bug of the guest, reported on the runner's standard error
        finally:
            os._exit(0)

    def enter_sandbox(self, request: "dict[str, Any]", writable: int) -> "tuple[int, int]":
        """Set up mounts, network and limits, and give up all privileges.

        Returns the descriptors of the folder of changed files and of the guest's `open_oom_score`.
        """
        limits, online = request["limits"], request["limits"]["network"] == "host"
        unshare(CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | (0 if online else CLONE_NEWNET))
        if not online:
            loopback_up()
        socket.sethostname("sandbox")
        attach(writable, "/new/writable")
        os.close(writable)
        for part in PARTS:
            for name in (part, f"{part}.work"):
                os.mkdir(f"/new/writable/{name}")
                os.chown(f"/new/writable/{name}", self.guest_id, self.guest_id)
        repository = f"/old{request['repository']}" if request["repository"] else "/trial"
        layers = [str(number) for number in request["layers"]]
        self.mount_overlay("upper", layers, [repository], "/new/testbed")
        self.mount_overlay("tmp", layers, [], "/new/tmp")
        upper = os.open("/new/writable/upper", os.O_RDONLY)
        room = ",".join(f"{name}={value}" for name, value in size_options(limits["disk_mb"]))
        mount("tmpfs", "/new/run/scratch", "tmpfs", MS_NOSUID | MS_NODEV, f"mode=755,{room}")
        os.chown("/new/run/scratch", self.guest_id, self.guest_id)
        if os.path.lexists(f"{repository}/.git"):
            self.show_base(f"{repository}/.git")
        if online:
            self.bind_network_files()
        mount("proc", "/new/proc", "proc", MS_NOSUID | MS_NODEV)
        unmount("/new/writable")
        pivot("/new", "/old")
        if not self.overlay:
            for part, target in (("upper", "/testbed"), ("tmp", "/tmp")):
                source = f"{self.layers.path(int(layers[0]))}/{part}" if layers else repository
                if layers or part == "upper":
                    subprocess.run(["/bin/cp", "-a", f"/old{source}/.", target], check=True, stdin=subprocess.DEVNULL)
        unmount("/old")
        oom_score = open_oom_score()
        drop_privileges(self.guest_id, limits, self.files)
        return upper, oom_score

    def show_base(self, git: str) -> None:
        """Show the base's git folder. An overlay of its own keeps a sandbox from seeing the file locks of others."""
        if self.overlay and os.path.isdir(git):
            options = f"lowerdir={escape(git)}:/trial"
            mount("overlay", "/new/run/base.git", "overlay", MS_NOSUID | MS_NODEV | MS_RDONLY, options)
        else:
            bind(git, "/new/run/base.git")

    def mount_overlay(self, part: str, layers: "list[str]", base: "list[str]", target: str) -> None:
        """Mount a part of the writable layer over the same part of `layers`, topmost first, over `base`, if any."""
        os.chdir(self.layers.folder)  # relative names are short: the kernel takes all of them as one page of text
        upper = f"/new/writable/{part}"
        lower = [f"{layer}/{part}" for layer in layers]
        if not self.overlay or not (lower or base):
            mount(upper, target, flags=MS_BIND)
            return
        if lower:  # the top folder of an overlay has the mode of its upper folder
            os.chmod(upper, stat.S_IMODE(os.stat(lower[0]).st_mode))
        # Folders of the base can only be renamed with redirects, which the kernel allows only to root.
        kind = "redirect_dir=on,metacopy=off" if self.root_user else "userxattr"
        paths = ":".join(map(escape, lower + base))
        options = f"lowerdir={paths},upperdir={upper},workdir={upper}.work,{kind}"
        mount("overlay", target, "overlay", MS_NOSUID | MS_NODEV, options)

    def bind_network_files(self) -> None:
        """Show the host's resolver configuration and certificates to a sandbox with the host's network."""
        for name in os.listdir("/online"):
            bind(f"/online/{name}", f"/new/etc/{name}")
        for name in CERTIFICATES:
            if os.path.isdir(f"/old/etc/{name}"):
                bind(f"/old/etc/{name}", f"/new/etc/{name}")


def loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        fcntl.ioctl(probe, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))


def drop_privileges(uid: int, limits: "dict[str, Any]", files: "tuple[int, int]") -> None:
    """Give up every privilege for good, and set the limits."""
    if uid:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        prctl(PR_SET_DUMPABLE, 1)  # setresuid cleared it; without it /proc/self belongs to root
    # In a user namespace of its own, the limit of processes counts those of this sandbox alone.
    unshare(CLONE_NEWUSER)
    map_user(INSIDE_ID, uid, uid)
    # No further namespaces inside: in one of its own a command could mount file systems in memory without a limit.
    write_text("/proc/sys/user/max_user_namespaces", "0")
    memory, disk = limits["memory_mb"] << 20, limits["disk_mb"] << 20
    resource.setrlimit(resource.RLIMIT_NOFILE, files)
    for what, value in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, disk),
        (resource.RLIMIT_NPROC, limits["processes"]),
        (resource.RLIMIT_CORE, 0),
    ):
        allowed = resource.getrlimit(what)[1]  # a limit that the user is under is kept
        value = value if allowed == resource.RLIM_INFINITY else min(value, allowed)
        resource.setrlimit(what, (value, value))
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    prctl(PR_SET_DUMPABLE, 0)


def send_frame(fd: int, header: "dict[str, Any]") -> bool:
    """Send one frame to the runner. Returns False if it is gone."""
    text = json.dumps(header).encode()
    try:
        os.write(fd, struct.pack(">II", len(text), 0) + text)
    except OSError:
        return False
    return True


def copy_file(source: str, target: str) -> None:
    with open(source, "rb") as file, open(target, "wb") as copy:
        copy.write(file.read())


def main() -> None:
    """`python -c '...main()' CONTROL_FD PYTHON BASE_PREFIX overlay|copy GUEST_ID PRIVATE...`"""
    fd, python, base_prefix, kind, guest_id, *private = sys.argv[1:]
    control = socket.socket(fileno=int(fd))
    server = NamespaceServer(control, python, base_prefix, kind == "overlay", int(guest_id), private)
    try:
        try:
            server.prepare()
        except OSError as error:
            control.send(json.dumps({"error": str(error)}).encode())
            return
        server.serve()
    except BrokenPipeError:
        pass  # the runner ended before it had an answer
