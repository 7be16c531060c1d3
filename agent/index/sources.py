"""The source files of a sandbox, as they are now.

A listing with a digest of each file costs one command. Only files whose content this process has not seen are fetched,
as one archive for some hundred of them, so all attempts at an issue share what the first one fetched.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import re
import tarfile
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from agent.tools.tool import ToolError, Workspace
from envs import Command

__all__ = ["FILES", "SUFFIXES", "Source", "below", "read_sources"]

SUFFIXES = (
    *(
        "py",
        "pyi",
        "js",
        "jsx",
        "mjs",
        "cjs",
        "ts",
        "tsx",
        "java",
        "go",
        "rs",
        "c",
        "h",
        "cc",
        "cpp",
        "hpp",
        "cs",
        "rb",
    ),
    *("php", "kt", "scala", "swift", "sh", "md", "rst", "txt", "toml", "cfg", "ini", "yaml", "yml"),
)
FILES, FILE_KB, AT_ONCE = 20_000, 512, 200
LISTING_BYTES = 8 * 2**20
KEPT_BYTES = 256 * 2**20  # of contents, in this process
SKIPPED = r"\( -name '.?*' -o -name node_modules -o -name site-packages -o -name __pycache__ \)"
LISTED = re.compile(rb"^([0-9a-f]{40}) [ *]\./([^\n]+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Source:
    """A file: its path in the repository, the digest of its content, by which it is compared, and its text."""

    path: str
    digest: str
    text: str = field(compare=False, repr=False)


class _Kept:
    """Texts by the digest of their content, those used last; no more than `KEPT_BYTES` of them. None is no text."""

    def __init__(self) -> None:
        self._held: OrderedDict[str, tuple[str | None, int]] = OrderedDict()
        self._bytes = 0

    def __contains__(self, digest: str) -> bool:
        return digest in self._held

    def get(self, digest: str) -> str | None:
        self._held.move_to_end(digest)
        return self._held[digest][0]

    def put(self, data: bytes) -> tuple[str, str | None]:
        """Keep a content. Returns its digest and its text."""
        digest = hashlib.sha1(data, usedforsecurity=False).hexdigest()
        if digest not in self._held:
            text = None if b"\0" in data else data.decode("utf-8", "replace")
            self._held[digest] = text, len(data)
            self._bytes += len(data)
        while self._bytes > KEPT_BYTES and len(self._held) > 1:
            self._bytes -= self._held.popitem(last=False)[1][1]
        return digest, self._held[digest][0]


_kept = _Kept()


async def read_sources(workspace: Workspace) -> list[Source]:
    """All source files of at most 512 KiB, by path. Raises `ToolError` where they cannot be listed."""
    digests = await _listed(workspace)
    found = {path: (digest, _kept.get(digest)) for path, digest in digests.items() if digest in _kept}
    missing = [path for path in digests if path not in found]
    for start in range(0, len(missing), AT_ONCE):
        for path, data in (await _fetched(workspace, missing[start : start + AT_ONCE])).items():
            found[path] = _kept.put(data)
    return [Source(path, digest, text) for path, (digest, text) in sorted(found.items()) if text is not None]


def below(sources: Iterable[Source], path: str | None) -> list[Source]:
    """The sources in a file or folder, all of them if none is given. Raises `ToolError` if there is none.

    Of an absolute path that part counts which is in the repository, since models often write all of it.
    """
    place, sources = re.sub(r"^(?:\./)+|/+$", "", (path or "").strip()), list(sources)
    if place in ("", "."):
        return sources
    parts = place.removeprefix("/").split("/")
    for start in range(len(parts) if place.startswith("/") else 1):
        inner = "/".join(parts[start:])
        if found := [one for one in sources if one.path == inner or one.path.startswith(f"{inner}/")]:
            return found
    raise ToolError(f"there is no source file at or below {path}")


async def _listed(workspace: Workspace) -> dict[str, str]:
    """The digests of the source files, by path."""
    names = " -o ".join(f"-name '*.{suffix}'" for suffix in SUFFIXES)
    script = (
        f"find . {SKIPPED} -prune -o -type f \\( {names} \\) -size -{FILE_KB}k "
        "-exec $(command -v sha1sum || echo shasum) {} + 2>/dev/null"
    )
    done = await workspace.sandbox.run(Command(script, timeout=workspace.command_seconds, output_cap=LISTING_BYTES))
    if done.timed_out:
        raise ToolError("the files of the repository could not be listed in time")
    found = LISTED.findall(done.output)[:FILES]
    return {path.decode("utf-8", "surrogateescape"): digest.decode() for digest, path in found}


async def _fetched(workspace: Workspace, paths: Sequence[str]) -> dict[str, bytes]:
    """The contents of these files, but for those that are gone."""
    listed = "".join(f"./{path}\n" for path in paths).encode("utf-8", "surrogateescape")
    command = Command(
        "tar -cf - -T - 2>/dev/null",
        stdin=listed,
        timeout=workspace.command_seconds,
        output_cap=len(paths) * (FILE_KB + 2) * 1024,
    )
    done = await workspace.sandbox.run(command)
    return await asyncio.to_thread(_unpacked, done.output)


def _unpacked(archive: bytes) -> dict[str, bytes]:
    found = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(archive)) as members:
            for member in members:
                if file := members.extractfile(member):
                    found[member.name.removeprefix("./")] = file.read()
    except tarfile.TarError:
        pass  # what was read of it is whole
    return found
