"""The guest: the one process in every sandbox that runs commands and reads and writes files for the host.

Standard library only, Python 3.6 or newer, one file: its text is passed to the Python that the image holds. The host
speaks to it over one stream of frames:

    frame  := header length (4 bytes), body length (4 bytes), header (JSON), body (bytes)
    host   -> {"id", "op": "run",   "run": [argv] | "script", "cwd", "env", "timeout", "cap", "session"}  body: stdin
                 and perhaps "keep": a folder for files of the runner, whose times stay as they were
              {"id", "op": "read",  "path"}
              {"id", "op": "write", "path"}                                                   body: the data
              {"id", "op": "changed"}        does anything differ from the base? (overlay only)
              {"id", "op": "quiet"}          kill all processes but the guest
              {"id", "op": "survey", "size"} which files are larger, or cannot be read? Made ready for a patch
              {"id", "op": "peek",  "known", "overlay", "size", and the fields of "run"}      body: stdin
                                             a patch, if any file has changed since `known`; nothing is made ready
    guest  -> {"id", "ok": true, ...} body: output or data;  {"id", "error": "why"}
              {"id": 0, "ok": true}          ready, its first frame; with "unfiltered": "why" if no calls are denied
              {"id": -1, "bye": "why"}       it exits on its own, its last frame

Guarantees: several commands run at a time; a command ends when its first process does, so a background process that
keeps stdout open delays nothing; on a time-out every process that the command started is killed, also one that called
setsid; output is capped here, before it is sent; every request gets an answer, and no request and no file content ends
the guest. The stream is the life line: when it ends, also while a command runs, the guest exits, and a sandbox whose
first process it is ends with it. The guest also exits when its lifetime is over, even if the stream is still open.

As the first process of a PID namespace it ignores every signal from inside, and with the filter of `syscall_filter` no
command can lower its limits or its priority. As an ordinary process (a sandbox without isolation) it has neither
protection against its own commands. When memory runs out, the kernel is told to end commands before the guest; it may
still end the guest where many small processes use up the memory of a sandbox.

Scripts of one session follow one another as in one shell, although no shell stays: at its end each script records its
folder and its exported variables, and the next starts with them. Shell options, functions, unexported variables and
the umask are not carried over. A script that is killed, calls exec or sets its own trap on EXIT leaves its session as
it was; so does an argument vector, which only starts in the session's state. Of two scripts at the same time the last
to end decides. If the session's folder is gone, scripts end with status 127 and a message; one with a `cwd` that
exists still runs.
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
if TYPE_CHECKING:  # importing typing would cost memory in every container
    from typing import IO, Any, Callable

HEAD = struct.Struct(">II")
CHUNK = 1 << 16
READ_CAP = 64 << 20  # bytes of one file; guest and host each hold several copies of it
LONGEST_POLL = 3600.0
DISK_SECONDS = 0.5  # between two checks of the disk
BYE_SECONDS = 1.0  # for sending the last frame
SESSION_CAP = 8 << 20  # bytes of a session's state; more than an environment can have
MARK = "SANDBOX_COMMAND"  # a variable of all processes that a command starts, by which stray ones are found
NEARLY_FULL = b"\n[killed: the disk of this machine is nearly full; what is not needed must be removed]\n"
SURVEY_SECONDS = 10.0
SURVEY_CAP = 500  # names in an answer
CLOCK = 5  # CLOCK_REALTIME_COARSE of Linux: the clock with which the kernel stamps files
CLOCK_SECONDS = 0.05  # longer than it takes to move on
READ_BY_GIT = (b".gitignore", b".gitattributes", b".gitmodules")
READ_IN_GIT_FOLDER = (b"HEAD", b"config", b"config.worktree", b"commondir", b"packed-refs")
MOST_LINKS = 10  # from one ref to the next
SPOOL_FOLDERS = ("/tmp", "/var/tmp", ".")
OOM_SCORE = b"500"  # of commands; the guest keeps its own
HIGHEST_FD = 256  # above all descriptors that a guest inherits
PR_SET_DUMPABLE = 4
PF_KTHREAD = 0x00200000  # in the flags of /proc/PID/stat: a thread of the kernel, which has no environment
# Works in dash, bash and busybox. The exit status stays, for the trap does not call exit. The descriptor is opened by
# its path, which works for any number, and appended to, for the script may have forbidden to overwrite files.
ON_EXIT = (
    'trap \'{ set +ex; } 2>/dev/null; { { pwd || echo "$PWD"; } && printf "\\0" && '
    "{ command -p cat /proc/self/environ || cat /proc/self/environ || env -0; } && echo .; } "
    ">>%s 2>/dev/null' EXIT\n"
)


class Capture:
    """Keeps the head and the tail of a stream of any length, together `cap` bytes."""

    def __init__(self, cap: int) -> None:
        self.head_cap = cap // 2
        self.keep = cap - self.head_cap
        self.head = bytearray()
        self.tail = bytearray()
        self.seen = 0

    def feed(self, data: bytes) -> None:
        self.seen += len(data)
        free = self.head_cap - len(self.head)
        if free > 0:
            try:
                self.head += data[:free]
            except MemoryError:
                self.head_cap = len(self.head)
            else:
                data = data[free:]
        try:
            self.tail += data
            if len(self.tail) > 2 * self.keep + CHUNK:
                del self.tail[: len(self.tail) - self.keep]
        except MemoryError:  # from now on it keeps a short tail
            self.keep = min(self.keep, CHUNK)
            self.tail = self.tail[-self.keep :]

    def close(self) -> "tuple[bytes, int]":
        """The bytes kept, and how many were dropped from the middle."""
        tail = self.tail[-self.keep :] if self.keep else bytearray()
        dropped = self.seen - len(self.head) - len(tail)
        if not dropped:
            return bytes(self.head + tail), 0
        notice = ("\n[%d bytes dropped here]\n" % dropped).encode()
        return bytes(self.head) + notice + bytes(tail), dropped


class SessionRecord:
    """A pipe into which a script writes, at its end, the state of its session."""

    def __init__(self, session: str) -> None:
        self.session = session
        self.reader, writer = os.pipe()
        os.set_blocking(self.reader, False)
        self.writer = fcntl.fcntl(writer, fcntl.F_DUPFD_CLOEXEC, 100)  # scripts take low numbers for themselves
        os.close(writer)
        self.written = bytearray()

    def started(self) -> None:
        """Leave the end for writing to the script."""
        os.close(self.writer)
        self.writer = -1

    def feed(self, data: bytes) -> None:
        if len(self.written) < SESSION_CAP:
            self.written += data

    def close(self) -> None:
        os.close(self.reader)
        if self.writer >= 0:
            self.started()


def parse_session(record: bytes) -> "tuple[bytes, dict[bytes, bytes]] | None":
    """The folder and the exported variables that a script recorded; None if the record is empty or incomplete."""
    cwd, *entries = record.split(b"\0")
    if not cwd.startswith(b"/") or not entries or entries.pop() != b".\n":
        return None
    pairs = (entry.partition(b"=") for entry in entries)
    # Not the script's own: the mark of its processes, and variables that shells keep for themselves.
    left_out = (encode(MARK), b"SHLVL", b"_")
    return cwd[:-1], {name: value for name, equals, value in pairs if name and equals and name not in left_out}


class KeptTimes:
    """The times of a folder, which a command of the runner's own changes and gives back, where this process may."""

    def __init__(self, folder: str) -> None:
        self.folder = encode(folder)
        try:
            found = os.stat(self.folder)
            self.times = (found.st_atime_ns, found.st_mtime_ns)
        except OSError:
            self.times = (0, 0)

    def restore(self) -> None:
        try:
            if any(self.times):
                os.utime(self.folder, ns=self.times)
        except OSError:
            pass  # it belongs to another user


class Disturbing(Exception):
    """A patch cannot be taken without a change of what is there."""


class RunningCommand:
    """A command that has started and has not ended."""

    def __init__(
        self,
        number: int,
        process: "subprocess.Popen[bytes]",
        capture: Capture,
        timeout: float,
        session: "SessionRecord | None",
        more: "dict[str, Any]",
        keep: "KeptTimes | None",
    ) -> None:
        self.id = number
        self.more = more  # of the header of its answer
        self.keep = keep
        self.process = process
        self.capture = capture
        self.began = time.monotonic()
        self.deadline = self.began + timeout
        self.session = session
        self.pipes = {}  # type: dict[int, Callable[[bytes], None]]
        if process.stdout:
            self.pipes[process.stdout.fileno()] = capture.feed
        if session:
            self.pipes[session.reader] = session.feed
        self.timed_out = False
        self.notice = b""  # why the guest killed it, appended to its output


class Guest:
    """Serves one host over a pair of file descriptors until the stream ends, or `lifetime` seconds are over.

    With `floor_bytes` it watches the disk, where nothing else limits what is written: while less than that is free,
    and less than half of what was free at the start, every command that runs longer than half a second is killed. It
    measures the disk of the machine, which another sandbox may have filled. `unfiltered` is why system calls are not
    filtered, empty if they are. `oom_score` is the descriptor of `open_oom_score`.
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
        unfiltered: str = "",
        oom_score: int = -1,
    ) -> None:
        self.unfiltered, self.oom_score = unfiltered, oom_score
        self.source, self.sink, self.workdir, self.upper = source, sink, workdir, upper
        self.lifetime = float("inf") if lifetime is None else lifetime
        self.ends = time.monotonic() + self.lifetime
        self.floor = floor_bytes
        self.next_check = 0.0  # of the disk
        self.began = time.time()
        self.start = (encode(workdir), {encode(name): encode(value) for name, value in env.items()})
        self.sessions: "dict[str | None, tuple[bytes, dict[bytes, bytes]]]" = {}  # folder and exported variables
        self.name = os.urandom(8).hex()  # unique, for without isolation guests see each other's processes
        self.running: "dict[int, RunningCommand]" = {}  # by pid
        self.buffer = bytearray()
        self.null = os.open(os.devnull, os.O_RDONLY)  # commands that are root may replace it by anything
        self.wake, waker = os.pipe()
        for end in (self.wake, waker, sink):
            os.set_blocking(end, False)
        for fd in range(3, HIGHEST_FD):  # commands inherit no descriptor
            try:
                os.set_inheritable(fd, False)
            except OSError:
                pass  # not open
        signal.set_wakeup_fd(waker)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # with Python's handler the signal could reach a first process
        self.poll = select.poll()
        self.poll.register(source, select.POLLIN)
        self.poll.register(self.wake, select.POLLIN)

    def serve(self) -> None:
        if self.floor:
            self.floor = min(self.floor, free(self.workdir) / 2)
        ready = {"id": 0, "ok": True}  # type: dict[str, Any]
        self.send(dict(ready, unfiltered=self.unfiltered) if self.unfiltered else ready)
        while time.monotonic() < self.ends:
            for fd, _ in self.poll.poll(self.poll_timeout()):
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
            self.kill_late()
            self.watch_disk()
        self.kill_all()
        self.send({"id": -1, "bye": "its lifetime of %g s is over" % self.lifetime})

    def poll_timeout(self) -> float:
        """Milliseconds until the next deadline."""
        due = min([self.ends] + [command.deadline for command in self.running.values()])
        if self.running and self.floor:
            due = min(due, self.next_check)
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
            except Exception as error:  # from the system, a NUL byte, a missing or malformed field, no memory
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
        """The environment entry of a command's processes; without a number, the start that all commands share."""
        return encode("%s=%s." % (MARK, self.name) + ("" if number is None else "%d." % number))

    def on_run(self, request: "dict[str, Any]", stdin: bytes, more: "dict[str, Any] | None" = None) -> None:
        keep = KeptTimes(request["keep"]) if "keep" in request else None
        run, session, number = request["run"], request.get("session"), int(request["id"])
        timeout, capture = float(request["timeout"]), Capture(int(request["cap"]))
        cwd, base = self.sessions.get(session, self.start)
        env = dict(base)
        if request["cwd"]:
            cwd = os.path.join(cwd, encode(request["cwd"]))
        if session is not None:  # a shell follows the names of folders, through links and back
            env[b"PWD"] = cwd = os.path.normpath(cwd)
        env.update((encode(name), encode(value)) for name, value in request["env"].items())
        name, _, value = self.mark(number).partition(b"=")
        env[name] = value
        state = None
        try:
            if isinstance(run, str):
                if session is not None:
                    state = SessionRecord(session)
                    os.set_inheritable(state.writer, True)
                    run = ON_EXIT % ("/dev/fd/%d" % state.writer) + run
                run = ["/bin/sh", "-c", run]
            with spool(stdin, self.null, request.get("keep")) as source:
                self.set_oom_score(OOM_SCORE)  # inherited by the command
                process = subprocess.Popen(
                    [encode(word) for word in run],
                    stdin=source,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    cwd=cwd,
                    env=env,
                    start_new_session=True,
                    bufsize=0,
                    close_fds=False,  # none is inheritable; closing them needs a /proc/self, which may be unreadable
                )
        except Exception as error:
            if state:
                state.close()
            self.answer_run(number, 127, encode(describe(error) + "\n"), more=more)
            return
        finally:
            self.set_oom_score(b"0")
        if state:
            state.started()
        command = RunningCommand(number, process, capture, timeout, state, more or {}, keep)
        self.running[process.pid] = command
        for pipe in command.pipes:
            os.set_blocking(pipe, False)
            self.poll.register(pipe, select.POLLIN)

    def set_oom_score(self, score: bytes) -> None:
        if self.oom_score >= 0:
            try:
                os.pwrite(self.oom_score, score, 0)
            except OSError:
                pass  # it is lower than this process may have it

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
        """Tell whether anything was copied up into the overlay."""
        with os.scandir(self.upper) as entries:
            changed = any(True for _ in entries)
        self.send({"id": request["id"], "ok": True, "changed": changed})

    def on_survey(self, request: "dict[str, Any]", _: bytes) -> None:
        """Find files that a patch has to leave out, and remove what would keep git from taking one.

        The answer has the files larger than `size` bytes, largest first, what cannot be read, the folders that are
        repositories of their own, and whether the whole tree was seen within some seconds.
        """
        self.send({"id": request["id"], "ok": True, **self.surveyed(int(request["size"]), mend=True)})

    def surveyed(self, size: int, mend: bool) -> "dict[str, Any]":
        """What `on_survey` answers. Raises `Disturbing` for what would have to be mended, unless it may be."""
        set_aside("/etc/ld.so.preload", self.began, mend)
        for place in ("/dev", "/run", "/tmp", self.workdir):
            open_way(place, mend)
        restore_null(os.devnull, self.null, mend)
        large, unreadable, nested, complete = survey(encode(self.workdir), size, mend)
        return {
            "large": [(size, decode(path)) for size, path in sorted(large, reverse=True)[:SURVEY_CAP]],
            "unreadable": [decode(path) for path in unreadable[:SURVEY_CAP]],
            "nested": [decode(path) for path in sorted(nested)[:SURVEY_CAP]],
            "complete": complete and len(large) <= SURVEY_CAP,
        }

    def on_peek(self, request: "dict[str, Any]", stdin: bytes) -> None:
        """Take a patch in passing: nothing is ended, and nothing but the times of access changes.

        The answer has the `state` of the files, a number to give as `known` the next time, or null where changes could
        be missed. `changed` is false if the state is as known. Else the answer is that of the command, which takes an
        ordinary patch; or, where the patch is no ordinary one, it is what `on_survey` found.
        """
        top = self.upper if request["overlay"] else os.open(encode(self.workdir), os.O_RDONLY | os.O_DIRECTORY)
        try:
            state = state_of(top)
        finally:
            if top != self.upper:
                os.close(top)
        more = {"state": state, "changed": state is None or state != request["known"]}
        if not more["changed"]:
            self.send({"id": request["id"], "ok": True, **more})
            return
        found = self.surveyed(int(request["size"]), mend=False)
        if found["large"] or found["unreadable"] or found["nested"] or not found["complete"]:
            self.send({"id": request["id"], "ok": True, "survey": found, **more})
            return
        self.on_run(request, stdin, more)

    def on_quiet(self, request: "dict[str, Any]", _: bytes) -> None:
        if os.getpid() == 1:
            deadline = time.monotonic() + 5.0
            try:
                while time.monotonic() < deadline:
                    os.kill(-1, signal.SIGKILL)  # all processes but this one, in one step, so that no fork escapes
                    self.reap()
                    time.sleep(0.01)
            except OSError:
                pass  # no process is left
        else:
            self.kill_all()
        self.send({"id": request["id"], "ok": True})

    def drain(self, pipe: int) -> None:
        for command in self.running.values():  # none has this pipe if it was finished in the same round
            if pipe in command.pipes and not pump(pipe, command.pipes[pipe]):
                self.poll.unregister(pipe)  # closed or all read: only the end of its process matters now

    def reap(self) -> None:
        """Collect every child that has ended, also orphaned processes, which become children of a first process."""
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

    def finish(self, command: RunningCommand, returncode: int) -> None:
        # Read what was written just before the end, but no more than a pipe holds: a background process may go on
        # writing for ever.
        for pipe, feed in command.pipes.items():
            for _ in range(17):
                if not pump(pipe, feed):
                    break
            try:
                self.poll.unregister(pipe)
            except KeyError:
                pass
        command.process.returncode = returncode
        if command.process.stdout:
            command.process.stdout.close()
        if command.session:
            state = parse_session(bytes(command.session.written)) if returncode >= 0 and not command.timed_out else None
            if state:
                self.sessions[command.session.session] = state
            command.session.close()
        if command.keep:
            command.keep.restore()
        seconds = time.monotonic() - command.began
        try:
            command.capture.feed(command.notice)
            output, dropped = command.capture.close()
            self.answer_run(command.id, returncode, output, dropped, command.timed_out, seconds, command.more)
        except MemoryError as error:  # nothing was sent: a frame is put together first
            self.send({"id": command.id, "error": describe(error)})

    def answer_run(
        self,
        number: int,
        returncode: int,
        output: bytes,
        dropped: int = 0,
        late: bool = False,
        seconds: float = 0.0,
        more: "dict[str, Any] | None" = None,
    ) -> None:
        header = {"id": number, "ok": True, "rc": returncode, "dropped": dropped, "late": late, "s": seconds}
        self.send({**header, **(more or {})}, output)

    def kill_late(self) -> None:
        """Kill the commands whose time is over."""
        now = time.monotonic()
        for pid, command in self.running.items():
            if now >= command.deadline:
                command.timed_out = True
                command.deadline = now + 1.0  # once more, in case a process has escaped
                kill_tree({pid}, self.mark(command.id))

    def watch_disk(self) -> None:
        """Kill all commands if the disk is nearly full."""
        now = time.monotonic()
        if self.running and self.floor and now >= self.next_check:
            self.next_check = now + DISK_SECONDS
            if free(self.workdir) < self.floor:
                for command in self.running.values():
                    command.notice = NEARLY_FULL
                self.kill_all()

    def kill_all(self) -> None:
        """Kill all processes that commands started. For a guest that is not the first process of its namespace."""
        kill_tree(set(self.running), self.mark())


def encode(text: str) -> bytes:
    """The bytes that the host means, independent of the locale of the image."""
    return text.encode("utf-8", "surrogateescape")


def decode(path: bytes) -> str:
    return path.decode("utf-8", "surrogateescape")


def state_of(top: int) -> "int | None":
    """A number that stands for all files below an open folder: it is another one after any change of one of them.

    Zero for an empty folder. The `.git` at the top does not count. None where a change could be missed: files are being
    written, or there is a repository in another folder, whose git folder may lie elsewhere.
    """
    ends = time.monotonic() + CLOCK_SECONDS
    while time.monotonic() < ends:
        tick = coarse_time()
        state, newest = 0, 0.0
        folders = [b"."]
        while folders:
            place = folders.pop()
            try:
                folder = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=top)
            except PermissionError:
                continue  # no patch can hold what is in it; that it may be entered again changes its mode
            except OSError:
                newest = tick  # removed or replaced meanwhile: look again
                continue
            try:
                for name in map(os.fsencode, os.listdir(folder)):
                    found = os.stat(name, dir_fd=folder, follow_symlinks=False)
                    if name == b".git":
                        if place != b".":
                            return None
                        continue
                    path = os.path.join(place, name)
                    key = (path, found.st_ino, found.st_mode)
                    if stat.S_ISDIR(found.st_mode):
                        folders.append(path)
                    else:
                        newest = max(newest, found.st_ctime)
                        key += (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_rdev)  # type: ignore
                    state += hash(key)
            except FileNotFoundError:
                newest = tick
            finally:
                os.close(folder)
        if newest < tick:
            return state & (2**60 - 1)
        while coarse_time() <= newest and time.monotonic() < ends:
            time.sleep(0.001)  # a change within the same tick of the clock would leave the same times
    return None


def coarse_time() -> float:
    """The time with which the kernel would stamp a file now."""
    try:
        return time.clock_gettime(CLOCK)
    except (OSError, AttributeError):
        return time.time() - CLOCK_SECONDS / 2


def set_aside(path: str, since: float, mend: bool = True) -> None:
    """Rename a file that was made or changed since then. For one that would be loaded into every program."""
    try:
        # The kernel stamps files with the time of its last tick, which may be before the guest's own look at the clock.
        if os.lstat(path).st_ctime >= since - 1.0:
            undisturbed(mend, path)
            move_away(path)
    except OSError:
        pass  # there is none, or no command could have made it


def undisturbed(mend: bool, path: "str | bytes") -> None:
    """Raises `Disturbing` where `path` may not be mended."""
    if not mend:
        raise Disturbing("%s would have to be changed first" % (path if isinstance(path, str) else decode(path)))


def open_way(path: str, mend: bool = True) -> None:
    """Let this user enter a folder and all those above it, where its commands have forbidden that."""
    above = os.path.dirname(path)
    if above != path:
        open_way(above, mend)
    try:
        mode = stat.S_IMODE(os.stat(path).st_mode)
        if not os.access(path, os.R_OK | os.X_OK):
            undisturbed(mend, path)
            os.chmod(path, mode | 0o500)
    except OSError:
        pass  # it belongs to another user, or is none


def restore_null(path: str, null: int, mend: bool = True) -> None:
    """Put an empty file in the place of the null device, if commands took it away: git does not start without it."""
    try:
        if os.path.lexists(path):
            found, device = os.lstat(path), os.fstat(null)
            if stat.S_ISCHR(found.st_mode) and found.st_rdev == device.st_rdev:
                return
            undisturbed(mend, path)
            move_away(path)
        undisturbed(mend, path)
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except OSError:
        pass  # no command could have made it


def move_away(path: str) -> None:
    """Rename a file to a new name, also in a folder that its owner made read-only."""
    folder = os.path.dirname(path)
    os.chmod(folder, stat.S_IMODE(os.stat(folder).st_mode) | 0o300)
    os.rename(path, "%s.%s" % (path, os.urandom(8).hex()))


def survey(
    top: bytes, size: int, mend: bool = True
) -> "tuple[list[tuple[int, bytes]], list[bytes], list[bytes], bool]":
    """The files below `top` that are larger than `size`, what cannot be read, the folders with a `.git` of their own,
    and whether all was seen in time.

    `top` itself is made a readable folder, if this process may. A pipe with a name that git reads by itself is
    removed, also in the git folders of nested repositories: git would wait for ever. Raises `Disturbing` where any of
    this would be needed and it may not `mend`.
    """
    large, unreadable, nested = [], [], []
    try:
        if not os.path.isdir(top):
            undisturbed(mend, top)
            if os.path.lexists(top):
                os.unlink(top)
            os.makedirs(top)
        mode = stat.S_IMODE(os.stat(top).st_mode)
        if mode & 0o700 != 0o700:
            undisturbed(mend, top)
            os.chmod(top, mode | 0o700)
    except OSError:
        pass  # it belongs to another user, as in an image whose commands do not run as root
    ends = time.monotonic() + SURVEY_SECONDS
    folders = [b""]
    while folders and time.monotonic() < ends:
        place = folders.pop()
        try:
            entries = list(os.scandir(os.path.join(top, place)))
        except OSError as error:
            if error.errno != errno.ENOENT:
                unreadable.append(place)
            continue
        for entry in entries:
            path = os.path.join(place, entry.name)
            if place and entry.name == b".git":
                nested.append(place)
            try:
                if entry.name in READ_BY_GIT:
                    remove_pipe(entry.path, mend)
                elif entry.name == b".git" and place:
                    unblock(entry.path, mend)
                if entry.is_symlink():
                    continue
                if entry.is_dir(follow_symlinks=False):
                    if entry.name != b".git":
                        folders.append(path)
                    continue
                found = entry.stat(follow_symlinks=False)
                if not stat.S_ISREG(found.st_mode):
                    continue
                if found.st_size > size:
                    large.append((found.st_size, path))
                elif os.getuid() and not found.st_mode & 0o444:
                    unreadable.append(path)
            except OSError:
                pass  # its path is too long for the system, and for git
    return large, unreadable, nested, not folders


def unblock(git: bytes, mend: bool = True) -> None:
    """Remove the pipes that git would read to learn the commit of a nested repository.

    `git` is its git folder, or a file or link that leads there.
    """
    if os.path.isfile(git):
        git = os.path.join(os.path.dirname(git), pointer(git, b"gitdir:"))
    common = os.path.join(git, pointer(os.path.join(git, b"commondir"), b""))
    for each in READ_IN_GIT_FOLDER:
        remove_pipe(os.path.join(git, each), mend)
        remove_pipe(os.path.join(common, each), mend)
    name = b"HEAD"
    for _ in range(MOST_LINKS):
        name = pointer(os.path.join(git, name), b"ref:") or pointer(os.path.join(common, name), b"ref:")
        if not name:
            break
        remove_pipe(os.path.join(git, name), mend)
        remove_pipe(os.path.join(common, name), mend)


def pointer(path: bytes, prefix: bytes) -> bytes:
    """The path that a small file holds after the prefix; empty if it holds none."""
    try:
        with regular(path, "rb", os.O_RDONLY) as file:
            text = file.read(CHUNK)
    except OSError:
        return b""
    return text[len(prefix) :].strip() if text.startswith(prefix) and b"\0" not in text else b""


def remove_pipe(path: bytes, mend: bool = True) -> None:
    """Remove what is there, or is linked there, if it is neither a file nor a folder."""
    try:
        kind = os.stat(path).st_mode
        if not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):
            undisturbed(mend, path)
            os.unlink(path)
    except OSError:
        pass  # there is none


def free(path: str) -> float:
    """Bytes that can still be written on the disk of `path`; infinite if that cannot be known."""
    try:
        found = os.statvfs(encode(path))
    except OSError:
        return float("inf")
    return float(found.f_bavail * found.f_frsize)


def regular(path: bytes, mode: str, flags: int) -> "IO[bytes]":
    """Open a regular file and nothing else: a pipe or a device could block every other request."""
    fd = os.open(path, flags | os.O_NONBLOCK, 0o666)
    kind = os.fstat(fd).st_mode
    if not stat.S_ISREG(kind):
        os.close(fd)
        raise OSError(errno.EISDIR if stat.S_ISDIR(kind) else errno.EINVAL, "is not a regular file", path)
    return os.fdopen(fd, mode)


def spool(stdin: bytes, null: int, first: "str | None" = None) -> "IO[bytes]":
    """A file from which a command reads its standard input. `null` is a descriptor of the null device.

    It is made in the folder `first` if there is one that can be written.

    `tempfile` is not used: commands may have changed it before it is imported.
    """
    if not stdin:
        return os.fdopen(os.dup(null), "rb", 0)
    failure = OSError(errno.ENOENT, "no folder for a command's standard input")
    for folder in (first, *SPOOL_FOLDERS) if first else SPOOL_FOLDERS:
        path = os.path.join(folder, ".stdin-" + os.urandom(8).hex())
        try:
            file = open(path, "xb+", buffering=0)  # noqa: SIM115 - the caller closes it
        except OSError as error:
            failure = error
            continue
        os.unlink(path)
        view = memoryview(stdin)
        try:
            while view:
                view = view[file.write(view) :]
        except OSError as error:
            file.close()
            failure = error
            continue
        file.seek(0)
        return file
    raise failure


def pump(pipe: int, feed: "Callable[[bytes], None]") -> bool:
    """Move a chunk from a pipe to where it is kept. Returns False if there was nothing to read."""
    try:
        data = os.read(pipe, CHUNK)
    except BlockingIOError:
        return False
    feed(data)
    return bool(data)


def kill_tree(pids: "set[int]", mark: bytes) -> None:
    """Kill commands: their process groups, all their descendants and every process that carries the mark."""
    tree = set()  # type: set[int]
    for _ in range(10):  # stopped first, for the children of a dead parent cannot be found
        found = process_tree(pids, mark) - tree
        if not found:
            break
        tree |= found
        send_signal(os.kill, found, signal.SIGSTOP)
    send_signal(os.killpg, pids, signal.SIGKILL)
    send_signal(os.kill, tree, signal.SIGKILL)


def send_signal(send: "Callable[[int, int], None]", pids: "set[int]", number: int) -> None:
    for pid in pids:
        try:
            send(pid, number)
        except OSError:
            pass  # it has ended, or belongs to another user


def process_tree(pids: "set[int]", mark: bytes) -> "set[int]":
    """The living processes among `pids` and those that carry the mark, and all descendants of either."""
    parents = {}
    tree = set(pids)
    for name in os.listdir("/proc") if os.path.isdir("/proc/self") else ():
        if name.isdigit() and int(name) != os.getpid():
            try:
                with open("/proc/%s/stat" % name, "rb") as file:
                    fields = file.read().rpartition(b")")[2].split()
                if fields[0] in (b"Z", b"X"):
                    continue
                parents[int(name)] = int(fields[1])
                kernel = int(fields[6]) & PF_KTHREAD
                if not kernel and any(entry.startswith(mark) for entry in environment(name).split(b"\0")):
                    tree.add(int(name))
            except OSError:
                pass  # it has ended, or belongs to another user
    known = 0
    while known != len(tree):
        known = len(tree)
        tree.update(pid for pid, parent in parents.items() if parent in tree)
    return tree.intersection(parents)


def environment(name: str) -> bytes:
    """The environment of a process; looked at again where it is empty, as it is for an instant during an exec."""
    for _ in range(10):
        with open("/proc/%s/environ" % name, "rb") as file:
            found = file.read()
        if found:
            return found
        time.sleep(0.001)
    return b""


def describe(error: Exception) -> str:
    """One line for the host: the file and its problem."""
    if isinstance(error, MemoryError):
        return "not enough memory"
    if isinstance(error, LookupError):
        return "the request lacks %s" % error
    if not isinstance(error, OSError):
        return str(error)
    name = error.filename or "sandbox"
    reason = "is a directory" if error.errno == errno.EISDIR else error.strerror or str(error)
    return "%s: %s" % (name.decode("utf-8", "replace") if isinstance(name, bytes) else name, reason)


def open_oom_score() -> int:
    """Open what says how soon this process is ended when memory runs out. Returns -1 where there is no such thing.

    It is opened before `close_to_commands`, after which it belongs to root.
    """
    try:
        return os.open("/proc/self/oom_score_adj", os.O_WRONLY)
    except OSError:
        return -1


def close_to_commands() -> None:
    """Keep commands of the same user from reading or changing this process, where this Python can ask for that."""
    try:
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    except (ImportError, OSError, AttributeError):
        pass  # a Python without ctypes, or no Linux


def main(
    workdir: str,
    env: "dict[str, str]",
    lifetime: "float | None" = None,
    floor_bytes: float = 0,
    defaults: "dict[str, str] | None" = None,
    restrict: "Callable[[], str]" = lambda: "it was not asked for",
) -> None:
    """Serve over stdin and stdout: the entry point in an image with Python.

    Commands get the variables of `defaults`, then those of the image, then those of `env`. `restrict` sets the filter
    of system calls and returns why it could not.
    """
    source, sink = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    oom_score = open_oom_score()
    close_to_commands()
    env = {**(defaults or {}), **os.environ, **env}
    Guest(source, sink, workdir, env, -1, lifetime, floor_bytes, restrict(), oom_score).serve()
