"""Whether a submission is a diff at all, whatever it would do, and what it seems to be where it is none.

Every form that one of the harness's appliers could take counts as a diff: unified and context diffs, also behind prose
or within a fence, and git's headers without hunks. That it applies is not said.
"""

from __future__ import annotations

import base64
import re

__all__ = ["is_diff", "kind_of_text"]

DIFF = re.compile(
    rb"^[ \t]*(?:diff --git .*\r?\n[^\n]*\S|--- .*\r?\n[ \t]*\+\+\+ |\*\*\* .*\r?\n[ \t]*--- |"
    rb"@@ -\d|Binary files |GIT binary)",
    re.MULTILINE,
)
BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{16,}={0,2}")
SHOWN = 40


def is_diff(body: bytes) -> bool:
    """Whether a text holds a diff."""
    return DIFF.search(body) is not None


def kind_of_text(body: bytes) -> str:
    """What a text that is no diff seems to be, with its beginning, in a few words."""
    text = body.strip()
    shown = repr(" ".join(text.decode("utf-8", "replace").split())[:SHOWN])
    unescaped = re.sub(rb'\\+(["\'])', rb"\1", re.sub(rb"\\+r?\\*n", b"\n", text))
    if unescaped != text and is_diff(unescaped.strip(b"\"'")):
        return rf"a diff whose line ends are written as \n: {shown}"
    packed = b"".join(text.split())
    if BASE64.fullmatch(packed) and is_diff(base64.urlsafe_b64decode(_standard(packed))):
        return f"a diff in base64: {shown}"
    return shown


def _standard(packed: bytes) -> bytes:
    """Base64 in the letters of addresses, filled up to whole groups."""
    bare = packed.rstrip(b"=").translate(bytes.maketrans(b"+/", b"-_"))
    whole = bare[: len(bare) - (len(bare) % 4 == 1)]  # one letter over holds no byte
    return whole + b"=" * (-len(whole) % 4)
