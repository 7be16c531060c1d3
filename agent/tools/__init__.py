"""The tools, one file each. `TOOLS` are those that an attempt gets; a model knows no others."""

from agent.tools.bash import Bash
from agent.tools.edit import Edit
from agent.tools.run_tests import RunTests
from agent.tools.search import Search
from agent.tools.submit import Submit
from agent.tools.tool import Submitted, Tool, ToolError, Workspace
from agent.tools.view import View

__all__ = ["TOOLS", "Submitted", "Tool", "ToolError", "Workspace"]

TOOLS: tuple[Tool, ...] = (Bash(), View(), Search(), Edit(), RunTests(), Submit())
