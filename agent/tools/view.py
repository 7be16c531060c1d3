"""`view`: a file with line numbers, or the files of a folder."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any, ClassVar

from agent.tools.tool import Mistake, Workspace, render
from envs import FileProblem

# A page that a model can read without losing the thread; it can ask for the next one.
PAGE_LINES = 400


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
        path = arguments["path"]
        try:
            data = await workspace.sandbox.read(path)
        except FileProblem as problem:
            if "directory" not in str(problem):
                raise Mistake(str(problem)) from None
            quoted = shlex.quote(path)
            return render(
                await workspace.shell(f"find {quoted} -name .git -prune -o -type f -print | sort | head -500")
            )
        lines = data.decode("utf-8", "replace").splitlines()
        start = max(1, arguments.get("start") or 1)
        end = min(len(lines), arguments.get("end") or start + PAGE_LINES - 1, start + PAGE_LINES - 1)
        if start > len(lines):
            return f"[{path} has {len(lines)} lines]"
        shown = "\n".join(f"{number:6}\t{lines[number - 1]}" for number in range(start, end + 1))
        return shown if end == len(lines) else f"{shown}\n[lines {start}-{end} of {len(lines)}]"
