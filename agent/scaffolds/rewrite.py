"""The tool `rewrite`: replaces a function and runs the visible tests; and the form in which a model writes it.

Guarantees: text that is not Python, or that changes nothing, is not written, and the model reads why. An attempt whose
visible tests pass is submitted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from agent.actions.actions import Action, ActionError, Result
from agent.actions.sanitize import sendable, spoken
from agent.scaffolds.failures import first_failure
from agent.scaffolds.functions import Function, find_functions, same_code, with_function
from agent.scaffolds.replies import Written, written_code, written_functions
from agent.tools import Submitted, ToolError, Workspace
from agent.trajectory import Message
from envs import Command, Completed, FileProblem

__all__ = ["FORM", "Rewrite", "Rewriting", "visible_tests"]

FORM = "function"
NO_CODE = "there is no function in the answer"
SAME = "this is the same code as before; something in it must change"
TOO_LONG = "The tests did not end in time."


class Rewrite:
    """Replaces one function. `shown` is the function of this attempt, `paths` are the files that may be changed."""

    name = "rewrite"
    description = "Replace a function of the repository, and run its tests."
    parameters: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": {"code": {"type": "string", "description": "The whole function."}},
        "required": ["code"],
    }

    def __init__(self, shown: Function, paths: Sequence[str]) -> None:
        self._shown, self._paths = shown, [shown.path, *(path for path in paths if path != shown.path)]

    async def act(self, workspace: Workspace, arguments: Mapping[str, Any]) -> str:
        written = written_functions(arguments["code"], self._shown.text.split(":\n")[0] + ":")
        if not written:
            raise ToolError(NO_CODE)
        function, source = await self._meant(workspace, [one.name for one in written])
        known = [function.text, *([self._shown.text] if function.qualname == self._shown.qualname else [])]
        text = _changed([one for one in written if one.name == function.name], known)
        try:
            await workspace.sandbox.write(function.path, with_function(source, function.qualname, text))
        except ValueError as problem:
            raise ToolError(str(problem)) from None
        done = await visible_tests(workspace)
        if done.returncode == 0:
            return Submitted("[the tests pass]")
        said = first_failure(done.output.decode("utf-8", "replace")).said
        return TOO_LONG if done.timed_out else f"The tests fail:\n{said}"

    async def _meant(self, workspace: Workspace, names: Sequence[str]) -> tuple[Function, bytes]:
        """The function shown, if it was written, or else the only one with such a name in any of the files."""
        others: list[tuple[Function, bytes]] = []
        for path in self._paths:
            try:
                source = await workspace.sandbox.read(path)
            except FileProblem:
                continue  # it was there when the attempt began
            there = [(one, source) for one in find_functions(path, source) if one.name in names]
            if path == self._shown.path:
                if self._shown.name in names:
                    there = [(one, source) for one, source in there if one.qualname == self._shown.qualname]
                if len(there) == 1:
                    return there[0]
            others += there
        if len(others) == 1:
            return others[0]
        raise ToolError(f"the function to write is `{self._shown.name}`, not `{names[0]}`")


class Rewriting:
    """The form of actions with one function in each reply. `ask` is repeated each time, because small models forget."""

    def __init__(self, tool: Rewrite, ask: str) -> None:
        self._tool, self._ask = tool, ask
        self.name = FORM
        self.instructions = ""
        self.schemas: list[dict[str, Any]] = []
        self.body: dict[str, Any] = {}

    def read(self, message: Message, *, cut: bool = False) -> tuple[Message, list[Action | ActionError]]:
        message = sendable({**message, "tool_calls": None})
        code = written_code(spoken(message), cut=cut)
        return message, [Action("", self._tool, {"code": code}) if code else ActionError("", NO_CODE)]

    def observations(self, results: Sequence[Result]) -> list[Message]:
        texts = [text if isinstance(text, Submitted) else f"{text}\n\n{self._ask}" for _, text in results]
        return [{"role": "user", "content": "\n\n".join(texts)}] if texts else []


async def visible_tests(workspace: Workspace) -> Completed:
    """Run the visible tests, without compiled code: two versions of a file in one second can have the same size."""
    fresh = {"PYTHONDONTWRITEBYTECODE": "1"}
    return await workspace.sandbox.run(Command(workspace.test_command, env=fresh, timeout=workspace.command_seconds))


def _changed(written: Sequence[Written], known: Sequence[str]) -> str:
    """The first of these that is Python and not known yet. Raises `ToolError`."""
    problem = SAME
    for one in written:
        if one.problem:
            problem = f"`{one.name}` is not valid Python: {one.problem}"
        elif not any(same_code(one.text, text) for text in known):
            return one.text
    raise ToolError(problem)
