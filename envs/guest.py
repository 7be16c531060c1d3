"""The one process inside every sandbox: runs commands and moves files for the host.

Standard library only, Python 3.6 or newer, one file: it is handed as text to whatever
Python the image holds. The host speaks to it over one stream of frames:

    frame  := header length (4 bytes), body length (4 bytes), header (JSON), body (bytes)
    host   -> {"id", "op": "run",   "run": [argv] | "script", "cwd", "env", "timeout", "cap", "session"}  body: stdin
              {"id", "op": "read",  "path"}
              {"id", "op": "write", "path"}                                                   body: the data
              {"id", "op": "changed"}        is anything different from the base? (overlay only)
              {"id", "op": "quiet"}          end all that runs
    guest  -> {"id", "ok": true, ...} body: output or data;  {"id", "error": "why"}
              {"id": 0, "ok": true}          its first word;  {"id": -1, "bye": "why"}  its last, of its own accord

Guarantees: several commands run at a time; a command ends when its first process does,
so a daemon that keeps stdout open holds up nothing; on a time-out everything that the
command started is killed, also what called setsid; output is capped here, before it
leaves; whatever is asked, or found in the files, gets an answer and ends nothing. The
stream is the life line: when it ends, in the middle of a command too, the guest exits,
and a sandbox whose first process it is goes with it. So it does when its lifetime is
over, whoever still holds the stream. As the first process it cannot be killed or stopped
from inside.

Scripts of one session follow each other as in one shell, without a shell that stays: as
it ends, each tells its folder and exported variables, and the next starts with them.
Shell options, functions, unexported variables and the umask are not carried over. A
script that is killed, calls exec or sets a trap on EXIT of its own leaves its session as
it was; so does an argument vector, which only starts where the session is. Of two at the
same time the last one to end decides. Where the session's folder is gone, scripts answer
127 and say so; one with a `cwd` that exists leads out.
"""

import errno
import fcntl
import json
import os
import select
import signal
import stat
import struct
import subprocess
import time

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing itself would be loaded in every container
    from typing import IO, Any, Callable

HEAD = struct.Struct(">II")
CHUNK = 1 << 16
READ_CAP = 64 << 20  # of one file; a larger one would be held several times over, here and by the host
LONGEST_POLL = 3600.0
DISK_SECONDS = 0.5  # between two looks at the disk
BYE_SECONDS = 1.0  # how long the last word may take to be sent
SESSION_CAP = 8 << 20  # of what a script may tell of itself; more than an environment can be
MARK = "SANDBOX_COMMAND"  # in the environment of all that a command starts; how its strays are found
NEARLY_FULL = b"\n[killed: the disk of this machine is nearly full; what is not needed must be removed]\n"
HIGHEST_FD = 256  # above all that a guest is given
PR_SET_DUMPABLE = 4
# For dash, bash and busybox. The exit status stays, for the trap does not call exit. By its path a descriptor is
# reached whatever its number; appending, for the script may have forbidden to overwrite files.
ON_EXIT = (
    'trap \'{ set +ex; } 2>/dev/null; { { pwd || echo "$PWD"; } && printf "\\0" && '
    "{ command -p cat /proc/self/environ || cat /proc/self/environ || env -0; } && echo .; } "
    ">>%s 2>/dev/null' EXIT\n"
)


class Capture:
    """Keeps the head and the tail of a stream of any length within `cap` bytes."""

    def __init__(self, cap: int) -> None:
        self.room = cap // 2
        self.keep = cap - self.room
        self.head = bytearray()
        self.tail = bytearray()
        self.seen = 0

    def feed(self, data: bytes) -> None:
        self.seen += len(data)
        free = self.room - len(self.head)
        if free > 0:
            self.head += data[:free]
            data = data[free:]
        self.tail += data
        if len(self.tail) > 2 * self.keep + CHUNK:
            del self.tail[: len(self.tail) - self.keep]

    def close(self) -> "tuple[bytes, int]":
        """The bytes kept, and how many were dropped from the middle."""
        tail = self.tail[-self.keep :] if self.keep else bytearray()
        dropped = self.seen - len(self.head) - len(tail)
        if not dropped:
            return bytes(self.head + tail), 0
        notice = ("\n[%d bytes dropped here]\n" % dropped).encode()
        return bytes(self.head) + notice + bytes(tail), dropped


class Testament:
    """Where a script tells, as it ends, how it leaves its session: in a file without a name."""

    def __init__(self, session: str) -> None:
        self.session = session
        if hasattr(os, "memfd_create"):
            fd = os.memfd_create("session")
        else:  # before Python 3.8
            with spool(b" ") as file:
                fd = os.dup(file.fileno())
            os.ftruncate(fd, 0)
        self.fd = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 100)  # scripts take low numbers for themselves
        os.close(fd)

    def open(self) -> "tuple[bytes, dict[bytes, bytes]] | None":
        return heir(os.pread(self.fd, min(os.fstat(self.fd).st_size, SESSION_CAP), 0))

    def close(self) -> None:
        os.close(self.fd)


def heir(told: bytes) -> "tuple[bytes, dict[bytes, bytes]] | None":
    """The folder and the exported variables that a script told; None of nothing, or of only a part."""
    cwd, *entries = told.split(b"\0")
    if not cwd.startswith(b"/") or not entries or entries.pop() != b".\n":
        return None
    pairs = (entry.partition(b"=") for entry in entries)
    # Not of the script: what finds its strays, and what shells count and note for themselves.
    own = (encode(MARK), b"SHLVL", b"_")
    return cwd[:-1], {name: value for name, equals, value in pairs if name and equals and name not in own}


class Running:
    """A command under way."""

    def __init__(
        self,
        number: int,
        process: "subprocess.Popen[bytes]",
        capture: Capture,
        timeout: float,
        testament: "Testament | None",
    ) -> None:
        self.id = number
        self.process = process
        self.pipe = process.stdout.fileno() if process.stdout else -1
        self.capture = capture
        self.began = time.monotonic()
        self.deadline = self.began + timeout
        self.testament = testament
        self.timed_out = False
        self.last_words = b""


class Guest:
    """Serves one host over a pair of file descriptors until the stream ends, or `lifetime` seconds are over.

    With `floor_bytes` it keeps an eye on the disk that the files are on, for nothing else may bound what is
    written: while there is less room than that, and less than half of what there was at the start, whatever
    runs longer than half a second is killed. It counts the machine's room, so another sandbox may have taken it.
    """

    def __init__(
        self,
        source: int,
        sink: int,
        workdir: str,
        env: "dict[str, str]",
        upper: int = -1,
        lifetime: "float | None" = None,
        floor_bytes: float = 0,
    ) -> None:
        self.source, self.sink, self.workdir, self.upper = source, sink, workdir, upper
        self.lifetime = float("inf") if lifetime is None else lifetime
        self.ends = time.monotonic() + self.lifetime
        self.floor = floor_bytes
        self.look = 0.0  # when to look at the disk again
        self.start = (encode(workdir), {encode(name): encode(value) for name, value in env.items()})
        self.sessions: "dict[str | None, tuple[bytes, dict[bytes, bytes]]]" = {}  # folder and exported variables
        self.name = os.urandom(8).hex()  # without isolation, guests see each other's processes
        self.running: "dict[int, Running]" = {}  # by pid
        self.buffer = bytearray()
        self.wake, waker = os.pipe()
        for end in (self.wake, waker, sink):
            os.set_blocking(end, False)
        for fd in range(3, HIGHEST_FD):  # whoever opened it: commands inherit nothing
            try:
                os.set_inheritable(fd, False)
            except OSError:
                pass  # there is none of this number
        signal.set_wakeup_fd(waker)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Python's own handler would let it through to a first process
        self.poll = select.poll()
        self.poll.register(source, select.POLLIN)
        self.poll.register(self.wake, select.POLLIN)

    def serve(self) -> None:
        if self.floor:
            self.floor = min(self.floor, free(self.workdir) / 2)
        self.send({"id": 0, "ok": True})  # ready
        while time.monotonic() < self.ends:
            for fd, _ in self.poll.poll(self.patience()):
                if fd == self.source:
                    data = os.read(self.source, CHUNK * 4)
                    if not data:
                        return
                    self.receive(data)
                elif fd == self.wake:
                    os.read(self.wake, CHUNK)
                    self.reap()
                else:
                    self.drain(fd)
            self.expire()
            self.guard()
        self.end_all()
        self.send({"id": -1, "bye": "its lifetime of %g s is over" % self.lifetime})

    def patience(self) -> float:
        """Milliseconds until something is due."""
        due = min([self.ends] + [command.deadline for command in self.running.values()])
        if self.running and self.floor:
            due = min(due, self.look)
        return float(min(max(0.0, due - time.monotonic()), LONGEST_POLL) * 1000 + 1)

    def receive(self, data: bytes) -> None:
        self.buffer += data
        while len(self.buffer) >= HEAD.size:
            header, body = HEAD.unpack_from(self.buffer)
            end = HEAD.size + header + body
            if len(self.buffer) < end:
                return
            text = bytes(self.buffer[HEAD.size : HEAD.size + header])
            content = bytes(self.buffer[HEAD.size + header : end])
            del self.buffer[:end]
            number = None
            try:
                request = json.loads(text.decode())
                number = request["id"]
                answer = getattr(self, "on_%s" % request["op"], None)
                if answer is None:
                    raise ValueError("there is no request %r" % request["op"])
                answer(request, content)
            except Exception as error:  # the system says no, a NUL byte, a field missing or no number, no memory
                self.send({"id": number, "error": describe(error)})

    def send(self, header: "dict[str, Any]", body: bytes = b"") -> None:
        text = json.dumps(header).encode()
        view = memoryview(HEAD.pack(len(text), len(body)) + text + body)
        while view:
            try:
                view = view[os.write(self.sink, view) :]
            except BlockingIOError:
                left = min(self.ends + BYE_SECONDS - time.monotonic(), LONGEST_POLL)
                if left <= 0:
                    raise TimeoutError(errno.ETIMEDOUT, "the lifetime is over and nobody reads") from None
                select.select([], [self.sink], [], left)

    def path(self, path: str) -> bytes:
        return encode(os.path.join(self.workdir, path))

    def mark(self, number: "int | None" = None) -> bytes:
        """What the environment of a command's processes holds; of every command's, without a number."""
        return encode("%s=%s." % (MARK, self.name) + ("" if number is None else "%d." % number))

    def on_run(self, request: "dict[str, Any]", stdin: bytes) -> None:
        run, session, number = request["run"], request.get("session"), int(request["id"])
        timeout, capture = float(request["timeout"]), Capture(int(request["cap"]))
        cwd, base = self.sessions.get(session, self.start)
        env = dict(base)
        if request["cwd"]:
            cwd = os.path.join(cwd, encode(request["cwd"]))
        if session is not None:  # a shell goes by the name of a folder, through links and back
            env[b"PWD"] = cwd = os.path.normpath(cwd)
        env.update((encode(name), encode(value)) for name, value in request["env"].items())
        name, _, value = self.mark(number).partition(b"=")
        env[name] = value
        testament = None
        try:
            if isinstance(run, str):
                if session is not None:
                    testament = Testament(session)
                    os.set_inheritable(testament.fd, True)
                    run = ON_EXIT % ("/dev/fd/%d" % testament.fd) + run
                run = ["/bin/sh", "-c", run]
            with spool(stdin) as given:
                process = subprocess.Popen(
                    [encode(word) for word in run],
                    stdin=given,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    cwd=cwd,
                    env=env,
                    start_new_session=True,
                    bufsize=0,
                    close_fds=False,  # they close themselves; to look them up takes a /proc/self that may not be ours
                )
        except Exception as error:
            if testament:
                testament.close()
            self.answer_run(number, 127, encode(describe(error) + "\n"))
            return
        if testament:
            os.set_inheritable(testament.fd, False)
        command = Running(number, process, capture, timeout, testament)
        os.set_blocking(command.pipe, False)
        self.running[process.pid] = command
        self.poll.register(command.pipe, select.POLLIN)

    def on_read(self, request: "dict[str, Any]", _: bytes) -> None:
        path = self.path(request["path"])
        with regular(path, "rb", os.O_RDONLY) as file:
            data = file.read(READ_CAP + 1)
        if len(data) > READ_CAP:
            raise OSError(errno.EFBIG, "is larger than %d MB" % (READ_CAP >> 20), path)
        self.send({"id": request["id"], "ok": True}, data)

    def on_write(self, request: "dict[str, Any]", data: bytes) -> None:
        path = self.path(request["path"])
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with regular(path, "wb", os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as file:
            file.write(data)
        self.send({"id": request["id"], "ok": True})

    def on_changed(self, request: "dict[str, Any]", _: bytes) -> None:
        """Anything copied up into the overlay? Its own marks at the top do not count."""
        with os.scandir(self.upper) as entries:
            changed = any(True for _ in entries)
        self.send({"id": request["id"], "ok": True, "changed": changed})

    def on_quiet(self, request: "dict[str, Any]", _: bytes) -> None:
        if os.getpid() == 1:
            patience = time.monotonic() + 5.0
            try:
                while time.monotonic() < patience:
                    os.kill(-1, signal.SIGKILL)  # all but ourselves, in one step that no fork slips through
                    self.reap()
                    time.sleep(0.01)
            except OSError:
                pass  # there are none left
        else:
            self.end_all()
        self.send({"id": request["id"], "ok": True})

    def drain(self, pipe: int) -> None:
        command = next((c for c in self.running.values() if c.pipe == pipe), None)
        if command and not pump(command):  # none: it was finished a moment ago, in the same round
            self.poll.unregister(pipe)  # closed or all read: the end of its process is what counts

    def reap(self) -> None:
        """Collect every child that has ended, orphans given to us as the first process too."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            command = self.running.pop(pid, None)
            if command:
                self.finish(command, -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))

    def finish(self, command: Running, returncode: int) -> None:
        # One more look for what was written just before the end. A daemon may go on
        # writing for ever, so no more than a pipe holds.
        for _ in range(17):
            if not pump(command):
                break
        try:
            self.poll.unregister(command.pipe)
        except KeyError:
            pass
        command.process.returncode = returncode
        if command.process.stdout:
            command.process.stdout.close()
        if command.testament:
            left = command.testament.open() if returncode >= 0 and not command.timed_out else None
            if left:
                self.sessions[command.testament.session] = left
            command.testament.close()
        command.capture.feed(command.last_words)
        output, dropped = command.capture.close()
        self.answer_run(command.id, returncode, output, dropped, command.timed_out, time.monotonic() - command.began)

    def answer_run(
        self, number: int, returncode: int, output: bytes, dropped: int = 0, late: bool = False, seconds: float = 0.0
    ) -> None:
        header = {"id": number, "ok": True, "rc": returncode, "dropped": dropped, "late": late, "s": seconds}
        self.send(header, output)

    def expire(self) -> None:
        now = time.monotonic()
        for pid, command in self.running.items():
            if now >= command.deadline:
                command.timed_out = True
                command.deadline = now + 1.0  # again, should something have slipped through
                end({pid}, self.mark(command.id))

    def guard(self) -> None:
        now = time.monotonic()
        if self.running and self.floor and now >= self.look:
            self.look = now + DISK_SECONDS
            if free(self.workdir) < self.floor:
                for command in self.running.values():
                    command.last_words = NEARLY_FULL
                self.end_all()

    def end_all(self) -> None:
        """Kill everything that any command left; for a guest that is not the first process of its own."""
        end(set(self.running), self.mark())


def encode(text: str) -> bytes:
    """As the host means it, whatever the locale of this image."""
    return text.encode("utf-8", "surrogateescape")


def free(path: str) -> float:
    """Bytes that can still be written where this is; without bound where that cannot be known."""
    try:
        found = os.statvfs(encode(path))
    except OSError:
        return float("inf")
    return float(found.f_bavail * found.f_frsize)


def regular(path: bytes, mode: str, flags: int) -> "IO[bytes]":
    """Open a regular file; a pipe or a device could hold up every other request."""
    fd = os.open(path, flags | os.O_NONBLOCK, 0o666)
    kind = os.fstat(fd).st_mode
    if not stat.S_ISREG(kind):
        os.close(fd)
        raise OSError(errno.EISDIR if stat.S_ISDIR(kind) else errno.EINVAL, "is not a regular file", path)
    return os.fdopen(fd, mode)


def spool(stdin: bytes) -> "IO[bytes]":
    """A file to read a command's standard input from."""
    if not stdin:
        return open(os.devnull, "rb")
    import tempfile  # seldom needed, and every fork would copy it

    file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - the caller closes it
    view = memoryview(stdin)
    while view:
        view = view[file.write(view) :]
    file.seek(0)
    return file


def pump(command: Running) -> bool:
    """Move a chunk from the pipe to the capture; False when there is nothing (left) to read."""
    try:
        data = os.read(command.pipe, CHUNK)
    except BlockingIOError:
        return False
    command.capture.feed(data)
    return bool(data)


def end(pids: "set[int]", mark: bytes) -> None:
    """Kill commands: their process groups, all their descendants and every stray that carries the mark."""
    family = set()  # type: set[int]
    for _ in range(10):  # stopped first: a dead parent's children could not be told from others
        found = strays(pids, mark) - family
        if not found:
            break
        family |= found
        send_signal(os.kill, found, signal.SIGSTOP)
    send_signal(os.killpg, pids, signal.SIGKILL)
    send_signal(os.kill, family, signal.SIGKILL)


def send_signal(send: "Callable[[int, int], None]", pids: "set[int]", number: int) -> None:
    for pid in pids:
        try:
            send(pid, number)
        except OSError:
            pass  # gone, or not ours


def strays(pids: "set[int]", mark: bytes) -> "set[int]":
    """The living processes among these, below them and below any that carries the mark."""
    parents = {}
    family = set(pids)
    for name in os.listdir("/proc") if os.path.isdir("/proc/self") else ():
        if name.isdigit() and int(name) != os.getpid():
            try:
                with open("/proc/%s/stat" % name, "rb") as file:
                    state, parent = file.read().rpartition(b")")[2].split()[:2]
                if state in (b"Z", b"X"):
                    continue
                parents[int(name)] = int(parent)
                with open("/proc/%s/environ" % name, "rb") as file:
                    if any(entry.startswith(mark) for entry in file.read().split(b"\0")):
                        family.add(int(name))
            except OSError:
                pass  # gone, or not ours
    known = 0
    while known != len(family):
        known = len(family)
        family.update(pid for pid, parent in parents.items() if parent in family)
    return family.intersection(parents)


def describe(error: Exception) -> str:
    """One line for the host: the file and what is the matter with it."""
    if isinstance(error, MemoryError):
        return "not enough memory"
    if isinstance(error, LookupError):
        return "the request lacks %s" % error
    if not isinstance(error, OSError):
        return str(error)
    name = error.filename or "sandbox"
    reason = "is a directory" if error.errno == errno.EISDIR else error.strerror or str(error)
    return "%s: %s" % (name.decode("utf-8", "replace") if isinstance(name, bytes) else name, reason)


def close_to_commands() -> None:
    """Let no command of the same user read this process or write to it, where this Python can ask for that."""
    try:
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    except (ImportError, OSError, AttributeError):
        pass  # a Python without ctypes, or no Linux


def main(workdir: str, env: "dict[str, str]", lifetime: "float | None" = None, floor_bytes: float = 0) -> None:
    """Serve over stdin and stdout, in an image that holds a Python."""
    source, sink = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    close_to_commands()
    env = dict(os.environ, **env)
    Guest(source, sink, workdir, env, lifetime=lifetime, floor_bytes=floor_bytes).serve()
