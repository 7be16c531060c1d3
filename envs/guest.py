"""The one process inside every sandbox: runs commands and moves files for the host.

Standard library only, Python 3.6 or newer, one file: it is handed as text to whatever
Python the image holds. The host speaks to it over one stream of frames:

    frame  := header length (4 bytes), body length (4 bytes), header (JSON), body (bytes)
    host   -> {"id", "op": "run",   "run": [argv] | "script", "cwd", "env", "timeout", "cap"}  body: stdin
              {"id", "op": "read",  "path"}
              {"id", "op": "write", "path"}                                                   body: the data
              {"id", "op": "changed"}        is anything different from the base? (overlay only)
              {"id", "op": "quiet"}          end all that runs
    guest  -> {"id", "ok": true, ...} body: output or data;  {"id", "error": "why"}

Guarantees: several commands run at a time; a command ends when its first process does,
so a daemon that keeps stdout open holds up nothing; on a time-out everything that the
command started is killed, also what called setsid; output is capped here, before it
leaves; whatever is asked, or found in the files, gets an answer and ends nothing. The
stream is the life line: when it ends, in the middle of a command too, the guest exits,
and a sandbox whose first process it is goes with it. As the first process it cannot be
killed or stopped from inside.
"""

import errno
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
# What a request can run into that is no fault of this file: the system says no, a NUL byte, no words, no memory.
FAULTS = (OSError, ValueError, LookupError, MemoryError)
MARK = "SANDBOX_COMMAND"  # in the environment of all that a command starts; how its strays are found


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


class Running:
    """A command under way."""

    def __init__(self, request: "dict[str, Any]", process: "subprocess.Popen[bytes]") -> None:
        self.id = request["id"]
        self.process = process
        self.pipe = process.stdout.fileno() if process.stdout else -1
        self.capture = Capture(request["cap"])
        self.began = time.monotonic()
        self.deadline = self.began + request["timeout"]
        self.timed_out = False


class Guest:
    """Serves one host over a pair of file descriptors until the stream ends."""

    def __init__(self, source: int, sink: int, workdir: str, env: "dict[str, str]", upper: int = -1) -> None:
        self.source, self.sink, self.workdir, self.env, self.upper = source, sink, workdir, env, upper
        self.name = os.urandom(8).hex()  # without isolation, guests see each other's processes
        self.running: "dict[int, Running]" = {}  # by pid
        self.buffer = bytearray()
        self.wake, waker = os.pipe()
        for end in (self.wake, waker):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(waker)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Python's own handler would let it through to a first process
        self.poll = select.poll()
        self.poll.register(source, select.POLLIN)
        self.poll.register(self.wake, select.POLLIN)

    def serve(self) -> None:
        self.send({"id": 0, "ok": True})  # ready
        while True:
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

    def patience(self) -> "float | None":
        if not self.running:
            return None
        nearest = min(command.deadline for command in self.running.values())
        return float(min(max(0.0, nearest - time.monotonic()), LONGEST_POLL) * 1000 + 1)

    def receive(self, data: bytes) -> None:
        self.buffer += data
        while len(self.buffer) >= HEAD.size:
            header, body = HEAD.unpack_from(self.buffer)
            end = HEAD.size + header + body
            if len(self.buffer) < end:
                return
            request = json.loads(bytes(self.buffer[HEAD.size : HEAD.size + header]).decode())
            content = bytes(self.buffer[HEAD.size + header : end])
            del self.buffer[:end]
            try:
                getattr(self, "on_" + request["op"])(request, content)
            except FAULTS as error:
                self.send({"id": request["id"], "error": describe(error)})

    def send(self, header: "dict[str, Any]", body: bytes = b"") -> None:
        text = json.dumps(header).encode()
        view = memoryview(HEAD.pack(len(text), len(body)) + text + body)
        while view:
            try:
                view = view[os.write(self.sink, view) :]
            except BlockingIOError:
                select.select([], [self.sink], [])

    def path(self, path: str) -> bytes:
        return encode(os.path.join(self.workdir, path))

    def mark(self, number: "int | None" = None) -> bytes:
        """What the environment of a command's processes holds; of every command's, without a number."""
        return encode("%s=%s." % (MARK, self.name) + ("" if number is None else "%d." % number))

    def on_run(self, request: "dict[str, Any]", stdin: bytes) -> None:
        run = request["run"]
        env = {encode(name): encode(value) for name, value in dict(self.env, **request["env"]).items()}
        name, _, value = self.mark(request["id"]).partition(b"=")
        env[name] = value
        try:
            with spool(stdin) as given:
                process = subprocess.Popen(
                    [encode(word) for word in (["/bin/sh", "-c", run] if isinstance(run, str) else run)],
                    stdin=given,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    cwd=self.path(request["cwd"] or "."),
                    env=env,
                    start_new_session=True,
                    bufsize=0,
                )
        except FAULTS as error:
            self.answer_run(request["id"], 127, encode(describe(error) + "\n"))
            return
        command = Running(request, process)
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

    def end_all(self) -> None:
        """Kill everything that any command left; for a guest that is not the first process of its own."""
        end(set(self.running), self.mark())


def encode(text: str) -> bytes:
    """As the host means it, whatever the locale of this image."""
    return text.encode("utf-8", "surrogateescape")


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
    if not isinstance(error, OSError):
        return "not enough memory" if isinstance(error, MemoryError) else str(error)
    name = error.filename or "sandbox"
    reason = "is a directory" if error.errno == errno.EISDIR else error.strerror or str(error)
    return "%s: %s" % (name.decode("utf-8", "replace") if isinstance(name, bytes) else name, reason)


def main(workdir: str, env: "dict[str, str]") -> None:
    """Serve over stdin and stdout, in an image that holds a Python."""
    source, sink = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    Guest(source, sink, workdir, dict(os.environ, **env)).serve()
