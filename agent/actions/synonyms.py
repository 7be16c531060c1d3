"""Tools and arguments by the names that they have in other programs.

Models were trained with the tools of many programs and call those at times: `execute_bash`, `str_replace_editor`,
`read_file`. `meant` gives the tool here that does the same, and the arguments in its terms. Guarantees: a tool that is
on offer is taken by its own name first; an argument is dropped only if it comments, or limits what is shown; every
other one is passed on, so that what cannot be done here is an error that the model reads.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from agent.tools import Tool

__all__ = ["as_command", "is_known", "meant", "tool_name"]

# Names in lower case with underscores, by the tool that does the same.
NAMES = {
    "bash": "execute_bash run_bash bash_tool bash_command run_bash_command execute_bash_command shell sh run_shell "
    "shell_tool run_shell_command execute_shell_command shell_command execute_shell run_command execute_command "
    "exec_command run_terminal_cmd run_terminal_command run_in_terminal terminal local_shell exec command cmd "
    "run_commands execute run_in_shell",
    "view": "view_file read_file read open_file open cat view_code show_file get_file_contents read_files file_read "
    "list_files list_dir list_directory ls view_directory list_folder view_range",
    "search": "grep search_files grep_search search_dir search_file search_code code_search grep_files search_text "
    "search_for_text ripgrep rg search_in_files search_file_content search_repo find_in_files",
    "edit": "str_replace_editor str_replace_based_edit_tool str_replace_editor_tool text_editor file_editor edit_file "
    "editor edit_tool write_file write_to_file write create_file create save_file file_write replace replace_in_file "
    "str_replace search_and_replace search_replace find_and_replace apply_diff insert insert_content insert_text",
    "run_tests": "run_test test run_test_suite execute_tests",
    "submit": "finish attempt_completion submit_patch submit_solution submit_answer submit_task complete_task "
    "task_complete task_completed task_done finish_task complete done final_answer mark_task_complete",
}
TOOL = {name: tool for tool, names in NAMES.items() for name in names.split()}
# What such a tool does where it has no argument that says so.
CREATES = ("write_file", "write_to_file", "write", "create_file", "create", "save_file", "file_write")
INSERTS = ("insert", "insert_content", "insert_text")
COMMANDS = {"str_replace": "replace", "write": "create", "search_replace": "replace", "insert_text": "insert"}

PATH = "file_path filepath filename file target_file absolute_path relative_path relative_workspace_path file_name"
FOLDER = "dir directory dir_path directory_path folder"
# The names of arguments, by those of the tools here.
ARGUMENTS = {
    "bash": {"command": "cmd script code bash_command shell_command commands input bash keystrokes"},
    "view": {
        "path": f"{PATH} {FOLDER}",
        "start": "start_line line_start start_line_one_indexed from_line offset line_number first_line",
        "end": "end_line line_end end_line_one_indexed end_line_one_indexed_inclusive to_line last_line",
    },
    "search": {"pattern": "regex regexp query search_term search_string term text keyword", "path": f"{PATH} {FOLDER}"},
    "edit": {
        "path": PATH,
        "old": "old_str old_string old_text old_content old_code search target original search_text",
        "new": "new_str new_string new_text new_content new_code file_text content contents text insert_text "
        "replacement replace replace_text",
        "line": "insert_line line_number after_line",
    },
}
ALIASES = {tool: {alias: own for own, names in of.items() for alias in names.split()} for tool, of in ARGUMENTS.items()}
# Arguments that say nothing of what is to be done, or ask for less to be shown.
ASIDES = """
description explanation thought thoughts thinking reason reasoning comment instruction instructions intent
timeout timeout_ms timeout_seconds max_timeout is_input is_background blocking tty login yield_time_ms
security_risk requires_approval approval justification with_escalated_permissions sandbox_permissions
task_progress line_count recursive output_mode head_limit max_results max_lines file_pattern include glob
should_read_entire_file max_output_tokens
"""
ASIDE = frozenset(ASIDES.split())
FOLDER_OF_COMMAND = ("cwd", "workdir", "working_directory", "working_dir")
BLOCK = re.compile(
    r"^(?:<{5,9}|-{5,9}) ?SEARCH[^\n]*\n(?P<old>.*?)^={5,9}[ \t]*\n(?P<new>.*?)^(?:>{5,9}|\+{5,9}) ?REPLACE",
    re.DOTALL | re.MULTILINE,
)
LINES = re.compile(r"\A(?::(?:start|end)_line:[^\n]*\n)+-{5,9}[ \t]*\n")  # Roo's, at the top of what is searched for


def tool_name(name: str, tools: Iterable[str]) -> str:
    """The tool that is meant by a name: without the namespace, channel or number that some models put around it.

    The name itself if it means none.
    """
    tools = tuple(tools)
    if name in tools:
        return name
    return next((one for spelled in _spellings(name) for one in tools if one.lower() == spelled), name)


def is_known(name: str, tools: Mapping[str, Tool]) -> bool:
    """Whether a name means a tool, by whichever name."""
    return meant(name, {}, tools)[0] in tools


def meant(name: str, arguments: Mapping[str, Any], tools: Mapping[str, Tool]) -> tuple[str, dict[str, Any]]:
    """The tool and arguments that a call means; the name itself if there is no such tool."""
    arguments = dict(arguments)
    own = tool_name(name, tools)
    spelled = own if own in tools else next((one for one in _spellings(name) if TOOL.get(one) in tools), "")
    if not spelled:
        return name, arguments
    tool = own if own in tools else TOOL[spelled]
    if tool == "edit" and arguments.get("command") == "view" and "view" in tools:
        tool = "view"
        del arguments["command"]
    if tool == "submit" and spelled != tool:
        return tool, {}  # what it says of the work is for nobody
    known = tools[tool].parameters["properties"]
    given = {key: value for key, value in arguments.items() if key in known or key not in ASIDE}
    aliases = {alias: mine for alias, mine in ALIASES.get(tool, {}).items() if mine in known and alias not in known}
    for alias in [key for key in given if key in aliases]:
        if aliases[alias] not in given:
            given[aliases[alias]] = given.pop(alias)
    return tool, _finished(tool, spelled, given, known)


def _finished(tool: str, spelled: str, given: dict[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments with what other programs put in another way."""
    if tool == "bash":
        for key in FOLDER_OF_COMMAND:
            if isinstance(given.get(key), str) and key not in known and isinstance(given.get("command"), str | list):
                folder, command = shlex.quote(given.pop(key)), given["command"]
                given["command"] = f"cd {folder} || exit\n{as_command(command)}"
    elif tool == "view":
        _lines(given)
        if spelled.startswith(("list", "ls")):
            given.setdefault("path", ".")
    elif tool == "edit":
        _edit(spelled, given)
    return given


def _lines(given: dict[str, Any]) -> None:
    """The lines of a view that are given as a pair, or as a first line and a number of lines."""
    pair = given.pop("view_range", None)
    if isinstance(pair, str):
        pair = [int(number) for number in re.findall(r"-?\d{1,18}", pair)]
    if isinstance(pair, list | tuple) and len(pair) == 2:
        given["start"], given["end"] = pair[0], None if pair[1] == -1 else pair[1]
    limit = str(given.get("limit", ""))
    if re.fullmatch(r"\d{1,9}", limit):
        first = str(given.get("start") or 1)
        given["end"] = (int(first) if re.fullmatch(r"\d{1,9}", first) else 1) + int(limit) - 1
        del given["limit"]


def _edit(spelled: str, given: dict[str, Any]) -> None:
    diff = given.get("diff")
    if isinstance(diff, str) and "new" not in given and len(blocks := list(BLOCK.finditer(diff))) == 1:
        given |= {"old": LINES.sub("", blocks[0]["old"]), "new": blocks[0]["new"]}
        del given["diff"]
    command = given.get("command")
    if isinstance(command, str):
        given["command"] = COMMANDS.get(command, command)
    elif spelled in CREATES:
        given["command"] = "create"
    elif spelled in INSERTS:
        given["command"] = "insert"
    elif given.get("old"):
        given["command"] = "replace"
    if given.get("command") == "replace":
        given.setdefault("new", "")


def as_command(words: str | list[Any]) -> str:
    """A command, which may be given as a list of words."""
    if isinstance(words, str):
        return words
    some = [str(word) for word in words]
    if len(some) == 3 and some[0].rpartition("/")[2] in ("bash", "sh", "zsh") and re.fullmatch(r"-[a-z]*c", some[1]):
        return some[2]
    return some[0] if len(some) == 1 else shlex.join(some)


def _spellings(name: str) -> Iterable[str]:
    """A name without what stands around it, and its last part, in lower case with underscores."""
    bare = re.sub(r":\d+$", "", re.split(r"<[|｜]", name)[0].strip("\"'`()*\n\t "))
    for part in (bare, re.split(r"[.:/]|__", bare)[-1]):
        yield re.sub(r"[-\s]", "_", part).lower()
        yield re.sub(r"[-\s]", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", part)).lower()
