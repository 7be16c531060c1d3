"""Rows of other data sets and of earlier schemas load with all that grades them, or are refused with what is missing.

The rows are written here, in the schemas of the data sets that they stand for.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tasks import TaskError, load_tasks
from tasks.swe.hub import named_on_hub, rows_of_hub
from tasks.swe.task import SweTask, as_swe

needs_swebench = pytest.mark.skipif(find_spec("swebench") is None, reason="swebench is not installed")

TEST_PATCH = """\
diff --git a/tests/i18n/tests.py b/tests/i18n/tests.py
--- a/tests/i18n/tests.py
+++ b/tests/i18n/tests.py
@@ -1 +1,2 @@
 import unittest
+import json
diff --git a/tests/i18n/data.json b/tests/i18n/data.json
--- a/tests/i18n/data.json
+++ b/tests/i18n/data.json
@@ -1 +1 @@
-1
+2
"""
OLDER = {
    "repo": "django/django",
    "instance_id": "django__django-1",
    "base_commit": "abc",
    "patch": "diff --git a/x b/x\n",
    "test_patch": TEST_PATCH,
    "problem_statement": "It breaks.",
    "hints_text": "",
    "created_at": "2020-01-01T00:00:00Z",
    "version": "3.1",
    "FAIL_TO_PASS": '["test_a (i18n.tests.A)"]',
    "PASS_TO_PASS": "[]",
    "environment_setup_commit": "def",
}
SYMPY = "PYTHONWARNINGS='ignore::UserWarning,ignore::SyntaxWarning'"
OLDER_SCRIPT = f"""\
#!/bin/bash
set -uxo pipefail
source /opt/miniconda3/bin/activate
conda activate testbed
cd /testbed
sed -i '/en_US.UTF-8/s/^# //g' /etc/locale.gen && locale-gen
export LANG=en_US.UTF-8
export LANGUAGE=en_US:en
export LC_ALL=en_US.UTF-8
git config --global --add safe.directory /testbed
cd /testbed
git status
git show
git -c core.fileMode=false diff abc
source /opt/miniconda3/bin/activate
conda activate testbed
python -m pip install -e .
git checkout abc tests/i18n/tests.py tests/i18n/data.json
git apply -v - <<'EOF_114329324912'
{TEST_PATCH}
EOF_114329324912
: '>>>>> Start Test Output'
./tests/runtests.py --verbosity 2 --settings=test_sqlite --parallel 1 i18n.tests
: '>>>>> End Test Output'
git checkout abc tests/i18n/tests.py tests/i18n/data.json
"""
REBENCH = {
    **{key: value for key, value in OLDER.items() if key != "version"},
    "repo": "acme/widget",
    "instance_id": "acme__widget-7",
    "FAIL_TO_PASS": ["tests/test_a.py::test_a"],
    "PASS_TO_PASS": [],
    "version": "0.1",
    "docker_image": "swerebench/sweb.eval.x86_64.acme_1776_widget-7",
    "install_config": {
        "install": "pip install -e .[dev]",
        "log_parser": "parse_log_pytest",
        "test_cmd": "pytest -rA --tb=line",
        "python": "3.9",
        "pre_install": None,
    },
}
REBENCH_2 = {
    **{key: value for key, value in REBENCH.items() if key not in ("docker_image", "version")},
    "language": "go",
    "image_name": "docker.io/swerebenchv2/acme-widget:7",
    "install_config": {
        "base_image_name": "go_1.22.12",
        "install": ["go mod download"],
        "log_parser": "parse_log_gotest",
        "test_cmd": ["go build ./...", "go test -v ./..."],
    },
}


def write(folder: Path, *rows: Mapping[str, Any]) -> str:
    path = folder / "set.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return str(path)


def only(spec: str) -> SweTask:
    (task,) = load_tasks(spec).tasks
    return as_swe(task)


def refusal(spec: str) -> str:
    with pytest.raises(TaskError) as refused:
        load_tasks(spec)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@needs_swebench
def test_a_row_of_swebench_s_older_schema_has_its_image_and_its_eval_script_by_rule(tmp_path: Path) -> None:
    task = only(write(tmp_path, OLDER))
    assert task.origin.image == "swebench/sweb.eval.x86_64.django_1776_django-1:latest"
    assert task.instance["eval_script"] == OLDER_SCRIPT
    assert (task.instance["log_parser"], task.instance["eval_type"]) == ("parse_log_django", "pass_and_fail")
    assert "runtests.py --verbosity 2 --settings=test_sqlite --parallel 1 i18n.tests" in task.test_command
    assert task.origin.env["CONDA_DEFAULT_ENV"] == "testbed"


@needs_swebench
@pytest.mark.parametrize(
    ("repository", "version", "lines"),
    [
        ("django/django", "1.9", ["python setup.py install", "./tests/runtests.py --verbosity 2 i18n.tests"]),
        ("django/django", "2.2", ["export PYTHONIOENCODING=utf8", "python setup.py install"]),
        ("django/django", "5.0", ["python -m pip install -e ."]),
        ("sympy/sympy", "1.7", [f"{SYMPY} bin/test -C --verbose tests/i18n/tests.py"]),
        ("astropy/astropy", "1.3", ["pytest -rA -vv -o console_output_style=classic --tb=no tests/i18n/tests.py"]),
        ("matplotlib/matplotlib", "2.0", ["python setup.py build; python setup.py install"]),
        ("mwaskom/seaborn", "0.11", ["python -m pip install -e .", "pytest --no-header -rA tests/i18n/tests.py"]),
        ("sphinx-doc/sphinx", "4.0", ["tox --current-env -epy39 -v -- tests/i18n/tests.py"]),
    ],
)
def test_the_eval_script_follows_the_repository_and_its_version(
    tmp_path: Path, repository: str, version: str, lines: list[str]
) -> None:
    script = only(write(tmp_path, {**OLDER, "repo": repository, "version": version})).instance["eval_script"]
    assert set(lines) <= set(script.splitlines())


@needs_swebench
def test_a_row_of_swe_rebench_names_its_image_and_commands_itself(tmp_path: Path) -> None:
    for row in (REBENCH, {**REBENCH, "install_config": json.dumps(REBENCH["install_config"])}):
        task = only(write(tmp_path, row))
        assert task.origin.image == REBENCH["docker_image"]
        assert (task.origin.workdir, task.instance["log_parser"]) == ("/testbed", "parse_log_pytest")
        script = task.instance["eval_script"].splitlines()
        assert "LANG=C.UTF-8 LC_ALL=C.UTF-8 pip install -e .[dev]" in script
        assert "LANG=C.UTF-8 LC_ALL=C.UTF-8 pytest -rA --tb=line tests/i18n/tests.py" in script


@needs_swebench
def test_a_row_of_swe_rebench_2_has_its_repository_in_a_folder_of_its_name(tmp_path: Path) -> None:
    task = only(write(tmp_path, REBENCH_2))
    assert (task.origin.image, task.origin.workdir) == (REBENCH_2["image_name"], "/widget")
    script = task.instance["eval_script"]
    assert "cd /widget\n" in script
    assert ": '>>>>> Start Test Output'\ngo build ./...\ngo test -v ./...\n: '>>>>> End Test Output'\n" in script
    assert task.instance["version"] == ""


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (
            {**OLDER, "repo": "dask/dask"},
            "names no image, no eval_script, no log_parser, no eval_type, as SWE-bench's rows before swebench 5, and "
            "the test command of dask/dask is unknown here. Rows of SWE-bench's own sets have these fields in the "
            "current copies on the hub, such as SWE-bench/SWE-bench_Multilingual; for SWE-Gym they are in "
            "github.com/SWE-Gym/SWE-Bench-Package",
        ),
        (
            {**OLDER, "dockerhub_tag": "x", "selected_test_files_to_run": "[]", "fail_to_pass": "[]"},
            "SWE-bench Pro, which lacks test command and log parser, which are run_script.sh and parser.py of each",
        ),
        (
            {"org": "cli", "repo": "cli", "number": 1, "fix_patch": "x", "test_patch": "y", "base": {"sha": "z"}},
            "Multi-SWE-bench, which lacks image, test command and log parser, which the package multi-swe-bench has",
        ),
        (
            {"repo_name": "pandas", "docker_image": "x", "commit_hash": "y", "expected_output_json": "{}"},
            "R2E-Gym, which lacks base commit, test patch and names of tests: they lie in its images",
        ),
        (
            {"instance_id": "a", "repo": "swesmith/a", "image_name": "x", "patch": "y", "FAIL_TO_PASS": []},
            "SWE-smith, which lacks base commit, test patch and test command",
        ),
        ({**OLDER, "test_cmds": ["pytest"], "pull_number": "1", "log_parser": "pytest"}, "SWE-bench-Live, which lacks"),
        ({**REBENCH, "docker_image": None}, "SWE-rebench without an image: it has neither docker_image nor image_name"),
        ({**REBENCH, "install_config": "{"}, "SWE-rebench without test_cmd in its install_config"),
        ({**REBENCH, "install_config": {"test_cmd": "x"}}, "field 'log_parser' is not a text"),
    ],
    ids=["swe-gym", "pro", "multi-swe", "r2e", "swe-smith", "live", "no image", "no commands", "no parser"],
)
def test_a_row_that_cannot_be_graded_is_refused_with_what_is_missing_and_where_it_is(
    tmp_path: Path, row: dict[str, Any], why: str
) -> None:
    text = refusal(write(tmp_path, row))
    assert text.startswith(f"{tmp_path / 'set.jsonl'}:1: ")
    assert why in text


@needs_swebench
def test_lists_of_tests_are_read_as_python_writes_them_and_never_two_names_as_one(tmp_path: Path) -> None:
    task = only(write(tmp_path, {**OLDER, "FAIL_TO_PASS": str(["a 'b'", "c"])}))
    assert task.fail_to_pass == ("a 'b'", "c")
    assert json.loads(task.instance["FAIL_TO_PASS"]) == ["a 'b'", "c"]
    for printed in ("['a' 'b']", "['a'\n 'b']", "('a',)", "[1]", "['a'", "[f'{x}']", "['a'] * 2"):
        text = refusal(write(tmp_path, {**OLDER, "FAIL_TO_PASS": printed}))
        assert "FAIL_TO_PASS' is not a list of test names" in text


@needs_swebench
@pytest.mark.parametrize("name", ["set.parquet", "set.jsonl.gz", "SET.JSON", "set.json.gz"])
def test_task_files_are_read_in_the_forms_that_people_have(tmp_path: Path, name: str) -> None:
    rows = [OLDER, {**OLDER, "instance_id": "django__django-2", "FAIL_TO_PASS": ["a", "b [c d]"], "version": None}]
    path = tmp_path / name
    if name.endswith(".parquet"):
        arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        rows[0] = {**OLDER, "FAIL_TO_PASS": ["test_a (i18n.tests.A)"]}
        parquet.write_table(arrow.Table.from_pylist(rows), path)
    elif "jsonl" in name:
        path.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    else:
        text = json.dumps(rows).encode("utf-16")
        path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    found = load_tasks(str(path))
    assert (found.name.lower(), len(found)) == ("set", 2)
    assert as_swe(found.tasks[1]).fail_to_pass == ("a", "b [c d]")


def test_a_mistyped_id_or_set_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"no task quick__leger-1 in quick, .*; did you mean quick__ledger-1\?$"):
        load_tasks("quick").select(["quick__leger-1", "quick__tally-1"])
    assert refusal("verifed").startswith("no task set 'verifed' (did you mean verified?): ")


# The hub: its client reads a folder in the same way as a data set.


def test_a_split_of_a_set_can_be_named() -> None:
    assert named_on_hub("lite") == ("SWE-bench/SWE-bench_Lite", "")
    assert named_on_hub("lite:dev") == ("SWE-bench/SWE-bench_Lite", "dev")
    assert named_on_hub("owner/name:2026_01") == ("owner/name", "2026_01")
    assert [named_on_hub(name) for name in ("quick", "a:b", "/x", "x/", "a/b/c", "http://x/y")] == [None] * 6


@pytest.mark.skipif(find_spec("datasets") is None, reason="datasets comes with swebench")
def test_any_split_is_read_and_a_missing_one_is_refused_with_those_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "set"
    folder.mkdir()
    for split in ("train", "test"):
        (folder / f"{split}.jsonl").write_text(json.dumps({"instance_id": split}) + "\n")

    def ids(name: Path, split: str = "") -> list[str]:
        return [row["instance_id"] for _, row in rows_of_hub(str(name), split)]

    assert (ids(folder), ids(folder, "train")) == (["test"], ["train"])
    with pytest.raises(TaskError, match=r"set has no split dev; it has train, test: give one as .*set:train$"):
        ids(folder, "dev")
    (folder / "test.jsonl").unlink()
    assert ids(folder) == ["train"]  # its only split
    with pytest.raises(TaskError, match="cannot be loaded from the hub"):
        ids(tmp_path / "none")
