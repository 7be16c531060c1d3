"""A sandbox in an image without Python: every command is an `exec` of the engine, every file a tar archive.

The fallback where no guest can run. The container's first process is a `cat` that waits for the end of its standard
input; a `Channel` on that stream is the life line, as it is with a guest. Commands, files, time-outs, capped output
and sessions behave as in `envs.guest`, with these differences:

- each command costs an `exec` of the engine, which is slower in the sandbox and in the runner;
- arguments and variables must be UTF-8, else the command ends with status 127 and a message;
- an exit status from 129 to 192 is read as the signal that a shell reports by it;
- the engine reads and writes files: it may enter every folder, and it does not see what is mounted inside (/dev,
  /proc, a tmpfs);
- the runner keeps the lifetime; nothing inside reaps orphaned processes or watches the disk.

The image must hold `sh` and `cat`. Without `grep`, a time-out does not end processes that have left the command's
process tree (see `KILL_TREE`).
"""

from __future__ import annotations

import asyncio
import io
import os
import posixpath
import secrets
import shlex
import tarfile
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from typing import Any, TypeVar

from envs.channel import GRACE_SECONDS, Channel
from envs.diff import SMALLER_FILE, PatchSpec, Survey, take_patch
from envs.docker.engine import Engine, EngineAway, EngineRefused
from envs.docker.stream import STDOUT, frames
from envs.guest import MARK, ON_EXIT, READ_CAP, SESSION_CAP, SURVEY_CAP, Capture, encode, parse_session
from envs.offline import offline_environment
from envs.sandbox import (
    Command,
    Completed,
    FileProblem,
    Limits,
    SandboxError,
    SandboxLost,
    SandboxUnavailable,
    Snapshot,
)

__all__ = ["WARNING", "ExecSandbox"]

T = TypeVar("T")

WARNING = (  # follows the image's name
    "holds no Python 3, so each command is an exec of the engine, about 50 times slower than usual; "
    "install Python 3 in the image to avoid this"
)
# Runs the command of the arguments. Reads a secret word first, so that no output comes before the runner reads it.
# Prints its process number, then the output, then the word with the exit status: a background process may hold the
# stream open for ever, so the end of the stream is not the end of the output. No process inside knows the word. The
# standard error, kept as descriptor 3, carries the state of a session alone; the command has neither it nor 3.
RUN = """
read -r word || exit 1
exec 3>&2 2>&1
echo $$
problem=''
cd "$1" 2>/dev/null || { [ -e "$1" ] && problem='Not a directory' || problem='No such file or directory'; }
if [ "$problem" ]; then
    printf '%s: %s\\n' "$1" "$problem"
    status=127
else
    shift
    /bin/sh -c 'exec "$@" 3>&-' /bin/sh "$@"
    status=$?
fi
printf '%s %d\\n' "$word" "$status"
echo "$word" >&3
"""

# Kills process $1, its session, all their descendants and, with grep, all processes with the mark $2 and theirs. Stops
# them first, for the children of a dead parent cannot be found. Uses only the shell otherwise, which every image has.
KILL_TREE = """
top=$1 mark=$2 family=' '
for round in 1 2 3 4 5 6 7 8 9 10; do
    found=''
    grew=1
    while [ "$grew" ]; do
        grew=''
        for folder in /proc/[0-9]*; do
            pid=${folder#/proc/}
            case $family in *" $pid "*) continue ;; esac
            text=''
            while IFS= read -r line; do text="$text$line "; done 2>/dev/null < "$folder/stat" || continue
            set -- ${text##*)}
            case ${1:-Z} in Z|X) continue ;; esac
            mine=''
            case "$pid $4" in "$top "*|*" $top") mine=1 ;; esac
            case $family in *" $2 "*) mine=1 ;; esac
            # In the middle of an exec the environment reads as empty for an instant: it is looked at again.
            for again in 1 2 3 4 5; do
                [ "$mine" ] && break
                grep -q -F -e "$mark" "$folder/environ" 2>/dev/null && mine=1 && break
                line=''
                IFS= read -r line 2>/dev/null < "$folder/environ"
                [ "$line" ] && break
            done
            [ "$mine" ] || continue
            kill -STOP "$pid" 2>/dev/null
            family="$family$pid " grew=1 found=1
        done
    done
    [ "$found" ] || break
done
for pid in $family; do kill -KILL "$pid" 2>/dev/null; done
echo done
"""
# Removes pipes for which git would wait, then prints folders with a `.git` of their own, each ended by a zero byte, an
# empty name, and the size of each large file on a line before its name.
SURVEY = f"""
find . -type p \\( -path '*/.git/*' -o -name '.git[aim]*' \\) -exec rm -f {{}} +
find . -name .git ! -path ./.git -print0
printf '\\0'
find . -name .git -prune -o -type f -size +{SMALLER_FILE >> 10}k -exec stat -c %s {{}} \\; -print0
"""
SURVEY_SECONDS = 20.0
CHECK_SECONDS = 5.0  # between two checks whether the first process of a silent command was killed
DRAIN_SECONDS = 2.0  # for output written before a command was killed to arrive
LOST_SECONDS = 0.5  # within which the end of a container is known once its processes have ended
MOST_LINKS = 40
NOT_STARTED = -1
GONE = ("No such container", "No such exec instance", "is not running")  # parts of the engine's messages
PRELOADED = "/etc/ld.so.preload"  # names a library that would be loaded into every program
IS_DIRECTORY, IS_SPECIAL = 1 << 31, 0x0F280000  # in the engine's mode bits, which are those of Go


class ExecRefused(FileProblem):
    """The engine refused one request; the container lives on."""


class ExecSandbox:
    """A running container without Python. Made by `ExecSandbox.open`.

    `patch` is how its patch is taken, None without a base; `snapshot` takes a snapshot of the container.
    """

    def __init__(
        self,
        channel: Channel,
        engine: Engine,
        container: str,
        workdir: str,
        limits: Limits,
        patch: PatchSpec | None,
        snapshot: Callable[[], Awaitable[Snapshot]],
        env: Mapping[str, str],
    ) -> None:
        self._channel, self._engine, self._container = channel, engine, container
        self._workdir, self._limits, self._patch, self._take_snapshot = workdir, limits, patch, snapshot
        self._shell = patch.shell if patch else ("/bin/sh",)
        self._env = env
        self._user = (0, 0)
        self._name = secrets.token_hex(8)
        self._count = 0
        self._start: dict[str, str] = {}  # variables exported before anything has run
        self._sessions: dict[str | None, tuple[str, dict[str, str]]] = {}  # folder and exported variables
        loop = asyncio.get_running_loop()
        over = f"its lifetime of {limits.lifetime_seconds:g} s is over"
        self._end = loop.call_later(limits.lifetime_seconds, channel.abandon, over)
        channel.closed.add_done_callback(lambda _: self._end.cancel())

    @classmethod
    async def open(
        cls,
        channel: Channel,
        engine: Engine,
        container: str,
        *,
        workdir: str,
        limits: Limits,
        patch: PatchSpec | None,
        snapshot: Callable[[], Awaitable[Snapshot]],
        env: Mapping[str, str],
    ) -> ExecSandbox:
        """Open a sandbox on a container whose first process reads `channel`'s stream to its end.

        Raises `SandboxUnavailable` if the container cannot run a shell.
        """
        sandbox = cls(channel, engine, container, workdir, limits, patch, snapshot, env)
        probe = await sandbox.run(Command(("cat", "/proc/self/environ", "/proc/self/status"), cwd="/"))
        *entries, status = probe.output.split(b"\0")
        if probe.returncode or not entries:
            cause = probe.output.decode(errors="replace").strip()
            channel.abandon("no command runs in it")
            raise SandboxUnavailable(f"sandbox {channel.name} cannot run a shell and cat in its container: {cause}")
        pairs = (entry.decode().partition("=") for entry in entries if is_utf8(entry))
        image = {name: value for name, _, value in pairs if name != MARK}
        sandbox._start = {**offline_environment(limits.network), **image}
        fields = dict(line.split(b":", 1) for line in status.splitlines() if b":" in line)
        sandbox._user = int(fields[b"Uid"].split()[1]), int(fields[b"Gid"].split()[1])
        return sandbox

    # commands

    async def run(self, command: Command) -> Completed:
        """Run a command to its end. A command ends when its first process does."""
        return await self._run(command, ("/bin/sh",))

    async def _run(self, command: Command, shell: tuple[str, ...]) -> Completed:
        """Run a command by means of a shell that takes its output and its status."""
        began = time.monotonic()
        self._count += 1
        cwd, base = self._sessions.get(command.session, (self._workdir, self._start | dict(self._env)))
        cwd = posixpath.normpath(posixpath.join(cwd, command.cwd or ""))
        env = base | dict(command.env)
        unset = sorted(name for name in self._start.keys() - env.keys() if name.isidentifier())
        words = command.run
        if isinstance(words, str):
            prefix = ON_EXIT % "/proc/$PPID/fd/3" if command.session is not None else ""
            words = ("/bin/sh", "-c", prefix + words)
        mark = f"{MARK}={self._name}.{self._count}."
        wrapper = "".join(f"unset {shlex.quote(name)} 2>/dev/null\n" for name in unset) + RUN
        timeout = command.timeout or self._limits.command_seconds
        cap = self._limits.output_bytes if command.output_cap is None else command.output_cap
        stream = ExecStream(Capture(cap))
        try:
            problem = encoding_problem([cwd, *words, *env, *env.values()]) or (
                "" if words else "there is nothing to run"
            )
            if problem:
                return Completed(127, f"{problem}\n".encode(), 0, False, 0.0)
            environment = [*(f"{name}={value}" for name, value in env.items()), mark]
            try:
                wrapped = [*shell, "-c", wrapper.replace("/bin/sh", shlex.join(shell)), "sh", cwd, *words]
                number = await self._exec(wrapped, environment, stream, command.stdin)
            except ExecRefused as error:
                return Completed(127, f"{error}\n".encode(), 0, False, 0.0)
            late = not await self._wait(stream, number, timeout)
            if late:
                await self._kill(mark, stream.process)
                await asyncio.wait([stream.ended], timeout=DRAIN_SECONDS)
            status = -9 if late else await self._status(stream, number)
        finally:
            stream.close()
        state = parse_session(bytes(stream.session)) if status >= 0 else None
        if state and is_utf8(state[0]):
            variables = {name.decode(): value.decode() for name, value in state[1].items() if is_utf8(name + value)}
            self._sessions[command.session] = state[0].decode(), variables
        output, dropped = stream.capture.close()
        return Completed(status, output, dropped, late, time.monotonic() - began)

    async def _exec(self, words: list[str], environment: list[str], stream: ExecStream, stdin: bytes) -> str:
        """Start an exec that reads the stream's word and then `stdin`. Returns its id."""
        create = self._engine.api.exec_create
        made = await self._call(create, self._container, words, stdin=True, environment=environment)
        number: str = made["Id"]
        await self._checked(self._engine.attach_exec(number, stream))
        stream.send(stream.word + b"\n" + stdin)
        return number

    async def _wait(self, stream: ExecStream, number: str, timeout: float) -> bool:
        """Wait until the command has ended. Returns False after `timeout` seconds. Raises `SandboxLost`."""
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            either: list[asyncio.Future[Any]] = [stream.ended, self._channel.closed]
            await asyncio.wait(
                either,
                timeout=min(left, CHECK_SECONDS),
                return_when=asyncio.FIRST_COMPLETED,
            )
            if self._channel.closed.done():
                raise self._channel.loss()
            if stream.ended.done():
                return True
            # The end is not announced if the wrapper was killed while a background process holds the stream.
            if left > CHECK_SECONDS and not (await self._call(self._engine.api.exec_inspect, number))["Running"]:
                await asyncio.wait([stream.ended], timeout=DRAIN_SECONDS)
                return True
        return False

    async def _status(self, stream: ExecStream, number: str) -> int:
        status = stream.ended.result() if stream.ended.done() else None
        if status is None:  # killed together with its wrapper, perhaps with the whole container
            await asyncio.wait([self._channel.closed], timeout=LOST_SECONDS)
            status = int((await self._call(self._engine.api.exec_inspect, number))["ExitCode"] or 0)
        return 128 - status if 128 < status <= 128 + 64 else status

    async def _kill(self, mark: str, process: int) -> None:
        """Kill all processes of a command. If that fails, gives up the sandbox and raises `SandboxLost`."""
        await self._by_shell(KILL_TREE, "sh", str(process) if process > 0 else "none", mark)

    async def _kill_all(self) -> None:
        # In one step, so that no fork escapes; neither the first process nor the caller is signalled.
        await self._by_shell("kill -KILL -1 2>/dev/null; echo done")

    async def _by_shell(self, script: str, *arguments: str) -> None:
        """Run a script whose last word is "done". If it does not come, gives up the sandbox."""

        def run() -> bytes:
            words = [*self._shell, "-c", script, *arguments]
            return bytes(self._engine.api.exec_start(self._engine.api.exec_create(self._container, words)["Id"]))

        deadline = time.monotonic() + GRACE_SECONDS
        while time.monotonic() < deadline:
            try:
                if (await self._call(run)).endswith(b"done\n"):
                    return
            except ExecRefused:
                pass
            await asyncio.sleep(0.2)  # the process limit is reached, which may pass
        self._channel.abandon("its processes could not be ended")
        raise self._channel.loss()

    async def _call(self, function: Callable[..., T], *arguments: Any, **named: Any) -> T:
        """Call the SDK in a thread. Raises `ExecRefused`, or `SandboxLost` if the container or the engine is gone."""
        return await self._checked(self._engine.call(function, *arguments, **named))

    async def _checked(self, request: Coroutine[Any, Any, T]) -> T:
        if self._channel.closed.done():
            request.close()
            raise self._channel.loss()
        try:
            return await request
        except EngineRefused as error:
            if not any(part in str(error) for part in GONE):
                raise ExecRefused(f"the engine refused: {error}") from None
            self._channel.abandon("its container is gone")
        except EngineAway as error:
            self._channel.abandon(f"the engine is away ({error})")
        raise self._channel.loss()

    # files

    async def read(self, path: str) -> bytes:
        """A file's bytes. Relative paths start at the working directory. Raises `FileProblem`."""
        full, entry = await self._find(self._absolute(path))
        if entry is None:
            raise FileProblem(f"{full}: No such file or directory")
        return entry.regular().data

    async def write(self, path: str, data: bytes) -> None:
        """Write a file, making its folders; an existing file keeps its mode. Raises `FileProblem`."""
        full, entry = await self._find(self._absolute(path))
        if entry is not None:
            mode, user = entry.regular().member.mode, (entry.member.uid, entry.member.gid)
        else:
            mode, user = 0o644, self._user
        missing: list[str] = []
        folder = posixpath.dirname(full)
        while entry is None:
            folder, parent = await self._find(folder, data=False)
            if parent is not None:
                if not parent.is_folder:
                    raise FileProblem(f"{folder}: Not a directory")
                break
            missing.insert(0, posixpath.basename(folder))
            folder = posixpath.dirname(folder)
        packed = pack([*missing, posixpath.basename(full)], data, mode, user)
        try:
            await self._call(self._engine.api.put_archive, self._container, folder, packed)
        except ExecRefused as error:
            raise FileProblem(f"{full}: {reason(str(error))}") from None

    def _absolute(self, path: str) -> str:
        if problem := encoding_problem([path]):
            raise FileProblem(f"{path!r}: {problem}")
        return posixpath.normpath(posixpath.join(self._workdir, path))

    async def _find(self, path: str, *, data: bool = True) -> tuple[str, FileEntry | None]:
        """The path after following links, and its entry, with the content if `data` and if it is not too large."""
        from docker.errors import APIError

        def look(path: str) -> tuple[FileEntry | None, str]:
            try:
                chunks, stat = self._engine.api.get_archive(self._container, path)
            except APIError as error:
                if any(part in str(error) for part in GONE):
                    raise
                if error.status_code == 404:
                    return None, ""
                raise FileProblem(f"{path}: {reason(str(error.explanation))}") from None
            try:
                if stat["linkTarget"]:
                    return None, stat["linkTarget"]
                return FileEntry.of(path, stat, chunks, data), ""
            finally:
                chunks.close()

        for _ in range(MOST_LINKS):
            entry, target = await self._call(look, path)
            if not target or target == path:
                return path, entry
            path = target
        raise FileProblem(f"{path}: Too many levels of symbolic links")

    # patch, snapshot, end

    async def quiet(self) -> None:
        """End every process but the container's first one. Raises `SandboxLost` if that fails."""
        await self._kill_all()

    async def diff(self) -> bytes:
        """All changes since the start, as a binary git patch. Raises `SandboxError` if the image has no git."""
        spec = self._patch_spec()
        await self.quiet()
        if await self._preloads():
            await self.write(PRELOADED, b"")
        return await self._take(spec)

    async def peek(self) -> bytes | None:
        """See `Peeking`. It is never None here, and changes the times of the folder for temporary files."""
        spec = self._patch_spec()
        if await self._preloads():
            raise SandboxError(f"the patch cannot be taken in passing: {PRELOADED} would have to be changed first")
        return await self._take(spec)

    def _patch_spec(self) -> PatchSpec:
        if self._patch is None:
            raise SandboxError(f"sandbox {self._channel.name} was opened without a base commit: it has no patch")
        return self._patch

    async def _preloads(self) -> bool:
        _, entry = await self._find(PRELOADED, data=False)
        return entry is not None and bool(entry.size)

    async def _take(self, spec: PatchSpec) -> bytes:
        try:
            return await take_patch(lambda command: self._run(command, self._shell), spec, await self._survey())
        except SandboxLost:
            raise
        except SandboxError:
            if (await self.run(Command("command -v git", cwd="/"))).returncode:
                raise SandboxError("the patch could not be taken: the image holds no git; install one in it") from None
            raise

    async def _survey(self) -> Survey:
        """What `find` finds in the working tree; nothing where the image has no `find`."""
        done = await self.run(Command(SURVEY, timeout=SURVEY_SECONDS, output_cap=READ_CAP))
        return parse_survey(done.output) if not done.returncode else Survey(complete=not done.timed_out)

    async def snapshot(self) -> Snapshot:
        """The files as they are now, to fork from; processes are not in it. The sandbox goes on."""
        return await self._take_snapshot()

    async def close(self) -> None:
        """End the first process, and all the others with it. Idempotent, never raises."""
        self._channel.abandon("it was closed")


def parse_survey(output: bytes) -> Survey:
    """The survey that `SURVEY` printed."""
    names = [os.fsdecode(name) for name in output.split(b"\0")[:-1]]
    end = names.index("") if "" in names else len(names)
    nested = sorted(name.removeprefix("./").removesuffix("/.git") for name in names[:end])
    sized = (name.partition("\n./") for name in names[end + 1 :])
    large = sorted(((int(size), path) for size, _, path in sized if size.isdigit()), reverse=True)
    most = SURVEY_CAP
    return Survey(tuple(large[:most]), (), tuple(nested[:most]), len(large) <= most)


class ExecStream(asyncio.Protocol):
    """The stream of one exec: the command's output up to the word, and the state of its session."""

    def __init__(self, capture: Capture) -> None:
        self.capture = capture
        self.word = secrets.token_hex(16).encode()
        self.process = 0  # the number of the wrapping shell in the container
        self.session = bytearray()
        # The exit status, once output and session are complete; None if the stream ended without it.
        self.ended: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        self._status: int | None = None
        self._session_complete = False
        self._buffer = bytearray()
        self._held = bytearray()  # output that may be the beginning of the last line
        self._transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def send(self, data: bytes) -> None:
        """Send the whole standard input of the exec and its end."""
        assert isinstance(self._transport, asyncio.WriteTransport)
        self._transport.write(data)
        self._transport.write_eof()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        for kind, payload in frames(self._buffer):
            if kind == STDOUT and self._status is None:
                self._take_output(payload)
            elif kind != STDOUT and not self._session_complete and len(self.session) < SESSION_CAP:
                self.session += payload
                if self.session.endswith(self.word + b"\n"):
                    self._session_complete = True
                    del self.session[-len(self.word) - 1 :]
        if self._status is not None and self._session_complete:
            self._finish(self._status)

    def _take_output(self, payload: bytes) -> None:
        held = self._held
        held += payload
        if not self.process:
            line, newline, rest = held.partition(b"\n")
            if not newline:
                return
            if line.isdigit():
                self.process = int(line)
                held[:] = rest
            else:
                self.process = NOT_STARTED  # the line is an error message of the engine
        at = held.find(self.word)
        end = held.find(b"\n", at) if at >= 0 else -1
        if end >= 0:
            self._status = int(held[at + len(self.word) : end])
        output = at if at >= 0 else max(0, len(held) - len(self.word))
        self.capture.feed(bytes(held[:output]))
        del held[: output if end < 0 else len(held)]

    def connection_lost(self, exc: Exception | None) -> None:
        self.capture.feed(bytes(self._held))
        self._held.clear()
        self._finish(self._status)

    def _finish(self, status: int | None) -> None:
        if not self.ended.done():
            self.ended.set_result(status)

    def close(self) -> None:
        """Take what has come so far as the whole output."""
        self.capture.feed(bytes(self._held))
        self._held.clear()
        if isinstance(self._transport, asyncio.Transport):
            self._transport.abort()


class FileEntry:
    """A path in the container: its metadata from the engine, and its bytes."""

    def __init__(self, path: str, bits: int, size: int, member: tarfile.TarInfo, data: bytes) -> None:
        self.path, self.bits, self.size, self.member, self.data = path, bits, size, member, data

    @classmethod
    def of(cls, path: str, stat: Mapping[str, Any], chunks: Iterator[bytes], wanted: bool) -> FileEntry:
        """The entry in an answer of the engine, of which no more is read than is needed."""
        bits, size = stat["mode"], stat["size"]
        whole = wanted and not bits & (IS_DIRECTORY | IS_SPECIAL) and size <= READ_CAP
        packed = bytearray()
        for chunk in chunks:
            packed += chunk
            if not whole:
                break
        with tarfile.open(fileobj=io.BytesIO(bytes(packed)), mode="r|") as tar:
            member = next(iter(tar))
            file = tar.extractfile(member) if whole else None
            return cls(path, bits, size, member, file.read() if file else b"")

    @property
    def is_folder(self) -> bool:
        return bool(self.bits & IS_DIRECTORY)

    def regular(self) -> FileEntry:
        """The entry itself. Raises `FileProblem` if it is not a regular file, or too large to read."""
        if self.is_folder:
            raise FileProblem(f"{self.path}: is a directory")
        if self.bits & IS_SPECIAL:
            raise FileProblem(f"{self.path}: is not a regular file")
        if self.size > READ_CAP:
            raise FileProblem(f"{self.path}: is larger than {READ_CAP >> 20} MB")
        return self


def pack(names: list[str], data: bytes, mode: int, user: tuple[int, int]) -> bytes:
    """A tar archive of one file, the last of `names`, inside folders with the other names."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for depth in range(1, len(names) + 1):
            member = tarfile.TarInfo("/".join(names[:depth]))
            member.uid, member.gid = user
            member.mtime = int(time.time())
            if depth < len(names):
                member.type, member.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(member)
            else:
                member.size, member.mode = len(data), mode
                tar.addfile(member, io.BytesIO(data))
    return packed.getvalue()


def reason(message: str) -> str:
    """The last part of an engine's message, which is the system's, without the paths of the engine's machine."""
    last = message.strip().rpartition(": ")[2]
    return last[:1].upper() + last[1:]


def is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def encoding_problem(words: list[str]) -> str:
    """The reason that the engine cannot pass these words on, empty if it can."""
    for word in words:
        try:
            if b"\0" in encode(word):
                return "embedded null byte"
            word.encode()
        except UnicodeEncodeError:
            return f"{word[:80]!r} is not UTF-8, which an image without Python needs"
    return ""
