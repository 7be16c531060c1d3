"""The tools: one file each. `TOOLS` is what an attempt gets; a tool that is not in it does not exist for a model."""

from agent.tools.bash import Bash
from agent.tools.edit import Edit
from agent.tools.run_tests import RunTests
from agent.tools.search import Search
from agent.tools.submit import Submit
from agent.tools.tool import Submitted, Tool, ToolError, Workspace
from agent.tools.view import View

__all__ = ["TOOLS", "Submitted", "Tool", "ToolError", "Workspace"]

TOOLS: tuple[Tool, ...] = (Bash(), View(), Search(), Edit(), RunTests(), Submit())
