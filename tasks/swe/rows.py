"""Task sets by name or file: `quick`, a JSONL file in SWE-bench's format, or a data set on the hub.

Guarantees: a broken row is refused with its file and line before anything is sampled,
and ids are unique within a set.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from envs import Origin
from tasks.swe.harness import known
from tasks.swe.patches import added_files
from tasks.task import Task, TaskError, TaskSet

__all__ = ["HUB_SETS", "load_tasks"]

HUB_SETS = {
    "lite": "SWE-bench/SWE-bench_Lite",
    "verified": "SWE-bench/SWE-bench_Verified",
    "full": "SWE-bench/SWE-bench",
    "multilingual": "SWE-bench/SWE-bench_Multilingual",
}
TEXTS = ("instance_id", "repo", "base_commit", "problem_statement", "patch", "test_patch")
GRADED_BY = ("image", "eval_script", "log_parser", "eval_type")  # since swebench 5
# What activating the environment in SWE-bench's images comes down to, for commands of the agent.
TESTBED = {
    "CONDA_DEFAULT_ENV": "testbed",
    "CONDA_PREFIX": "/opt/miniconda3/envs/testbed",
    "PATH": "/opt/miniconda3/envs/testbed/bin:/opt/miniconda3/bin:"
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
}
# An edit that makes a loop endless costs two processor seconds and half a gigabyte, not a time-out of minutes.
QUOTA = "ulimit -t 2; ulimit -v 524288"
START, END = ">>>>> Start Test Output", ">>>>> End Test Output"


def load_tasks(spec: str) -> TaskSet:
    """The task set called `spec`: "quick", a path to a .jsonl file, or a hub name (see `HUB_SETS`).

    Raises `TaskError`.
    """
    if spec == "quick":
        from tasks import quick

        return _task_set("quick", (("quick", row) for row in quick.instances()))
    path = Path(spec)
    if path.is_dir():
        raise TaskError(f"{path} is a folder; give a .jsonl file")
    if path.suffix in (".jsonl", ".json") or path.is_file():
        return _task_set(path.stem, _rows_of_file(path))
    if spec in HUB_SETS or spec.count("/") == 1:
        return _task_set(spec, _rows_of_hub(HUB_SETS.get(spec, spec)))
    raise TaskError(
        f"no task set {spec!r}: give quick, {', '.join(HUB_SETS)}, a hub name like owner/name, or a .jsonl file"
    )


def _rows_of_file(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    data = b""
    try:
        data = path.read_bytes()
        text = data.decode("utf-8-sig")
    except FileNotFoundError:
        raise TaskError(
            f"no file {path}: give the path of a .jsonl file with one SWE-bench instance per line"
        ) from None
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
        raise TaskError(f"{path}:{number}: not UTF-8 ({error.reason}); save the file as UTF-8") from None
    except OSError as error:
        raise TaskError(f"{path} cannot be read ({error.strerror}); mend that or give another file") from None
    if path.suffix == ".json":
        try:
            rows = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise TaskError(f"{path}: not JSON ({error}); for one instance per line name it .jsonl") from None
        if not isinstance(rows, list):
            raise TaskError(f"{path}: not a list of instances")
        yield from ((f"{path}: item {number}", row) for number, row in enumerate(rows, 1))
        return
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            where = f"{path}:{number}"
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise TaskError(f"{where}: not JSON ({error}); mend or remove this line") from None
            yield where, row


def _rows_of_hub(name: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        import datasets  # comes with swebench; a second to import
    except ModuleNotFoundError:
        raise TaskError(f"reading {name} from the hub needs: pip install 'coding-monkeys[swebench]'") from None

    try:
        rows: Iterable[Any] = datasets.load_dataset(name, split="test")
    except Exception as error:  # the hub's client raises whatever its transport does
        line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise TaskError(
            f"data set {name} cannot be had from the hub ({line}); download it as .jsonl and give the file"
        ) from None
    yield from ((f"{name}: row {number}", row) for number, row in enumerate(rows, 1))


def _task_set(name: str, rows: Iterable[tuple[str, Mapping[str, Any]]]) -> TaskSet:
    tasks: dict[str, Task] = {}
    places: dict[str, str] = {}
    for where, row in rows:
        task = _task(where, row)
        if task.id in tasks:
            raise TaskError(
                f"{where}: instance_id {task.id} is there twice, first at {places[task.id]}; remove one of them"
            )
        tasks[task.id], places[task.id] = task, where
    if not tasks:
        raise TaskError(f"{name} holds no instance; each line must be one SWE-bench instance")
    return TaskSet(name, tuple(tasks.values()))


def _task(where: str, row: Mapping[str, Any]) -> Task:
    if not isinstance(row, Mapping):
        raise TaskError(f"{where}: not an object; each line must be one SWE-bench instance")
    embedded = "test_command" in row
    for key in (*TEXTS, "test_command") if embedded else TEXTS:
        if not isinstance(row.get(key), str):
            raise TaskError(
                f"{where}: field {key!r} is {'missing' if key not in row else 'not a text'}; "
                f"an instance needs the texts {', '.join(TEXTS)}"
            )
        if not row[key].isascii() and row[key] != row[key].encode("utf-8", "replace").decode():
            raise TaskError(f"{where}: field {key!r} holds half a character (a lone surrogate); mend it")
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
            if known(key) and row[key] not in known(key):
                raise TaskError(
                    f"{where}: the swebench that is installed knows no {key} {row[key]!r}; "
                    "install the version that this data set is for, or remove the row"
                )
        command = _visible_tests(where, row)
        origin = Origin(
            row["base_commit"],
            image=row["image"],
            env=TESTBED if "conda activate testbed" in row["eval_script"] else {},
        )
    fail_to_pass, pass_to_pass = _names(where, row, "FAIL_TO_PASS"), _names(where, row, "PASS_TO_PASS")
    if not fail_to_pass and not pass_to_pass:
        raise TaskError(f"{where}: FAIL_TO_PASS and PASS_TO_PASS are empty, so any patch would resolve it; remove it")
    return Task(
        id=row["instance_id"],
        repo=row["repo"],
        version=str(row.get("version", "")),
        problem_statement=row["problem_statement"],
        patch=row["patch"],
        test_patch=row["test_patch"],
        fail_to_pass=fail_to_pass,
        pass_to_pass=pass_to_pass,
        origin=origin,
        test_command=command,
        instance=row,
    )


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
            f"{where}: the eval_script has no marker {START!r}, so its test command cannot be told; "
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
