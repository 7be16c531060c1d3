"""Task sets are read whole or refused with the file, the line and the remedy."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tasks import TaskError, load_tasks
from tasks.quick import SETS
from tasks.quick.repositories import with_repositories
from tasks.swe.harness import values_known
from tasks.swe.patches import added_files, touched_files
from tasks.swe.task import SweTask, as_swe
from tests.helpers import quick_task

needs_swebench = pytest.mark.skipif(find_spec("swebench") is None, reason="swebench is not installed")

TEST_PATCH = """\
diff --git a/tests/test_old.py b/tests/test_old.py
--- a/tests/test_old.py
+++ b/tests/test_old.py
@@ -1 +1,2 @@
 import unittest
+# diff --git a/fake.py b/fake.py
diff --git a/tests/test_new.py b/tests/test_new.py
new file mode 100644
--- /dev/null
+++ b/tests/test_new.py
@@ -0,0 +1 @@
+import unittest
"""
EVAL_SCRIPT = """\
#!/bin/bash
set -uxo pipefail
source /opt/miniconda3/bin/activate
conda activate testbed
cd /testbed
export LANG=C
git checkout abc tests/test_old.py
git apply -v - <<'EOF'
secret hidden test
EOF
: '>>>>> Start Test Output'
{command}
: '>>>>> End Test Output'
git checkout abc tests/test_old.py
"""


def row(**fields: Any) -> dict[str, Any]:
    """An instance in the schema of swebench 5."""
    command = fields.pop("command", "pytest -rA tests/test_old.py tests/test_new.py")
    return {
        "instance_id": "owner__name-1",
        "repo": "owner/name",
        "base_commit": "abc",
        "problem_statement": "It breaks — ünder load.",
        "patch": "diff --git a/x b/x\n",
        "test_patch": TEST_PATCH,
        "version": "1.0",
        "FAIL_TO_PASS": '["tests/test_old.py::test_a"]',
        "PASS_TO_PASS": '["tests/test_old.py::test_b[x y]", "tests/test_old.py::test_c"]',
        "image": "swebench/sweb.eval.x86_64.owner_1776_name-1:latest",
        "eval_script": EVAL_SCRIPT.format(command=command),
        "log_parser": "parse_log_pytest",
        "eval_type": "pass_and_fail",
        **fields,
    }


def write(folder: Path, *rows: Any, name: str = "set.jsonl") -> str:
    path = folder / name
    path.write_text("".join(f"{one if isinstance(one, str) else json.dumps(one)}\n" for one in rows), "utf-8")
    return str(path)


def refusal(spec: str) -> str:
    with pytest.raises(TaskError) as caught:
        load_tasks(spec)
    text = str(caught.value)
    assert "\n" not in text
    return text


def read(spec: str) -> list[SweTask]:
    return [as_swe(task) for task in load_tasks(spec).tasks]


def without(key: str, **fields: Any) -> dict[str, Any]:
    return {name: value for name, value in row(**fields).items() if name != key}


# what is read


@pytest.mark.parametrize("name", SETS)
def test_an_embedded_set_has_its_tasks_in_order_and_their_repositories(name: str) -> None:
    tasks = load_tasks(name)
    assert tasks.name == name
    assert len(tasks) >= 12
    with_homes = with_repositories(tasks.select([tasks.tasks[0].id]))
    [task] = map(as_swe, with_homes.tasks)
    assert task.origin.image is None
    assert task.origin.repository is not None
    assert (task.origin.repository / ".git").is_dir()
    assert with_repositories(with_homes) == with_homes


def test_a_kept_repository_holds_its_base_and_nothing_else() -> None:
    """A patch that adds compiled files applies as it does on the base."""
    origin = quick_task("tally").origin
    status = ["git", "-c", "safe.directory=*", "status", "--porcelain", "--ignored"]
    assert subprocess.run(status, cwd=origin.repository, check=True, capture_output=True).stdout == b""


def test_a_file_in_swebench_s_format_is_read_with_lists_as_lists_and_as_texts(tmp_path: Path) -> None:
    as_lists = row(instance_id="b", FAIL_TO_PASS=["f"], PASS_TO_PASS=[])
    tasks = load_tasks(write(tmp_path, row(), "", as_lists, "   "))
    first, second = map(as_swe, tasks.tasks)
    assert (tasks.name, tasks.suite, len(tasks)) == ("set", "swe", 2)
    assert (first.group, first.version) == ("owner/name", "1.0")
    assert first.id == "owner__name-1"
    assert first.fail_to_pass == ("tests/test_old.py::test_a",)
    assert first.pass_to_pass == ("tests/test_old.py::test_b[x y]", "tests/test_old.py::test_c")
    assert (second.fail_to_pass, second.pass_to_pass) == (("f",), ())
    assert first.origin.image == row()["image"]
    assert first.origin.env["CONDA_DEFAULT_ENV"] == "testbed"
    assert first.statement == row()["problem_statement"]
    assert dict(first.instance) == row()
    assert first.digest != second.digest


def test_rows_of_the_embedded_set_can_be_given_as_a_file(tmp_path: Path) -> None:
    quick = load_tasks("quick")
    rows = [dict(task.instance) for task in read("quick")[:3]]
    tasks = load_tasks(write(tmp_path, *rows))
    assert tasks.tasks == quick.tasks[:3]
    assert len(with_repositories(tasks)) == 3


def test_line_ends_and_marks_of_other_systems_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "dos.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(row()).encode() + b"\r\n" + json.dumps(row(instance_id="b")).encode())
    assert len(load_tasks(str(path))) == 2
    separator = row(problem_statement="one\u2028two\x0cthree")
    path.write_text(json.dumps(separator, ensure_ascii=False), "utf-8")
    assert load_tasks(str(path)).tasks[0].statement == "one\u2028two\x0cthree"


def test_a_json_list_is_read_too(tmp_path: Path) -> None:
    assert len(load_tasks(write(tmp_path, json.dumps([row(), row(instance_id="b")]), name="set.json"))) == 2


def test_ids_are_selected_in_the_order_of_the_set(tmp_path: Path) -> None:
    tasks = load_tasks(write(tmp_path, *(row(instance_id=name) for name in "abcd")))
    assert [task.id for task in tasks.select(["d", "a", "d"]).tasks] == ["a", "d"]
    with pytest.raises(TaskError, match=r"no task x, y in set, which holds 4 such as a, b, c, d$"):
        tasks.select(["a", "x", "y"])


# what is refused


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        ("{broken", "2: not JSON"),
        ("[" * 100_000, "2: not JSON"),
        ("[1, 2]", "2: not an object; each line must be one SWE-bench instance"),
        ("null", "2: not an object"),
        (without("patch"), "2: field 'patch' is missing; an instance needs the texts instance_id, repo"),
        (row(problem_statement=None), "2: field 'problem_statement' is not a text"),
        (row(test_patch=["diff"]), "2: field 'test_patch' is not a text"),
        (row(problem_statement="half \ud800"), "2: field 'problem_statement' holds half a character"),
        (without("image"), "2: field 'image' is missing: rows need the schema of swebench 5"),
        (without("eval_script"), "2: field 'eval_script' is missing"),
        (without("log_parser"), "use a current copy of the data set"),
        (without("eval_type"), "2: field 'eval_type' is missing"),
        (row(image=None), "2: field 'image' is not a text"),
        (row(test_command=5), "2: field 'test_command' is not a text"),
        (row(FAIL_TO_PASS="test_a"), "2: field 'FAIL_TO_PASS' is not a list of test names"),
        (row(FAIL_TO_PASS='{"a": 1}'), "2: field 'FAIL_TO_PASS' is not a list of test names"),
        (row(PASS_TO_PASS=[1]), "2: field 'PASS_TO_PASS' is not a list of test names"),
        (without("PASS_TO_PASS"), "2: field 'PASS_TO_PASS' is not a list of test names"),
        (row(FAIL_TO_PASS=[], PASS_TO_PASS="[]"), "any patch would resolve it"),
        (row(eval_script="pytest"), "2: the eval_script has no marker '>>>>> Start Test Output'"),
    ],
    ids=lambda value: value[:60] if isinstance(value, str) else "",
)
def test_a_broken_line_is_refused_with_its_file_line_and_remedy(tmp_path: Path, broken: Any, why: str) -> None:
    spec = write(tmp_path, row(instance_id="fine"), broken)
    text = refusal(spec)
    assert text.startswith(f"{spec}:2: ")
    assert why in text
    assert len(text) < 500


def test_duplicate_ids_are_refused_with_both_places(tmp_path: Path) -> None:
    spec = write(tmp_path, row(), row(instance_id="b"), row())
    assert refusal(spec) == (f"{spec}:3: the id owner__name-1 is there twice, first at {spec}:1; remove one of them")


def test_what_cannot_be_read_at_all_is_refused_with_its_name(tmp_path: Path) -> None:
    missing, empty, blank = tmp_path / "no.jsonl", tmp_path / "empty.jsonl", write(tmp_path, "", " ")
    empty.touch()
    assert refusal(str(missing)).startswith(f"no file {missing}: give the path of a .jsonl, .json or .parquet file")
    assert refusal(str(empty)).startswith(f"{empty} holds no task: suite swe reads ")
    assert refusal(blank).startswith(f"{blank} holds no task: suite swe reads ")
    assert refusal(str(tmp_path)) == f"{tmp_path} is a folder; give one of its files: {empty}, {blank}"
    (tmp_path / "odd.jsonl").mkdir()
    assert refusal(str(tmp_path / "odd.jsonl")).endswith("odd.jsonl is a folder; give a .jsonl file")


def test_a_file_that_is_not_utf8_is_refused_with_the_line(tmp_path: Path) -> None:
    path = tmp_path / "latin.jsonl"
    path.write_bytes(json.dumps(row()).encode() + b'\n{"instance_id": "caf\xe9"}\n')
    assert refusal(str(path)) == f"{path}:2: not UTF-8 (invalid continuation byte); save the file as UTF-8"


@pytest.mark.parametrize("text", ["{}", "5", "{", "null"])
def test_a_json_file_that_holds_no_list_is_refused(tmp_path: Path, text: str) -> None:
    spec = write(tmp_path, text, name="set.json")
    assert refusal(spec).startswith(f"{spec}: not ")


def test_a_json_object_from_id_to_row_is_read(tmp_path: Path) -> None:
    rows = [row(instance_id=f"a__b-{number}") for number in (1, 2)]
    spec = write(tmp_path, json.dumps({each["instance_id"]: each for each in rows}), name="set.json")
    assert [task.id for task in load_tasks(spec).tasks] == ["a__b-1", "a__b-2"]


@pytest.mark.parametrize(
    ("name", "text", "remedy"),
    [
        ("set.parquet", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "`git lfs pull`"),
        ("set.jsonl.xz", "7zXZ", "unxz"),
        ("set.feather", "ARROW1", "to_parquet"),
        ("dataset_info.json", "{}", "to_parquet"),
    ],
)
def test_files_of_other_kinds_are_refused_with_what_to_do(tmp_path: Path, name: str, text: str, remedy: str) -> None:
    spec = write(tmp_path, text, name=name)
    assert remedy in refusal(str(tmp_path) if name == "dataset_info.json" else spec)


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    assert refusal("swiftly") == (
        "no task set 'swiftly': suite swe reads quick, quick-easy, lite, verified, full, multilingual, a hub name like "
        "owner/name or owner/name:split, or a .jsonl, .json or .parquet file of SWE-bench instances (with "
        "instance_id); suite answers reads a .jsonl, .json or .parquet file of questions (with question and answer)"
    )


def test_a_file_that_is_of_no_suite_is_refused_with_the_forms_of_all(tmp_path: Path) -> None:
    spec = write(tmp_path, {"prompt": "What is 6 times 7?", "solution": 42})
    text = refusal(spec)
    assert text.startswith(f"{spec}:1: no suite reads this row: suite swe reads ")
    assert "instance_id" in text
    assert "question and answer" in text
    assert refusal(write(tmp_path, "3")).startswith(f"{spec}:1: no suite reads this row")


def test_an_embedded_row_without_a_repository_here_is_refused(tmp_path: Path) -> None:
    own = {**dict(read("quick")[0].instance), "instance_id": "mine-1"}
    with pytest.raises(TaskError, match="task mine-1 names no image and is not an embedded one"):
        with_repositories(load_tasks(write(tmp_path, own)))


def test_an_embedded_row_at_another_commit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    own = {**dict(read("quick")[0].instance), "base_commit": "0" * 40}
    with pytest.raises(TaskError, match="not at its base_commit 0000"):
        with_repositories(load_tasks(write(tmp_path, own)))
    assert not any((tmp_path / "cache" / "coding-monkeys" / "repositories").iterdir())


@needs_swebench
def test_every_parser_and_eval_type_of_the_installed_harness_is_values_known() -> None:
    code = (
        "from swebench.harness.constants import EvalType; from swebench.harness.log_parsers import PARSER_REGISTRY; "
        "import json; print(json.dumps([sorted(PARSER_REGISTRY), sorted(each.value for each in EvalType)]))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert [sorted(values_known("log_parser")), sorted(values_known("eval_type"))] == json.loads(done.stdout)


@needs_swebench
@pytest.mark.parametrize(("field", "value"), [("log_parser", "parse_log_cobol"), ("eval_type", "by_vote")])
def test_a_row_that_the_installed_harness_cannot_grade_is_refused(tmp_path: Path, field: str, value: str) -> None:
    spec = write(tmp_path, row(instance_id="fine"), row(**{field: value}))
    assert refusal(spec) == (
        f"{spec}:2: the installed swebench knows no {field} '{value}'; "
        "install the version that this data set is for, or remove the row"
    )


@needs_swebench
def test_rows_of_every_parser_are_read_whatever_their_language(tmp_path: Path) -> None:
    script = "#!/bin/bash\ncd /testbed\n: '>>>>> Start Test Output'\nmake test\n: '>>>>> End Test Output'\n"
    rows = [
        row(instance_id=f"{parser}-{kind}", log_parser=parser, eval_type=kind, eval_script=script)
        for parser in values_known("log_parser")
        for kind in values_known("eval_type")
    ]
    tasks = read(write(tmp_path, *rows))
    assert len(tasks) == 2 * len(values_known("log_parser")) > 100
    assert {task.test_command for task in tasks} == {"bash -c 'cd /testbed\nmake test'"}
    assert not any(task.origin.env for task in tasks)  # conda's belongs to Python's images


# the visible tests


def visible(folder: Path, command: str, test_patch: str = TEST_PATCH) -> str:
    return load_tasks(write(folder, row(command=command, test_patch=test_patch))).tasks[0].test_command


def addition(*names: str) -> str:
    return "".join(
        f"diff --git a/{name} b/{name}\nnew file mode 100644\n--- /dev/null\n+++ b/{name}\n@@ -0,0 +1 @@\n+x\n"
        for name in names
    )


def test_the_visible_test_command_is_the_eval_script_s_in_its_environment(tmp_path: Path) -> None:
    command = visible(tmp_path, "pytest -rA tests/test_old.py", "")
    assert command == (
        "bash -c 'source /opt/miniconda3/bin/activate\nconda activate testbed\ncd /testbed\nexport LANG=C\n"
        "pytest -rA tests/test_old.py'"
    )


def test_files_that_only_the_test_patch_adds_are_left_out(tmp_path: Path) -> None:
    command = visible(tmp_path, "pytest -rA tests/test_old.py tests/test_new.py")
    assert command.endswith("\npytest -rA tests/test_old.py'")
    assert "secret" not in command


def test_a_command_that_names_no_added_file_is_left_as_it_is(tmp_path: Path) -> None:
    command = "PYTHONWARNINGS='ignore::UserWarning' bin/test -C --verbose tests/test_old.py 2>&1 | cat"
    assert "cat'" in visible(tmp_path, command)
    assert "2>&1 | cat" in visible(tmp_path, command)


def test_files_that_the_test_patch_renames_are_left_out(tmp_path: Path) -> None:
    renamed = (
        "diff --git a/tests/test_old.py b/tests/test_moved.py\nsimilarity index 90%\n"
        "rename from tests/test_old.py\nrename to tests/test_moved.py\n"
    )
    command = visible(tmp_path, "pytest tests/test_moved.py tests/test_b.py", renamed)
    assert command.endswith("\npytest tests/test_b.py'")


def test_added_files_with_odd_names_are_left_out(tmp_path: Path) -> None:
    spaced = "diff --git a/tests/a b.py b/tests/a b.py\nnew file mode 100644\n--- /dev/null\n+++ b/tests/a b.py\t\n"
    accents = r'diff --git "a/tests/\303\251.py" "b/tests/\303\251.py"' + "\nnew file mode 100644\n--- /dev/null\n"
    empty = "diff --git a/tests/empty.py b/tests/empty.py\nnew file mode 100644\nindex 0000000..e69de29\n"
    command = visible(tmp_path, "pytest 'tests/a b.py' tests/é.py tests/empty.py tests/t.py", spaced + accents + empty)
    assert command.endswith("\npytest tests/t.py'")


def test_added_modules_are_left_out_where_the_runner_names_modules(tmp_path: Path) -> None:
    patch = addition("tests/staticfiles_tests/test_handlers.py", "tests/backends/app/__init__.py")
    command = visible(tmp_path, "./tests/runtests.py asgi.tests staticfiles_tests.test_handlers backends.app", patch)
    assert command.endswith("\n./tests/runtests.py asgi.tests'")


def test_a_patch_tells_what_it_touches_and_what_it_adds() -> None:
    gone = (
        "diff --git a/gone b/gone\ndeleted file mode 100644\n--- a/gone\n+++ /dev/null\n@@ -1 +0,0 @@\n-new file mode\n"
    )
    patch = TEST_PATCH + gone
    assert touched_files(patch) == ["tests/test_old.py", "tests/test_new.py", "gone"]
    assert added_files(patch) == {"tests/test_new.py"}
    assert touched_files("") == []
