"""The tool `edit`: replaces a text, creates a file, or inserts lines. Bytes outside the edit stay as they are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from io import BytesIO
from typing import Any, ClassVar

from agent.tools.tool import ToolError, Workspace
from envs import FileProblem


class Edit:
    name = "edit"
    description = (
        "Change a file. replace: put `new` where `old` stands, which must occur exactly once. "
        "create: write `new` as a whole new file. insert: put `new` after line `line` (0 for the top)."
    )
    parameters: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": {
            "command": {"type": "string", "enum": ["replace", "create", "insert"]},
            "path": {"type": "string", "description": "File, relative to the repository."},
            "old": {"type": "string", "description": "For replace: the exact text, white space included."},
            "new": {"type": "string", "description": "The text to put in."},
            "line": {"type": "integer", "description": "For insert: the line after which to insert."},
        },
        "required": ["command", "path", "new"],
    }

    async def act(self, workspace: Workspace, arguments: Mapping[str, Any]) -> str:
        path, new = arguments["path"], arguments["new"]
        try:
            match arguments["command"]:
                case "create":
                    await workspace.sandbox.write(path, new.encode())
                case "replace":
                    before = await workspace.sandbox.read(path)
                    await workspace.sandbox.write(path, _replaced(before, path, arguments.get("old") or "", new))
                case "insert":
                    before = await workspace.sandbox.read(path)
                    await workspace.sandbox.write(path, _inserted(before, path, arguments.get("line"), new))
        except FileProblem as problem:
            raise ToolError(str(problem)) from None
        return f"[{path} written]"


def _replaced(before: bytes, path: str, old: str, new: str) -> bytes:
    if not old:
        raise ToolError("replace needs `old`, the text to be replaced; nothing was changed")
    sought, put = old.encode(), new.encode()
    # Models write \n; a file that keeps CRLF gets its own line ends back.
    ends = before.count(b"\r\n")
    if ends and (ends == before.count(b"\n") or sought not in before):
        sought, put = (text.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") for text in (sought, put))
    found = len(re.findall(b"(?=" + re.escape(sought) + b")", before))  # those that overlap too
    if found != 1:
        why = "does not occur" if not found else f"occurs {found} times; add lines around it"
        raise ToolError(f"the text to be replaced {why} in {path}; nothing was changed")
    return before.replace(sought, put)


def _inserted(before: bytes, path: str, line: int | None, new: str) -> bytes:
    lines = BytesIO(before).readlines()  # only a line feed ends a line
    if line is None or not 0 <= line <= len(lines):
        raise ToolError(f"insert needs `line` from 0 to {len(lines)} in {path}; nothing was changed")
    end = b"\r\n" if lines and lines[0].endswith(b"\r\n") else b"\n"
    put = b"".join(text.encode() + end for text in new.replace("\r\n", "\n").removesuffix("\n").split("\n"))
    if line and not lines[line - 1].endswith(b"\n"):
        put = end + put
    return b"".join([*lines[:line], put, *lines[line:]])
