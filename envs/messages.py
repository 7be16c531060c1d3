"""Lines for a person on standard error, and texts from outside as a terminal may show them.

Every error and warning leaves through `complain`. Guarantees: such a line holds no secret that this process knows
(`envs.secrets`); what `plain` returns moves no cursor, changes no colour and reorders nothing, and shows what would.
"""

from __future__ import annotations

import re
import sys

from envs.secrets import keep_environment, redact

__all__ = ["complain", "plain"]

COLOURS = re.compile(r"\x1b\[[0-9;:]*m")
# Controls (C0 but for tab and line feed, C1), separators of lines, marks that reorder text or are not seen, tags, and
# halves of characters.
CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f\ud800-\udfff]"
)


def plain(text: str) -> str:
    """Text that we did not write. Colours are left out; other control characters are shown, such as `\\x1b`."""
    text = COLOURS.sub("", text.replace("\r\n", "\n")).expandtabs(4)
    return CONTROLS.sub(lambda found: _shown(found.group()), text)


def complain(text: str, kind: str = "error") -> None:
    """Print one line on standard error: an "error", a "warning", or without a kind a note."""
    keep_environment()
    line = " ".join(plain(redact(text)).split())
    print(f"{kind}: {line}" if kind else line, file=sys.stderr, flush=True)


def _shown(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
