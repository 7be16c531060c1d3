"""Git patches, read as git reads them: the part of each file, and the paths that a patch touches.

Guarantees: of a patch that is canonical, the names are those that `git apply` changes, and no part holds two files. The
lines of hunks are counted, as git does, so a header is found wherever git finds one: also right behind the last hunk
of another file, and never within a hunk. Names are texts as `os.fsdecode` makes them, so a name that is not UTF-8
keeps its bytes. Of other patches, which git reads by rules of its own or not at all, the names are a good guess.
"""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Change", "added_files", "changes", "is_canonical", "pieces", "touched_files"]

# The first line of a file's header: git's own, or that of a plain unified diff with its second line.
START = re.compile(rb"^(?:(?P<git>diff --git )(?P<names>[^\n]*)\n|--- [^\n]*\n\+\+\+ [^\n]*\n(?=@@ -))", re.M)
EXTENDED = re.compile(
    rb"(old mode|new mode|deleted file mode|new file mode|copy from|copy to|rename old|rename new|rename from|rename to"
    rb"|similarity index|dissimilarity index|index|---|\+\+\+) ([^\n]*)\n"
)
RANGE = re.compile(rb"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@[^\n]*(?:\n|\Z)")
BINARY = re.compile(rb"GIT binary patch\n(?:(?:literal|delta) \d+\n(?:[A-Za-z][^\n]*\n)*(?:\n|\Z)){1,2}")
QUOTED = re.compile(rb'"((?:[^"\\\n]|\\(?:[abfnrtv"\\]|[0-3][0-7]{2}))*)"')
SAME = re.compile(rb"[^/ ]*/(?P<name>.+) [^/ ]*/(?P=name)")
# A header as git writes it without renames.
CANONICAL = re.compile(
    rb"diff --git (?P<names>[^\n]+)\n(?:(?:old mode|new mode|deleted file mode|new file mode) \d+\n)*"
    rb"(?:index [0-9a-f]+\.\.[0-9a-f]+(?: \d+)?\n)?"
    rb"(?:--- (?P<old>[^\n]+)\n\+\+\+ (?P<new>[^\n]+)\n(?=@@ )|(?=GIT binary patch\n)|\Z)"
)


@dataclass(frozen=True, slots=True)
class Change:
    """The part of one file in a patch. `old` and `new` are its names before and after, None where there is none.

    `text` includes what stands behind it and belongs to no file. `copied` tells that `old` stays as it is.
    """

    text: bytes
    old: str | None
    new: str | None
    copied: bool
    binary: bool
    canonical: bool

    @property
    def names(self) -> tuple[str, ...]:
        """Every path that is named, before and after; none if the header names no file."""
        return tuple(dict.fromkeys(name for name in (self.old, self.new) if name))

    @property
    def added(self) -> str | None:
        """The path that exists only afterwards, if there is one."""
        return self.new if self.new != self.old else None


def changes(patch: bytes) -> list[Change]:
    """The parts of `patch`, file by file, without any text before the first one."""
    found: list[tuple[int, int, int]] = []  # where each begins, where its header ends, where it ends
    at = 0
    while head := START.search(patch, at):
        at = head.end()
        if head["git"]:
            while line := EXTENDED.match(patch, at):
                at = line.end()
            if at == head.end():
                continue  # words that only begin like a header
        binary = BINARY.match(patch, at)
        end = binary.end() if binary else _end_of_hunks(patch, at)
        found.append((head.start(), at, end))
        at = end
    limits = [*(begin for begin, _, _ in found[1:]), len(patch)][: len(found)]
    return [
        _change(patch[begin:limit], head - begin, end - begin)
        for (begin, head, end), limit in zip(found, limits, strict=True)
    ]


def pieces(patch: bytes) -> list[bytes]:
    """The patch cut at its file headers, without any text before the first one."""
    return [change.text for change in changes(patch)]


def is_canonical(patch: bytes) -> bool:
    """Whether all of it is as git writes it: then each header names the file that every applier changes."""
    parts = changes(patch)
    return sum(len(part.text) for part in parts) == len(patch) and all(part.canonical for part in parts)


def touched_files(patch: str) -> list[str]:
    """Every path that is changed, added, deleted or moved, before and after, in order."""
    return list(dict.fromkeys(name for change in _of_text(patch) for name in change.names))


def added_files(patch: str) -> set[str]:
    """The paths that the patch creates."""
    return {change.added for change in _of_text(patch) if change.added}


def _of_text(patch: str) -> list[Change]:
    return changes(patch.encode("utf-8", "surrogateescape"))


def _end_of_hunks(patch: bytes, at: int) -> int:
    while found := RANGE.match(patch, at):
        old, new = (1 if count is None else int(count) for count in found.groups())
        at = found.end()
        while old > 0 or new > 0:
            sign = patch[at : at + 1]
            if sign not in (b" ", b"\n", b"-", b"+", b"\\"):
                return found.start()  # the hunk is shorter than its header says
            old -= sign in (b" ", b"\n", b"-")
            new -= sign in (b" ", b"\n", b"+")
            at = patch.find(b"\n", at) + 1 or len(patch)
        if patch.startswith(b"\\ ", at):  # "No newline at end of file"
            at = patch.find(b"\n", at) + 1 or len(patch)
    return at


def _change(text: bytes, head: int, end: int) -> Change:
    first, _, rest = text[:head].partition(b"\n")
    binary = text.startswith(b"GIT binary patch\n", head)
    if not first.startswith(b"diff --git "):
        old, new = _side(first[4:]), _side(rest.partition(b"\n")[0][4:])
        return Change(text, old, new, False, binary, False)
    default = _default_name(first[len(b"diff --git ") :])
    fields = dict(EXTENDED.findall(rest))
    old = _moved(fields, b"from", b"old") or (_side(fields[b"---"]) if b"---" in fields else default)
    new = _moved(fields, b"to", b"new") or (_side(fields[b"+++"]) if b"+++" in fields else default)
    if b"new file mode" in fields:
        old = None
    if b"deleted file mode" in fields:
        new = None
    written = CANONICAL.match(text)
    canonical = (
        default is not None and written is not None and written.end() == head and end == len(text) and _agrees(written)
    )
    return Change(text, old, new, b"copy from" in fields, binary, canonical)


def _agrees(found: re.Match[bytes]) -> bool:
    """Whether all names of a canonical header are one name."""
    old, new = found["old"], found["new"]
    if old is None:
        return found["names"].startswith(b'"') == found["names"].endswith(b'"')
    # Without the line about its mode, git takes /dev/null for a file of the name dev/null.
    if (old == b"/dev/null") != (b"\nnew file mode " in found[0]):
        return False
    if (new == b"/dev/null") != (b"\ndeleted file mode " in found[0]):
        return False
    if b"/dev/null" in (old, new):
        name = (new if old == b"/dev/null" else old).rstrip(b"\t")
        other = re.sub(rb'^("?)[ab]/', rb"\1b/" if new == b"/dev/null" else rb"\1a/", name)
        both = (name, other) if new == b"/dev/null" else (other, name)
        return bool(found["names"] == b" ".join(both))
    return bool(found["names"] == old.rstrip(b"\t") + b" " + new.rstrip(b"\t"))


def _default_name(names: bytes) -> str | None:
    """The name in git's first line, where both sides have the same; None where they have not."""
    if names.startswith(b'"') or names.endswith(b'"'):
        for first, second in _two_sides(names):
            if first is not None and first == second:
                return first
        return None
    same = SAME.fullmatch(names.rstrip(b"\r"))
    return os.fsdecode(same["name"]) if same else None


def _two_sides(names: bytes) -> Iterator[tuple[str | None, str | None]]:
    """The two sides of git's first line, of which one is quoted at least, in each way to read them."""
    if head := QUOTED.match(names):
        yield _side(head[0]), _side(names[head.end() :].strip(b" \t\r"))
    for tail in QUOTED.finditer(names):
        if tail.end() == len(names.rstrip(b"\r")):
            yield _side(names[: tail.start()].rstrip(b" \t")), _side(tail[0])


def _moved(fields: dict[bytes, bytes], *words: bytes) -> str | None:
    for how in (b"rename", b"copy"):
        for word in words:
            if (name := fields.get(how + b" " + word)) is not None:
                return _plain(name.rstrip(b"\r"))
    return None


def _side(name: bytes) -> str | None:
    """The path in one side of a header, without its first folder (a/ or b/); None for /dev/null."""
    whole = _plain(name if name.startswith(b'"') else name.partition(b"\t")[0].rstrip(b"\r"))
    if whole == "/dev/null":
        return None
    return re.sub("^[^/]*/", "", whole) or None


def _plain(name: bytes) -> str:
    quoted = QUOTED.match(name)
    return os.fsdecode(codecs.escape_decode(quoted[1])[0] if quoted else name)
