"""The key of a verdict holds all that decides it, and stays the same from one version of this program to the next."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from envs import Limits
from tasks import load_tasks
from tasks.swe import verdict_key as keys
from tasks.swe.task import as_swe
from tasks.swe.verdict_key import normalised, verdict_key

TASK, OTHER = map(as_swe, load_tasks("quick").tasks[:2])
GOLD = TASK.patch.encode()
ROW = {
    "instance_id": "owner__name-1",
    "repo": "owner/name",
    "base_commit": "abc",
    "problem_statement": "It breaks — ünder load.",
    "patch": "diff --git a/x b/x\n",
    "test_patch": "diff --git a/tests/test_new.py b/tests/test_new.py\nnew file mode 100644\n--- /dev/null\n"
    "+++ b/tests/test_new.py\n@@ -0,0 +1 @@\n+import unittest\n",
    "version": "1.0",
    "FAIL_TO_PASS": '["tests/test_old.py::test_a"]',
    "PASS_TO_PASS": ["tests/test_old.py::test_b[x y]", "tests/test_old.py::test_c"],
    "image": "swebench/sweb.eval.x86_64.owner_1776_name-1:latest",
    "eval_script": "#!/bin/bash\nconda activate testbed\n"
    ": '>>>>> Start Test Output'\npytest -rA\n: '>>>>> End Test Output'\n",
    "log_parser": "parse_log_pytest",
    "eval_type": "pass_and_fail",
}
PATCH = b"diff --git a/x b/x\nindex 1234567..89abcde 100644\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n"


def made(**changed: Any) -> str:
    what = {"task": TASK, "patch": GOLD, "contents": "here", "limits": Limits(), "seconds": 60.0, **changed}
    return verdict_key(what.pop("task"), what.pop("patch"), **what)


def test_the_key_holds_all_that_decides_and_nothing_else() -> None:
    assert made() == made()
    different = [
        made(),
        made(task=OTHER),
        made(patch=GOLD + b"\n"),
        made(contents="there"),
        made(limits=Limits(memory_mb=1)),
        made(seconds=1.0),
        made(repeats=3),
    ]
    assert len(set(different)) == len(different)
    assert made(patch=re.sub(rb"^(index \w+\.\.)\w+", rb"\g<1>1234567", GOLD, flags=re.M)) == made()
    assert made(limits=Limits(lifetime_seconds=1.0)) == made()
    assert normalised(b"no patch\nindex 00..11") == b"no patch\nindex 00..11"


def test_hashes_that_decide_whether_a_patch_applies_stay() -> None:
    text = b"diff --git a/x b/x\nindex 1111111..2222222 100644\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+index 11..22\n"
    binary = b"diff --git a/y b/y\nindex 1111111..2222222 100644\nGIT binary patch\nliteral 0\nHcmV?d00001\n\n"
    both = text + binary
    assert normalised(both) == text.replace(b"1111111..2222222", b"1111111") + binary
    for changed in (both.replace(b"2222222", b"3333333"), both.replace(b"1111111", b"3333333")):
        assert made(patch=changed) != made(patch=both)
    assert made(patch=text.replace(b"1111111", b"3333333")) != made(patch=text)
    assert made(patch=text.replace(b"2222222", b"3333333")) == made(patch=text)


# The keys are those of the rules of `VERSION` 8; the digests were computed by the version of this program before its
# tasks had suites. If one of them changes, every verdict that a machine has kept is lost: change the rules of
# verification on purpose, by `VERSION`, or not at all.


def test_keys_of_embedded_tasks_change_with_the_rules_alone() -> None:
    tasks = {task.id: as_swe(task) for task in load_tasks("quick").tasks}
    tally = tasks["quick__tally-1"]
    how: dict[str, Any] = {"contents": "local cpython-3.11", "limits": Limits(memory_mb=512), "seconds": 1800.0}
    assert verdict_key(tally, tally.patch.encode(), **how) == "4ace6795cafa358a244807b47a0614db"
    assert verdict_key(tally, b"no patch", **how, repeats=11) == "d5fb205fcf2ded3f41755be8c1ade305"


def test_the_key_of_a_swe_bench_task_changes_with_the_rules_alone_and_its_digest_is_that_of_the_first_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "set.jsonl").write_text(json.dumps(ROW), "utf-8")
    [task] = load_tasks(str(tmp_path / "set.jsonl")).tasks
    monkeypatch.setattr(keys, "_swebench", lambda: "5.0.2")
    how: dict[str, Any] = {"contents": "docker sha256:0123", "limits": Limits(), "seconds": 60.0}
    assert verdict_key(replace(as_swe(task), pass_to_pass=()), PATCH, **how) == "3ccfad474512e24be7c3ca1228d12655"
    # It has an id with a blank inside, and such ids are read in another way than by that version.
    assert verdict_key(task, PATCH, **how) != "3ccfad474512e24be7c3ca1228d12655"
    assert task.digest == "34786afe34f676ac"


def test_digests_of_the_embedded_tasks_are_those_of_the_first_version() -> None:
    assert {task.id: task.digest for task in load_tasks("quick").tasks} == {
        "quick__ledger-1": "4d66bc484ddfe73b",
        "quick__measure-1": "15e6e3e07dbcf245",
        "quick__spans-1": "b7528e16ec53d05d",
        "quick__stockroom-1": "d0389706a6e8e235",
        "quick__folio-1": "665831ad3b8595f8",
        "quick__gridmark-1": "976a20d648f98b93",
        "quick__plainconf-1": "22a6cbaba201bb33",
        "quick__stash-1": "938e3887db748d42",
        "quick__again-1": "546f1de349964b0e",
        "quick__tally-1": "bd9086f15dcc5cc6",
        "quick__abacus-1": "847b164fe92d9034",
        "quick__stackup-1": "d43972f39eabc461",
    }
