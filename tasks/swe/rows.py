"""From a row in SWE-bench's format to a `SweTask`.

Guarantees: a broken row is refused with its place and the remedy before anything is sampled.
"""

from __future__ import annotations

import ast
import io
import json
import shlex
import tokenize
from collections.abc import Mapping
from typing import Any

from envs import Origin
from tasks.row_files import has_lone_surrogate
from tasks.swe.harness import values_known
from tasks.swe.patches import added_files
from tasks.swe.schemas import END, GRADED_BY, START, current
from tasks.swe.task import SweTask
from tasks.task import TaskError

__all__ = ["task_of_row"]

LISTS = ("FAIL_TO_PASS", "PASS_TO_PASS")
TEXTS = ("instance_id", "repo", "base_commit", "problem_statement", "patch", "test_patch")
# The effect of activating the environment in SWE-bench's images, for commands of the agent.
TESTBED = {
    "CONDA_DEFAULT_ENV": "testbed",
    "CONDA_PREFIX": "/opt/miniconda3/envs/testbed",
    "PATH": "/opt/miniconda3/envs/testbed/bin:/opt/miniconda3/bin:"
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
}
# An edit that makes a loop endless costs two processor seconds and half a gigabyte, not a time-out of minutes.
QUOTA = "ulimit -t 2; ulimit -v 524288"


def task_of_row(where: str, row: Any) -> SweTask:
    """The task of one row. `where` is its place, for messages. Raises `TaskError`."""
    if not isinstance(row, Mapping):
        raise TaskError(f"{where}: not an object; each line must be one SWE-bench instance")
    row = current(where, row)
    embedded = "test_command" in row
    for key in (*TEXTS, "test_command") if embedded else TEXTS:
        if not isinstance(row.get(key), str):
            raise TaskError(
                f"{where}: field {key!r} is {'missing' if key not in row else 'not a text'}; "
                f"an instance needs the texts {', '.join(TEXTS)}"
            )
        if has_lone_surrogate(row[key]):
            raise TaskError(f"{where}: field {key!r} holds half a character (a lone surrogate); correct the text")
    if embedded:
        command = f"{QUOTA}; {row['test_command']}"
        origin = Origin(row["base_commit"])
    else:
        for key in GRADED_BY:
            if not isinstance(row.get(key), str):
                raise TaskError(
                    f"{where}: field {key!r} is {'missing' if key not in row else 'not a text'}: rows need the schema "
                    f"of swebench 5 ({', '.join(GRADED_BY)}); use a current copy of the data set"
                )
        for key in ("log_parser", "eval_type"):
            if values_known(key) and row[key] not in values_known(key):
                raise TaskError(
                    f"{where}: the installed swebench knows no {key} {row[key]!r}; "
                    "install the version that this data set is for, or remove the row"
                )
        command = _visible_tests(where, row)
        origin = Origin(
            row["base_commit"],
            image=row["image"],
            workdir=row.get("workdir", "/testbed"),
            env=TESTBED if "conda activate testbed" in row["eval_script"] else {},
        )
    row = _with_lists(where, row)
    fail_to_pass, pass_to_pass = _names(where, row, "FAIL_TO_PASS"), _names(where, row, "PASS_TO_PASS")
    if not fail_to_pass and not pass_to_pass:
        raise TaskError(f"{where}: FAIL_TO_PASS and PASS_TO_PASS are empty, so any patch would resolve it; remove it")
    return SweTask(
        id=row["instance_id"],
        statement=row["problem_statement"],
        group=row["repo"],
        version=str(row.get("version", "")),
        patch=row["patch"],
        test_patch=row["test_patch"],
        fail_to_pass=fail_to_pass,
        pass_to_pass=pass_to_pass,
        origin=origin,
        test_command=command,
        instance=row,
    )


def _with_lists(where: str, row: Mapping[str, Any]) -> Mapping[str, Any]:
    """The row with its lists of tests in JSON also where they were written as Python writes a list."""
    found = {key: _python_list(row.get(key)) for key in LISTS}
    return {**row, **{key: json.dumps(names) for key, names in found.items() if names is not None}}


def _python_list(value: Any) -> list[Any] | None:
    """The list in a text that Python wrote, such as "['a', 'b']"; None for anything else, JSON included."""
    if not isinstance(value, str):
        return None
    try:
        json.loads(value)
    except ValueError:
        pass
    except RecursionError:
        return None
    else:
        return None
    try:
        names = ast.literal_eval(value)
        texts = sum(token.type == tokenize.STRING for token in tokenize.generate_tokens(io.StringIO(value).readline))
    except (ValueError, SyntaxError, RecursionError, MemoryError, tokenize.TokenError):
        return None
    # Texts without a comma between them, as NumPy prints an array, would be read as one.
    return names if isinstance(names, list) and len(names) == texts else None


def _names(where: str, row: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = row.get(key)
    if isinstance(value, str):  # SWE-bench keeps these lists as JSON within JSON
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            value = None
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise TaskError(f"{where}: field {key!r} is not a list of test names, as JSON or as a text that holds it")
    return tuple(value)


def _visible_tests(where: str, row: Mapping[str, Any]) -> str:
    """The eval script's test command in its environment, without the files that only the test patch adds."""
    before, found, rest = row["eval_script"].partition(f": '{START}'")
    if not found:
        raise TaskError(
            f"{where}: the eval_script has no marker {START!r}, so its test command is unknown; "
            "use a current copy of the data set"
        )
    setting = [line for line in before.splitlines() if line.startswith(("source ", "conda activate", "export ", "cd "))]
    hidden = _named(added_files(row["test_patch"]))
    tests = []
    for line in rest.partition(f": '{END}'")[0].strip().splitlines():
        try:
            words = shlex.split(line)
        except ValueError:
            words = []
        tests.append(shlex.join(word for word in words if word not in hidden) if hidden & set(words) else line)
    script = "\n".join([*dict.fromkeys(setting), *tests])
    return f"bash -c {shlex.quote(script)}"


def _named(files: set[str]) -> set[str]:
    """The files as a test command may name them: as paths, or as Django's runner does, as modules below tests/."""
    modules = {file.removeprefix("tests/").removesuffix(".py").replace("/", ".") for file in files}
    return files | modules | {module.removesuffix(".__init__") for module in modules}
