"""Git patches, read by their headers alone: the piece of each file, and the paths that a patch touches."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator

__all__ = ["added_files", "is_canonical", "pieces", "touched_files"]

# Git quotes a name that holds anything unusual.
HEADER = re.compile(r'^diff --git (?:a/(?P<plain>.+) b/(?P=plain)|"a/(?P<quoted>.+)" "b/(?P=quoted)")$', re.M)
MOVED = re.compile(r"^(rename from|rename to|copy from|copy to) (.+)$", re.M)
SIDES = re.compile(r"^(?:---|\+\+\+) (.+?)(?:\t.*)?$", re.M)
# A piece as git writes it without renames, up to its first hunk.
CANONICAL = re.compile(
    rb"diff --git (?P<names>.+)\n(?:(?:old mode|new mode|deleted file mode|new file mode) \d+\n)*"
    rb"(?:index [0-9a-f]+\.\.[0-9a-f]+(?: \d+)?\n)?"
    rb"(?:--- (?P<old>.+)\n\+\+\+ (?P<new>.+)\n@@ |GIT binary patch\n|\Z)"
)


def pieces(patch: bytes) -> list[bytes]:
    """The patch cut at its file headers, without any text before the first one."""
    # Every line of a hunk starts with a sign or a blank, so these words are headers.
    git = re.search(rb"^diff --git ", patch, re.M)
    header = rb"^(?=diff --git )" if git else rb"^(?=--- [^\n]*\n\+\+\+ )"
    first = rb"diff --git " if git else rb"--- "
    return [piece for piece in re.split(header, patch, flags=re.M) if piece.startswith(first)]


def is_canonical(patch: bytes) -> bool:
    """Whether all of it is as git writes it: then each header names the file that every applier changes."""
    parts = pieces(patch)
    return b"".join(parts) == patch and all(_agrees(CANONICAL.match(part)) for part in parts)


def _agrees(found: re.Match[bytes] | None) -> bool:
    if found is None:
        return False
    old, new = found["old"], found["new"]
    if old is None:
        return True
    if b"/dev/null" in (old, new):
        name = new if old == b"/dev/null" else old
        other = re.sub(rb'^("?)[ab]/', rb"\1b/" if name is old else rb"\1a/", name)
        return found["names"] == (b" ".join([name, other]) if name is old else b" ".join([other, name]))
    return bool(found["names"] == old.rstrip(b"\t") + b" " + new.rstrip(b"\t"))


def touched_files(patch: str) -> list[str]:
    """Every path that is changed, added, deleted or moved, before and after, in order."""
    return list(dict.fromkeys(path for path, _ in _files(patch)))


def added_files(patch: str) -> set[str]:
    """The paths that the patch creates."""
    return {path for path, added in _files(patch) if added}


def _files(patch: str) -> Iterator[tuple[str, bool]]:
    for piece in pieces(patch.encode("utf-8", "surrogateescape")):
        head = re.split(r"^(?:@@|GIT binary patch)", piece.decode("utf-8", "surrogateescape"), maxsplit=1, flags=re.M)[
            0
        ]
        moved = [(_unquoted(name), how.endswith("to")) for how, name in MOVED.findall(head)]
        if moved:
            yield from moved
        elif found := HEADER.search(head):
            name = _unquoted(f'"{found["quoted"]}"') if found["quoted"] else found["plain"]
            yield name, re.search(r"^new file mode ", head, re.M) is not None
        else:
            sides = [_unquoted(side) for side in SIDES.findall(head)]
            for side in dict.fromkeys(re.sub("^[ab]/", "", side) for side in sides if side != "/dev/null"):
                yield side, "/dev/null" in sides[:1]


def _unquoted(name: str) -> str:
    if not name.startswith('"'):
        return name
    return codecs.escape_decode(name[1:-1].encode("utf-8", "surrogateescape"))[0].decode("utf-8", "replace")
