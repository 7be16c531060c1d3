"""Every embedded task, built with real git and run with real subprocesses, keeps the guarantees of `tasks.quick`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tasks.quick import SETS, TEST_COMMAND, build_repository, instances
from tasks.quick.__main__ import apply, outcomes

INSTANCES = {instance["instance_id"]: instance for tasks in SETS for instance in instances(tasks)}
QUICK = {name: instance for name, instance in INSTANCES.items() if name.startswith("quick__")}
EASY = {name: instance for name, instance in INSTANCES.items() if name.startswith("quick-easy__")}
COORDINATED = [name for name, instance in INSTANCES.items() if instance["level"] == 4]
SWE_BENCH_FIELDS = {
    "instance_id",
    "repo",
    "base_commit",
    "version",
    "problem_statement",
    "patch",
    "test_patch",
    "FAIL_TO_PASS",
    "PASS_TO_PASS",
}


@dataclass(frozen=True)
class Story:
    """What happened to one task on its way from the base to the solution."""

    instance: dict[str, Any]
    repository: Path
    sha: str
    visible: dict[str, bool]
    hidden: dict[str, bool]
    solved: dict[str, bool]


@pytest.fixture(scope="module", params=list(INSTANCES))
def story(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Story:
    instance = INSTANCES[request.param]
    repository = tmp_path_factory.mktemp(instance["instance_id"]) / "repository"
    sha = build_repository(instance["instance_id"], repository)
    visible = outcomes(repository)
    apply(instance["test_patch"], repository)
    hidden = outcomes(repository)
    apply(instance["patch"], repository)
    return Story(instance, repository, sha, visible, hidden, outcomes(repository))


def git(repository: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=repository, check=True, capture_output=True, text=True).stdout.strip()


def files_of(patch: str) -> list[str]:
    return re.findall(r"^\+\+\+ b/(.+)$", patch, re.MULTILINE)


def test_quick_has_at_least_twelve_issues_of_every_level() -> None:
    levels = [instance["level"] for instance in QUICK.values()]
    assert len(levels) >= 12
    assert set(levels) == {1, 2, 3, 4}
    assert levels == sorted(levels)


def test_every_instance_is_a_complete_instance_of_swe_bench() -> None:
    for instance in INSTANCES.values():
        assert set(instance) == SWE_BENCH_FIELDS | {"level", "test_command"}
        assert all(instance.values())
        assert instance["test_command"] == TEST_COMMAND


def test_the_built_commit_is_the_base_commit(story: Story) -> None:
    assert story.sha == story.instance["base_commit"]


def test_the_repository_has_one_commit_on_main(story: Story) -> None:
    assert git(story.repository, "rev-list", "--all") == story.sha
    assert git(story.repository, "symbolic-ref", "HEAD") == "refs/heads/main"


def test_running_the_suite_leaves_nothing_behind(story: Story) -> None:
    touched = git(story.repository, "status", "--porcelain", "--ignored").splitlines()
    patched = files_of(story.instance["patch"]) + files_of(story.instance["test_patch"])
    assert sorted(line.split()[-1] for line in touched) == sorted(patched)


def test_the_empty_patch_does_not_resolve_the_issue(story: Story) -> None:
    assert story.instance["FAIL_TO_PASS"]
    assert not any(story.hidden.get(test, False) for test in story.instance["FAIL_TO_PASS"])


def test_what_must_keep_passing_passes_at_the_base(story: Story) -> None:
    assert story.instance["PASS_TO_PASS"]
    assert all(story.hidden[test] for test in story.instance["PASS_TO_PASS"])


def test_the_gold_patch_resolves_the_issue(story: Story) -> None:
    assert all(story.solved.values())
    listed = story.instance["FAIL_TO_PASS"] + story.instance["PASS_TO_PASS"]
    assert sorted(story.solved) == sorted(listed)


def test_visible_tests_are_among_the_listed_ones_and_at_most_one_fails(story: Story) -> None:
    assert 8 <= len(story.visible) <= 25
    assert set(story.visible) <= set(story.solved)
    assert list(story.visible.values()).count(False) <= 1


def test_quick_easy_has_sixteen_issues_of_one_line_in_a_module_and_two_sentences_about_each() -> None:
    assert len(EASY) == 16
    for instance in EASY.values():
        slug = instance["repo"].rpartition("/")[2]
        assert instance["level"] == 1
        assert files_of(instance["patch"]) == [f"{slug}.py"]
        lines = re.findall(r"^[+-](?!\+\+ |-- ).*$", instance["patch"], re.MULTILINE)
        assert [line[0] for line in lines] == ["-", "+"]
        title, body = instance["problem_statement"].strip().split("\n\n")
        assert len(title) < 60
        assert re.fullmatch(r"`[^`]+` gives? .+\. I expected .+\.", body.replace("` and `", " and "))
        assert not any(line[1:].strip() in body for line in lines)


def test_every_hidden_test_of_quick_easy_that_must_change_is_one_of_three_with_several_assertions() -> None:
    for instance in EASY.values():
        added = re.findall(r"^\+ +(?:def (test_\w+)|self\.assert)", instance["test_patch"], re.MULTILINE)
        assert len([name for name in added if name]) == 2
        assert len([name for name in added if not name]) >= 3
        assert len(instance["FAIL_TO_PASS"]) in (2, 3)


def test_some_visible_suites_are_red_at_the_base_and_some_are_green() -> None:
    assert len(QUICK) / 3 <= len(red(QUICK)) <= len(QUICK) * 2 / 3
    assert len(red(EASY)) == 13


def red(among: dict[str, dict[str, Any]]) -> list[str]:
    """The tasks of which a visible test fails at the base."""
    added = {name: added_tests(instance["test_patch"]) for name, instance in among.items()}
    return [
        name
        for name, instance in among.items()
        if any(test.rpartition(".")[2] not in added[name] for test in instance["FAIL_TO_PASS"])
    ]


def added_tests(patch: str) -> set[str]:
    return set(re.findall(r"^\+ +def (test_\w+)", patch, re.MULTILINE))


def test_the_gold_patch_touches_no_test_and_the_test_patch_nothing_else(story: Story) -> None:
    assert not any(name.startswith("tests/") for name in files_of(story.instance["patch"]))
    assert all(name.startswith("tests/") for name in files_of(story.instance["test_patch"]))


def test_the_statement_does_not_give_the_fix_away(story: Story) -> None:
    added = re.findall(r"^\+(?!\+\+ )\s*(.+?)\s*$", story.instance["patch"], re.MULTILINE)
    assert added
    assert not any(line in story.instance["problem_statement"] for line in added)


def test_the_visible_suite_takes_milliseconds_and_warns_of_nothing(story: Story, tmp_path: Path) -> None:
    build_repository(story.instance["instance_id"], tmp_path / "repository")
    done = subprocess.run(
        [sys.executable, "-W", "error", *TEST_COMMAND.split()[1:]],
        cwd=tmp_path / "repository",
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Warning" not in done.stderr
    seconds = re.search(r"^Ran \d+ tests in ([\d.]+)s$", done.stderr, re.MULTILINE)
    assert seconds is not None
    assert float(seconds[1]) < 0.1


@pytest.mark.parametrize("name", COORDINATED)
def test_no_half_of_a_coordinated_fix_is_enough(name: str, tmp_path: Path) -> None:
    instance = INSTANCES[name]
    halves = re.split(r"^(?=diff --git )", instance["patch"], flags=re.MULTILINE)[1:]
    assert len(halves) == 2
    for number, half in enumerate(halves):
        repository = tmp_path / str(number)
        build_repository(name, repository)
        apply(instance["test_patch"] + half, repository)
        results = outcomes(repository)
        assert not all(results[test] for test in instance["FAIL_TO_PASS"])


def test_nothing_around_it_changes_the_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    (home / "git").mkdir(parents=True)
    (home / ".gitconfig").write_text(
        "[core]\n\tautocrlf = true\n\tfileMode = false\n[commit]\n\tgpgSign = true\n"
        "[init]\n\tdefaultBranch = trunk\n[user]\n\tname = Somebody Else\n"
    )
    (home / "git" / "ignore").write_text("*.py\n")
    (home / "git" / "attributes").write_text("* text eol=crlf\n")
    for name, value in {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home),
        "GIT_DIR": str(home / "elsewhere"),
        "GIT_WORK_TREE": str(home),
        "GIT_INDEX_FILE": str(home / "index"),
        "GIT_AUTHOR_NAME": "Somebody Else",
        "GIT_COMMITTER_DATE": "2001-01-01T00:00:00+0000",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "i18n.commitEncoding",
        "GIT_CONFIG_VALUE_0": "latin1",
        "TZ": "Asia/Tokyo",
    }.items():
        monkeypatch.setenv(name, value)
    umask = os.umask(0o077)
    try:
        sha = build_repository("ledger", tmp_path / "repository")
    finally:
        os.umask(umask)
    assert sha == INSTANCES["quick__ledger-1"]["base_commit"]
    assert not (home / "elsewhere").exists()


def test_a_folder_that_is_not_empty_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(FileExistsError, match="nothing was written"):
        build_repository("ledger", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize("name", ["nonsense", "", "..", "../quick", "quick__ledger-2"])
def test_an_unknown_task_is_refused_with_the_known_ones(name: str, tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="ledger"):
        build_repository(name, tmp_path / "repository")
    assert not (tmp_path / "repository").exists()
