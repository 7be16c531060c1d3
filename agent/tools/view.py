"""The tool `view`: shows a file with line numbers, or lists the files of a folder."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any, ClassVar

from agent.tools.tool import ToolError, Workspace, render
from envs import FileProblem

# One page, short enough for a model to read; it can ask for the next one.
PAGE_LINES = 400
PAGE_CHARACTERS = 64 * 1024
LINE_CHARACTERS = 2000
FILES = 500


class View:
    name = "view"
    description = "Show a file with line numbers, or list the files below a folder."
    parameters: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": {
            "path": {"type": "string", "description": "File or folder, relative to the repository."},
            "start": {"type": "integer", "description": "First line, from 1."},
            "end": {"type": "integer", "description": "Last line, included."},
        },
        "required": ["path"],
    }

    async def act(self, workspace: Workspace, arguments: Mapping[str, Any]) -> str:
        path = arguments["path"] or "."
        try:
            data = await workspace.sandbox.read(path)
        except FileProblem as problem:
            if not str(problem).endswith("is a directory"):
                raise ToolError(str(problem)) from None
            return await _listing(workspace, path)
        if b"\0" in data:
            return f"[{path} is a binary file of {len(data)} bytes]"
        # Lines as editors, tracebacks and `edit` count them: only a line feed ends one.
        lines = data.decode("utf-8", "replace").removesuffix("\n").split("\n") if data else []
        start = max(1, arguments.get("start") or 1)
        end = min(len(lines), arguments.get("end") or len(lines))
        if start > end:
            return f"[{path} has {len(lines)} lines]"
        shown, room = [], PAGE_CHARACTERS
        for number in range(start, min(end, start + PAGE_LINES - 1) + 1):
            text = lines[number - 1].removesuffix("\r")
            if len(text) > LINE_CHARACTERS:
                text = f"{text[:LINE_CHARACTERS]} [{len(text) - LINE_CHARACTERS} more characters]"
            room -= len(text)
            if room < 0:
                break
            shown.append(f"{number:6}\t{text}")
        end = start + len(shown) - 1
        return "\n".join(shown if end == len(lines) else [*shown, f"[lines {start}-{end} of {len(lines)}]"])


async def _listing(workspace: Workspace, path: str) -> str:
    folder = shlex.quote(f"./{path}" if path.startswith("-") else path)
    hidden = r"\( -name .git -o -name __pycache__ \)"
    done = await workspace.shell(f"find {folder} {hidden} -prune -o -type f -print | sort | head -{FILES}")
    more = done.output.count(b"\n") >= FILES
    return render(done) + (f"[the first {FILES} files]" if more else "")
