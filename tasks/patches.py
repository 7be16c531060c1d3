"""Which files a git patch touches, read from its headers alone."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator

__all__ = ["added_files", "touched_files"]

# A name is quoted where it holds anything unusual.
HEADER = re.compile(r'^diff --git (?:a/(?P<plain>.+) b/(?P=plain)|"a/(?P<quoted>.+)" "b/(?P=quoted)")$', re.M)
MOVED = re.compile(r"^(rename from|rename to|copy from|copy to) (.+)$", re.M)


def touched_files(patch: str) -> list[str]:
    """Every path that is changed, added, deleted or moved, before and after, in order."""
    return list(dict.fromkeys(path for path, _ in _files(patch)))


def added_files(patch: str) -> set[str]:
    """The paths that only the patch brings."""
    return {path for path, added in _files(patch) if added}


def _files(patch: str) -> Iterator[tuple[str, bool]]:
    # Inside of a hunk every line starts with a sign or a blank, so these words are headers.
    for part in re.split(r"^(?=diff --git )", patch, flags=re.M):
        head = re.split(r"^(?:@@|GIT binary patch)", part, maxsplit=1, flags=re.M)[0]
        moved = [(_unquoted(name), how.endswith("to")) for how, name in MOVED.findall(head)]
        if moved:
            yield from moved
        elif found := HEADER.search(head):
            name = _unquoted(f'"{found["quoted"]}"') if found["quoted"] else found["plain"]
            yield name, re.search(r"^new file mode ", head, re.M) is not None


def _unquoted(name: str) -> str:
    if not name.startswith('"'):
        return name
    return codecs.escape_decode(name[1:-1].encode())[0].decode("utf-8", "replace")
