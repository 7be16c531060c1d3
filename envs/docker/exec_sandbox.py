"""A sandbox in an image that holds no Python: every command is an `exec` of the engine, every file a tar archive.

The fallback where no guest can run. The container's first process is a `cat` that waits
for the end of its standard input; a `Channel` on that stream is the life line, as it is
with a guest. Commands, files, time-outs, capped output and sessions are as
`envs.guest` has them, with what a shell cannot do left out:

- it is slower, in the sandbox and in the runner, by the engine's cost of an `exec`;
- arguments and variables are UTF-8, or the answer is 127 and says so;
- an exit status from 129 to 192 is taken for the signal that a shell means by it;
- files are read and written by the engine: no folder is too protected for it, and what is mounted inside
  (/dev, /proc, a tmpfs) is not there for it;
- it is the runner that keeps the lifetime; nothing inside reaps orphans, or watches the disk.

Of its programs the image must hold `sh` and `cat`; without `grep` a time-out spares what has
left its family (see `END`).
"""

from __future__ import annotations

import asyncio
import io
import posixpath
import secrets
import shlex
import tarfile
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from typing import Any, TypeVar

from envs.channel import GRACE_SECONDS, Channel
from envs.diff import patch_of
from envs.docker.engine import Engine, EngineAway, EngineRefused
from envs.docker.stream import STDOUT, frames
from envs.guest import MARK, ON_EXIT, READ_CAP, SESSION_CAP, Capture, encode, heir
from envs.sandbox import (
    Command,
    Completed,
    FileProblem,
    Limits,
    SandboxError,
    SandboxUnavailable,
    Snapshot,
)

__all__ = ["WARNING", "ExecSandbox"]

T = TypeVar("T")

WARNING = (
    "This image holds no Python 3, so each command is an exec of the engine: about 50 times slower than usual. "
    "Install a Python 3 in the image to be rid of this."
)
# Waits for its word, so that no output comes before there is somebody to read it, says which process it is, and
# with the same word where the output ends: a daemon may hold the stream open for ever. Nobody inside knows the word.
# What it says on its standard error, kept as 3, is a session's alone; a command has both in one, and no 3.
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

# Ends process $1, its session, all their descendants and, with grep, all that carry the mark $2 and theirs; stopped
# first, for a dead parent's children could not be told from others. Shell alone otherwise: no image lacks that.
END = """
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
            [ "$mine" ] || { grep -q -F -e "$mark" "$folder/environ" 2>/dev/null && mine=1; }
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
LOOK_SECONDS = 5.0  # between two looks whether a silent command's first process was killed
LAST_SECONDS = 2.0  # for what was written before a command was ended to arrive
LOST_SECONDS = 0.5  # within which the end of a container shows, once its processes have ended
MOST_LINKS = 40
NEVER = -1
GONE = ("No such container", "No such exec instance", "is not running")  # in the engine's words
IS_DIRECTORY, IS_ODD = 1 << 31, 0x0F280000  # of the engine's mode bits, which are Go's


class Refused(FileProblem):
    """The engine would not do it, and the container lives on."""


class ExecSandbox:
    """A running container without a Python. Made by `ExecSandbox.open`; `snapshot` and `patch` are its owner's."""

    warning = WARNING

    def __init__(
        self,
        channel: Channel,
        engine: Engine,
        container: str,
        workdir: str,
        limits: Limits,
        patch: Command,
        snapshot: Callable[[], Awaitable[Snapshot]],
        env: Mapping[str, str],
    ) -> None:
        self._channel, self._engine, self._container = channel, engine, container
        self._workdir, self._limits, self._patch, self._take = workdir, limits, patch, snapshot
        self._env = env
        self._user = (0, 0)
        self._name = secrets.token_hex(8)
        self._count = 0
        self._start: dict[str, str] = {}  # what is exported before anything has run
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
        patch: Command,
        snapshot: Callable[[], Awaitable[Snapshot]],
        env: Mapping[str, str],
    ) -> ExecSandbox:
        """On a container whose first process reads its standard input to the end, which is the channel's stream.

        `patch` is the command that gives the patch. Raises `SandboxUnavailable` where not even a shell works.
        """
        sandbox = cls(channel, engine, container, workdir, limits, patch, snapshot, env)
        probe = await sandbox.run(Command(("cat", "/proc/self/environ", "/proc/self/status"), cwd="/"))
        *entries, status = probe.output.split(b"\0")
        if probe.returncode or not entries:
            said = probe.output.decode(errors="replace").strip()
            channel.abandon("nothing runs in it")
            raise SandboxUnavailable(f"sandbox {channel.name} cannot run a shell and cat in its container: {said}")
        pairs = (entry.decode().partition("=") for entry in entries if fits(entry))
        sandbox._start = {name: value for name, _, value in pairs if name != MARK}
        fields = dict(line.split(b":", 1) for line in status.splitlines() if b":" in line)
        sandbox._user = int(fields[b"Uid"].split()[1]), int(fields[b"Gid"].split()[1])
        return sandbox

    # commands

    async def run(self, command: Command) -> Completed:
        """Run a command to its end. A command ends when its first process does."""
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
        stream = Stream(Capture(cap))
        try:
            bad = unfit([cwd, *words, *env, *env.values()]) or ("" if words else "there is nothing to run")
            if bad:
                return Completed(127, f"{bad}\n".encode(), 0, False, 0.0)
            environment = [*(f"{name}={value}" for name, value in env.items()), mark]
            try:
                wrapped = ["/bin/sh", "-c", wrapper, "sh", cwd, *words]
                number = await self._exec(wrapped, environment, stream, command.stdin)
            except Refused as error:
                return Completed(127, f"{error}\n".encode(), 0, False, 0.0)
            late = not await self._watch(stream, number, timeout)
            if late:
                await self._kill(mark, stream.process)
                await asyncio.wait([stream.ended], timeout=LAST_SECONDS)
            status = -9 if late else await self._status(stream, number)
        finally:
            stream.close()
        left = heir(bytes(stream.testament)) if status >= 0 else None
        if left and fits(left[0]):
            variables = {name.decode(): value.decode() for name, value in left[1].items() if fits(name + value)}
            self._sessions[command.session] = left[0].decode(), variables
        output, dropped = stream.capture.close()
        return Completed(status, output, dropped, late, time.monotonic() - began)

    async def _exec(self, words: list[str], environment: list[str], stream: Stream, stdin: bytes) -> str:
        """Start an exec that reads its word and `stdin`, and gives its output to the stream; its id."""

        create = self._engine.api.exec_create
        made = await self._ask(create, self._container, words, stdin=True, environment=environment)
        number: str = made["Id"]
        await self._heard(self._engine.attach_exec(number, stream))
        stream.say(stream.word + b"\n" + stdin)
        return number

    async def _watch(self, stream: Stream, number: str, timeout: float) -> bool:
        """Until the command has ended: True. False when it is late. Raises `SandboxLost`."""
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            either: list[asyncio.Future[Any]] = [stream.ended, self._channel.closed]
            await asyncio.wait(
                either,
                timeout=min(left, LOOK_SECONDS),
                return_when=asyncio.FIRST_COMPLETED,
            )
            if self._channel.closed.done():
                raise self._channel.loss()
            if stream.ended.done():
                return True
            # Its end may go unsaid: killed itself, with a daemon that holds the stream.
            if left > LOOK_SECONDS and not (await self._ask(self._engine.api.exec_inspect, number))["Running"]:
                await asyncio.wait([stream.ended], timeout=LAST_SECONDS)
                return True
        return False

    async def _status(self, stream: Stream, number: str) -> int:
        status = stream.ended.result() if stream.ended.done() else None
        if status is None:  # it was killed with what wraps it, alone or with all the container
            await asyncio.wait([self._channel.closed], timeout=LOST_SECONDS)
            status = int((await self._ask(self._engine.api.exec_inspect, number))["ExitCode"] or 0)
        return 128 - status if 128 < status <= 128 + 64 else status

    async def _kill(self, mark: str, process: int = 0) -> None:
        """End all of a command. Raises `SandboxLost` if that cannot be done; the sandbox is then given up."""

        def end() -> bytes:
            words = ["/bin/sh", "-c", END, "sh", str(process) if process > 0 else "none", mark]
            return bytes(self._engine.api.exec_start(self._engine.api.exec_create(self._container, words)["Id"]))

        patience = time.monotonic() + GRACE_SECONDS
        while time.monotonic() < patience:
            try:
                if (await self._ask(end)).endswith(b"done\n"):
                    return
            except Refused:
                pass
            await asyncio.sleep(0.2)  # there is no process left for it, which may pass
        self._channel.abandon("its processes could not be ended")
        raise self._channel.loss()

    async def _ask(self, call: Callable[..., T], *arguments: Any, **named: Any) -> T:
        """A call of the engine, in a thread. Raises `Refused`, or `SandboxLost` when container or engine is gone."""
        return await self._heard(self._engine.call(call, *arguments, **named))

    async def _heard(self, words: Coroutine[Any, Any, T]) -> T:
        if self._channel.closed.done():
            words.close()
            raise self._channel.loss()
        try:
            return await words
        except EngineRefused as error:
            if not any(words in str(error) for words in GONE):
                raise Refused(f"the engine refused: {error}") from None
            self._channel.abandon("its container is gone")
        except EngineAway as error:
            self._channel.abandon(f"the engine is away ({error})")
        raise self._channel.loss()

    # files

    async def read(self, path: str) -> bytes:
        """A file's bytes. Relative paths start at the working directory. Raises `FileProblem`."""
        full, found = await self._find(self._absolute(path))
        if found is None:
            raise FileProblem(f"{full}: No such file or directory")
        return found.regular().data

    async def write(self, path: str, data: bytes) -> None:
        """Write a file, making its folders; an existing file keeps its mode. Raises `FileProblem`."""
        full, found = await self._find(self._absolute(path))
        if found is not None:
            mode, user = found.regular().member.mode, (found.member.uid, found.member.gid)
        else:
            mode, user = 0o644, self._user
        missing: list[str] = []
        folder = posixpath.dirname(full)
        while found is None:
            folder, there = await self._find(folder, data=False)
            if there is not None:
                if not there.is_folder:
                    raise FileProblem(f"{folder}: Not a directory")
                break
            missing.insert(0, posixpath.basename(folder))
            folder = posixpath.dirname(folder)
        packed = pack([*missing, posixpath.basename(full)], data, mode, user)
        try:
            await self._ask(self._engine.api.put_archive, self._container, folder, packed)
        except Refused as error:
            raise FileProblem(f"{full}: {reason(str(error))}") from None

    def _absolute(self, path: str) -> str:
        if unfit([path]):
            raise FileProblem(f"{path!r}: {unfit([path])}")
        return posixpath.normpath(posixpath.join(self._workdir, path))

    async def _find(self, path: str, *, data: bool = True) -> tuple[str, Found | None]:
        """Where links lead, and what is there, with its content if that is wanted and a file of bearable size."""
        from docker.errors import APIError

        def look(path: str) -> tuple[Found | None, str]:
            try:
                chunks, stat = self._engine.api.get_archive(self._container, path)
            except APIError as error:
                if any(words in str(error) for words in GONE):
                    raise
                if error.status_code == 404:
                    return None, ""
                raise FileProblem(f"{path}: {reason(str(error.explanation))}") from None
            try:
                if stat["linkTarget"]:
                    return None, stat["linkTarget"]
                return Found.of(path, stat, chunks, data), ""
            finally:
                chunks.close()

        for _ in range(MOST_LINKS):
            found, target = await self._ask(look, path)
            if not target or target == path:
                return path, found
            path = target
        raise FileProblem(f"{path}: Too many levels of symbolic links")

    # patch and life

    async def diff(self) -> bytes:
        """All that differs from the start, as a binary git patch. Raises `SandboxError` where there is no git."""
        done = await self.run(self._patch)
        if done.returncode:  # what runs in the sandbox may leave no process or memory for it
            await self._kill(f"{MARK}={self._name}.")
            done = await self.run(self._patch)
        if done.returncode and (await self.run(Command("command -v git", cwd="/"))).returncode:
            raise SandboxError("the patch could not be taken: the image holds no git; install one in it")
        return patch_of(done)

    async def snapshot(self) -> Snapshot:
        """The files as they are now, to fork from; processes are not in it. The sandbox goes on."""
        return await self._take()

    async def close(self) -> None:
        """Let the first process end, and all the others with it. Idempotent, never raises."""
        self._channel.abandon("it was closed")


class Stream(asyncio.Protocol):
    """What comes out of one exec: the command's output up to the word, and a session's testament."""

    def __init__(self, capture: Capture) -> None:
        self.capture = capture
        self.word = secrets.token_hex(16).encode()
        self.process = 0  # the number of the wrapping shell in the container
        self.testament = bytearray()
        # The exit status, once output and testament are whole; None when the stream ended without it.
        self.ended: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        self._status: int | None = None
        self._told = False
        self._buffer = bytearray()
        self._held = bytearray()  # output that may be the beginning of the last line
        self._transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def say(self, words: bytes) -> None:
        """All that the command reads, and the end of it."""
        assert isinstance(self._transport, asyncio.WriteTransport)
        self._transport.write(words)
        self._transport.write_eof()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        for kind, payload in frames(self._buffer):
            if kind == STDOUT and self._status is None:
                self._hear(payload)
            elif kind != STDOUT and not self._told and len(self.testament) < SESSION_CAP:
                self.testament += payload
                if self.testament.endswith(self.word + b"\n"):
                    self._told = True
                    del self.testament[-len(self.word) - 1 :]
        if self._status is not None and self._told:
            self._finish(self._status)

    def _hear(self, payload: bytes) -> None:
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
                self.process = NEVER  # the engine's own words: it could not be started
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
        """Whatever has come by now is the output."""
        self.capture.feed(bytes(self._held))
        self._held.clear()
        if isinstance(self._transport, asyncio.Transport):
            self._transport.abort()


class Found:
    """A path in the container: what the engine says of it, and its bytes."""

    def __init__(self, path: str, bits: int, size: int, member: tarfile.TarInfo, data: bytes) -> None:
        self.path, self.bits, self.size, self.member, self.data = path, bits, size, member, data

    @classmethod
    def of(cls, path: str, stat: Mapping[str, Any], chunks: Iterator[bytes], wanted: bool) -> Found:
        """Of an answer of the engine's, of which no more is taken in than is needed."""
        bits, size = stat["mode"], stat["size"]
        whole = wanted and not bits & (IS_DIRECTORY | IS_ODD) and size <= READ_CAP
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

    def regular(self) -> Found:
        """Itself, if it is a file that can be held. Raises `FileProblem`."""
        if self.is_folder:
            raise FileProblem(f"{self.path}: is a directory")
        if self.bits & IS_ODD:
            raise FileProblem(f"{self.path}: is not a regular file")
        if self.size > READ_CAP:
            raise FileProblem(f"{self.path}: is larger than {READ_CAP >> 20} MB")
        return self


def pack(names: list[str], data: bytes, mode: int, user: tuple[int, int]) -> bytes:
    """An archive of a file in folders of their own, each inside the last."""
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


def reason(said: str) -> str:
    """The end of what the engine said, without the paths of its own machine, in the system's words."""
    last = said.strip().rpartition(": ")[2]
    return last[:1].upper() + last[1:]


def fits(data: bytes) -> bool:
    """Whether the engine can pass it on as it is."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def unfit(words: list[str]) -> str:
    """Why these cannot be handed over, or nothing."""
    for word in words:
        try:
            if b"\0" in encode(word):
                return "embedded null byte"
            word.encode()
        except UnicodeEncodeError:
            return f"{word[:80]!r} is not UTF-8, which an image without Python needs"
    return ""
