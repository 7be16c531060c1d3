"""The one process inside every sandbox: runs commands and moves files for the host.

Standard library only, Python 3.6 or newer, one file: it is handed as text to whatever
Python the image holds. The host speaks to it over one stream of frames:

    frame  := header length (4 bytes), body length (4 bytes), header (JSON), body (bytes)
    host   -> {"id", "op": "run",   "run": [argv] | "script", "cwd", "env", "timeout", "cap"}  body: stdin
              {"id", "op": "read",  "path"}
              {"id", "op": "write", "path"}                                                   body: the data
              {"id", "op": "changed"}        is anything different from the base? (overlay only)
    guest  -> {"id", "ok": true, ...} body: output or data;  {"id", "error": "why"}

Guarantees: several commands run at a time; a command ends when its first process does,
so a daemon that keeps stdout open holds up nothing; on a time-out everything that the
command started is killed, also what called setsid; output is capped here, before it
leaves. The stream is the life line: when it ends, in the middle of a command too, the
guest exits, and a sandbox whose first process it is goes with it.
"""

import errno
import json
import os
import select
import signal
import struct
import subprocess
import time

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing itself would be loaded in every container
    from typing import IO, Any

HEAD = struct.Struct(">II")
CHUNK = 1 << 16
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
        self.running: "dict[int, Running]" = {}  # by pid
        self.buffer = bytearray()
        self.wake, waker = os.pipe()
        for end in (self.wake, waker):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(waker)
        signal.signal(signal.SIGCHLD, lambda *_: None)
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
        return float(max(0.0, nearest - time.monotonic()) * 1000 + 1)

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
            except OSError as error:
                self.send({"id": request["id"], "error": describe(error)})

    def send(self, header: "dict[str, Any]", body: bytes = b"") -> None:
        text = json.dumps(header).encode()
        view = memoryview(HEAD.pack(len(text), len(body)) + text + body)
        while view:
            try:
                view = view[os.write(self.sink, view) :]
            except BlockingIOError:
                select.select([], [self.sink], [])

    def path(self, path: str) -> str:
        return os.path.join(self.workdir, path)

    def on_run(self, request: "dict[str, Any]", stdin: bytes) -> None:
        run = request["run"]
        env = dict(self.env, **request["env"])
        env[MARK] = str(request["id"])
        with spool(stdin) as given:
            try:
                process = subprocess.Popen(
                    ["/bin/sh", "-c", run] if isinstance(run, str) else run,
                    stdin=given,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    cwd=self.path(request["cwd"] or "."),
                    env=env,
                    start_new_session=True,
                    bufsize=0,
                )
            except OSError as error:
                self.answer_run(request["id"], 127, (describe(error) + "\n").encode())
                return
        command = Running(request, process)
        os.set_blocking(command.pipe, False)
        self.running[process.pid] = command
        self.poll.register(command.pipe, select.POLLIN)

    def on_read(self, request: "dict[str, Any]", _: bytes) -> None:
        with open(self.path(request["path"]), "rb") as file:
            data = file.read()
        self.send({"id": request["id"], "ok": True}, data)

    def on_write(self, request: "dict[str, Any]", data: bytes) -> None:
        path = self.path(request["path"])
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)
        self.send({"id": request["id"], "ok": True})

    def on_changed(self, request: "dict[str, Any]", _: bytes) -> None:
        """Anything copied up into the overlay? Its own marks at the top do not count."""
        with os.scandir(self.upper) as entries:
            changed = any(True for _ in entries)
        self.send({"id": request["id"], "ok": True, "changed": changed})

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
                end(pid, "%s=%d" % (MARK, command.id))


def spool(stdin: bytes) -> "IO[bytes]":
    """A file to read a command's standard input from."""
    if not stdin:
        return open(os.devnull, "rb")
    import tempfile  # seldom needed, and every fork would copy it

    file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    file.write(stdin)
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


def end(pid: int, mark: str) -> None:
    """Kill a command's process group and every stray that carries its mark."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except OSError:
        pass
    me = str(os.getpid())
    for name in os.listdir("/proc") if os.path.isdir("/proc") else ():
        if name.isdigit() and name != me:
            try:
                with open("/proc/%s/environ" % name, "rb") as file:
                    if mark.encode() in file.read().split(b"\0"):
                        os.kill(int(name), signal.SIGKILL)
            except OSError:
                pass  # gone, or not ours


def describe(error: OSError) -> str:
    reason = os.strerror(error.errno) if error.errno else str(error)
    if error.errno == errno.EISDIR:
        reason = "is a directory"
    return "%s: %s" % (error.filename or "sandbox", reason)


def main(workdir: str, env: "dict[str, str]") -> None:
    """Serve over stdin and stdout, in an image that holds a Python."""
    source, sink = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    Guest(source, sink, workdir, dict(os.environ, **env)).serve()
