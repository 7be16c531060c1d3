"""The tool `search`: finds lines that match a regular expression."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any, ClassVar

from agent.tools.tool import Workspace, render

MATCHES = 200


class Search:
    name = "search"
    description = "Find lines that match an extended regular expression, as path:line:text."
    parameters: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": {
            "pattern": {"type": "string", "description": "Extended regular expression."},
            "path": {"type": "string", "description": "File or folder to look in; the whole repository if left out."},
        },
        "required": ["pattern"],
    }

    async def act(self, workspace: Workspace, arguments: Mapping[str, Any]) -> str:
        pattern, path = shlex.quote(arguments["pattern"]), shlex.quote(arguments.get("path") or ".")
        done = await workspace.shell(f"grep -rHnIE --exclude-dir=.git -e {pattern} -- {path} | head -{MATCHES}")
        if not done.output and not done.timed_out:
            return "[no match]"
        more = done.output.count(b"\n") >= MATCHES
        return render(done) + (f"[the first {MATCHES} matches; use a more specific pattern]" if more else "")
