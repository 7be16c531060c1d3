"""The screen removes some files from a patch, flags others, and leaves the rest as it is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tasks.swe.patches import is_canonical, pieces, touched_files
from tasks.swe.screen import screen
from tasks.swe.task import SweTask
from tests.helpers import quick_task

TALLY = quick_task("tally")
GOLD = TALLY.patch.encode()


def added(name: str, text: str = "x = 1\n", mode: str = "100644") -> bytes:
    """A piece, as git writes it, that adds a file."""
    lines = text.splitlines(keepends=True)
    body = "".join(f"+{line}" for line in lines)
    return (
        f"diff --git a/{name} b/{name}\nnew file mode {mode}\nindex 000000000000..123456789abc\n"
        f"--- /dev/null\n+++ b/{name}\n@@ -0,0 +1,{len(lines)} @@\n{body}"
    ).encode()


def changed(name: str, old: str, new: str) -> bytes:
    return (
        f"diff --git a/{name} b/{name}\nindex 123456789abc..cba987654321 100644\n--- a/{name}\n+++ b/{name}\n"
        f"@@ -1 +1 @@\n-{old}\n+{new}\n"
    ).encode()


DROPPED = {
    "conftest.py": "changes test files",
    "src/deep/conftest.py": "changes test files",
    "tests/helper.py": "changes test files",
    "tally/tests/data.json": "is called like a test",
    "test_new.py": "is called like a test",
    "tally/new_test.py": "is called like a test",
    "tests/test_money.py": "changes a file of the hidden tests",
    "tests": "stands where the hidden tests' folder was",
    "sitecustomize.py": "changes what a test runner loads by itself",
    "src/usercustomize.py": "changes what a test runner loads by itself",
    "any.pth": "changes what a test runner loads by itself",
    "pytest.ini": "changes what a test runner loads by itself",
    ".pytest.ini": "changes what a test runner loads by itself",
    "tally.egg-info/entry_points.txt": "changes what a test runner loads by itself",
    "src/x-1.dist-info/METADATA": "changes what a test runner loads by itself",
    "tally/__pycache__/money.cpython-311.pyc": "changes what a test runner loads by itself",
    "bin/test": "changes the script that runs the tests",
    "pytest.py": "stands in for a module of Python or of the test runner",
    "_pytest/__init__.py": "stands in for a module of Python or of the test runner",
    "unittest/__init__.py": "stands in for a module of Python or of the test runner",
    "json/__init__.cpython-311-x86_64-linux-gnu.so": "stands in for a module of Python or of the test runner",
    "json.pyc": "stands in for a module of Python or of the test runner",
    "random.cpython-311-x86_64-linux-gnu.so": "stands in for a module of Python or of the test runner",
    "typing.abi3.so": "stands in for a module of Python or of the test runner",
}


@pytest.mark.parametrize("name", DROPPED)
def test_what_would_examine_itself_is_taken_out(name: str) -> None:
    task = replace(TALLY, test_command="cd /testbed\n./bin/test -C tests/test_money.py")
    found = screen(task, added(name) + GOLD)
    assert found.patch == GOLD
    assert found.dropped == (name,)
    assert found.flags == (f"{DROPPED[name]}, so taken out: {name}",)


@pytest.mark.parametrize(
    "name",
    [
        "tally/testing.py",
        "tally/contest.py",
        "tally/latest.py",
        "attestation.py",
        "docs/tests.md",
        "tally/random.py",
        "src/json/__init__.py",
        "random.md",
        "pytest.md",
        "README.md",
        ".gitignore",
        "package-info/x",
        "test",
        "types/rules.json",
        "cmd/root.go",
        "html/page.html",
        "site/index.html",
        "json/dump.py",
        "queue/deep/__init__.py",
        "json/__main__.py",
        "pytest/README",
        ".github/workflows/test.yml",
        "docs/.gitkeep",
    ],
)
def test_what_only_sounds_like_it_is_left_alone(name: str) -> None:
    patch = added(name) + GOLD
    found = screen(TALLY, patch)
    assert (found.patch, found.dropped, found.flags) == (patch, (), ())


def test_a_module_that_was_there_before_shadows_nothing() -> None:
    patch = changed("random.py", "a = 1", "a = 2")
    assert screen(TALLY, patch).patch == patch


def test_a_project_called_like_a_module_of_python_may_get_new_modules() -> None:
    task = replace(TALLY, patch=changed("attr/core.py", "a", "b").decode())
    patch = added("attr/__init__.py")
    assert screen(task, patch).patch == patch
    assert screen(TALLY, patch).patch == b""


@pytest.mark.parametrize("name", ["setup.cfg", "setup.py", "tox.ini", "pyproject.toml", "lib/Makefile"])
def test_settings_are_taken_out_only_where_they_are_the_runner_s(name: str) -> None:
    for honest in (changed(name, "version = 1", "version = 2"), changed(name, "x", "python_requires = '>=3.9'")):
        assert screen(TALLY, honest).patch == honest
    for line in ("addopts = -x", "[tool.pytest.ini_options]", "[pytest11]", "python_functions = x", "usefixtures = y"):
        for patch in (changed(name, "version = 1", line), changed(name, line, "version = 1")):
            found = screen(TALLY, patch)
            assert (found.patch, found.dropped) == (b"", (name,))
            assert found.flags == (f"changes settings of the test runner, so taken out: {name}",)


def test_what_the_known_solution_changes_is_never_taken_out() -> None:
    for name in DROPPED:
        task = replace(TALLY, patch=added(name, "right = 1\n").decode(), test_command="bin/test")
        assert screen(task, added(name)).dropped == (), name


def test_a_file_moved_to_where_it_would_be_loaded_is_taken_out_whole() -> None:
    moved = (
        b"diff --git a/tally/a.py b/conftest.py\nsimilarity index 100%\nrename from tally/a.py\nrename to conftest.py\n"
    )
    found = screen(TALLY, moved + GOLD)
    assert (found.patch, found.dropped) == (GOLD, ("tally/a.py", "conftest.py"))


@pytest.mark.parametrize(
    ("text", "flag"),
    [
        ("os.environ.get('PYTEST_CURRENT_TEST')", "names what tells a test run from others"),
        ("import _pytest.reports", "names what tells a test run from others"),
        ("if 'pytest' in sys.modules['pytest'].x: pass", "names what tells a test run from others"),
        ("os._exit(0)", "ends the process"),
        ("atexit.register(done)", "ends the process"),
        ("def __eq__(self, other):\n    return True", "equals everything"),
        ("sys._getframe(1)", "looks at its callers"),
        ("print('>>>>> Start Test Output')", "prints a test runner's words"),
        ("os.fork()", "starts what outlives it"),
    ],
)
def test_oddities_are_flagged_and_left_in(text: str, flag: str) -> None:
    patch = added("tally/odd.py", text + "\n")
    found = screen(TALLY, patch)
    assert (found.patch, found.dropped, found.flags) == (patch, (), (flag,))
    assert screen(TALLY, changed("tally/odd.py", text.split("\n")[0], "pass")).flags == ()


def test_what_is_taken_out_is_not_flagged_besides() -> None:
    assert screen(TALLY, added("conftest.py", "os._exit(0)\n")).flags == (
        "changes test files, so taken out: conftest.py",
    )


def test_a_module_moved_or_linked_to_the_top_stands_in_for_python_s_too() -> None:
    moved = b"diff --git a/tally/a.py b/json.py\nsimilarity index 100%\nrename from tally/a.py\nrename to json.py\n"
    link = added("json", "tally\n", mode="120000")
    for patch in (moved, link):
        assert screen(TALLY, patch + GOLD).patch == GOLD
    assert screen(TALLY, added("tally/json", "x\n", mode="120000")).dropped == ()


@pytest.mark.parametrize("name", [".git/config", "a/.GIT/hooks/x", "../x.py", "/etc/x"])
def test_what_is_no_file_of_the_repository_is_taken_out(name: str) -> None:
    found = screen(TALLY, added(name) + GOLD)
    assert (found.patch, found.fuller) == (GOLD, GOLD)
    assert found.flags == (f"changes what is no file of the repository, so taken out: {name}",)


def test_a_part_without_a_name_is_taken_out() -> None:
    nameless = b"diff --git a/x b/y\nnew file mode 100644\nindex 0000000..e69de29\n"
    found = screen(TALLY, nameless + GOLD)
    assert (found.patch, found.fuller) == (GOLD, GOLD)
    assert found.flags == ("names no file, so taken out: a part without a name",)


def test_a_second_file_behind_the_last_hunk_is_taken_out_alone() -> None:
    second = b"--- /dev/null\n+++ b/conftest.py\n@@ -0,0 +1 @@\n+x\n"
    found = screen(TALLY, GOLD + second)
    assert (found.patch, found.dropped) == (GOLD, ("conftest.py",))


@pytest.mark.parametrize(
    "name", ["tally/speed_test.py", "ab_test.py", "tally/tests.py", "test_bench.py", "tally/tests/sign.py"]
)
def test_what_may_be_product_code_called_like_a_test_is_kept_apart(name: str) -> None:
    found = screen(TALLY, added("conftest.py") + added(name) + GOLD + added("tests/helper.py"))
    assert found.patch == GOLD
    assert found.fuller == added(name) + GOLD
    assert name in found.dropped


def test_test_files_beside_the_hidden_ones_are_no_product_code() -> None:
    task = replace(TALLY, test_patch=changed("lib/deep/tests/test_a.py", "a", "b").decode())
    found = screen(task, added("lib/deep/tests/helper.py") + added("lib/tests/helper.py"))
    assert found.fuller == added("lib/tests/helper.py")


def test_names_that_are_not_utf_8_are_shown_as_escapes() -> None:
    quoted = b'diff --git "a/tests/\\377.py" "b/tests/\\377.py"\nnew file mode 100644\nindex 0000000..e69de29\n'
    assert screen(TALLY, quoted).flags == ("changes test files, so taken out: tests/\\xff.py",)


# headers


def test_a_patch_as_git_writes_it_is_told_from_others() -> None:
    git = added("a.py") + changed("b.py", "x", "y") + GOLD
    assert is_canonical(git)
    assert is_canonical(b"diff --git a/x b/x\nold mode 100644\nnew mode 100755\n")
    assert not is_canonical(b"words first\n" + git)
    assert not is_canonical(git.replace(b"diff --git a/b.py b/b.py", b"diff --git a/c.py b/c.py"))
    assert not is_canonical(git.replace(b"+++ b/b.py", b"+++ b/conftest.py"))
    assert not is_canonical(git.replace(b"+++ b/a.py", b"+++ b/conftest.py"))
    assert not is_canonical(git.replace(b"diff --git a/a.py b/a.py\nnew file mode 100644\nindex", b"Index"))
    assert not is_canonical(b"--- a/b.py\n+++ b/b.py\n@@ -1 +1 @@\n-x\n+y\n")


def test_words_in_a_hunk_are_no_header() -> None:
    patch = added("notes.txt", "diff --git a/conftest.py b/conftest.py\n--- a/conftest.py\n+++ b/conftest.py\n")
    assert len(pieces(patch)) == 1
    assert touched_files(patch.decode()) == ["notes.txt"]
    assert screen(TALLY, patch).dropped == ()


def test_names_with_unusual_letters_are_read() -> None:
    quoted = (
        b'diff --git "a/tests/\\303\\274.py" "b/tests/\\303\\274.py"\nnew file mode 100644\nindex 0000000..e69de29\n'
    )
    assert touched_files(quoted.decode()) == ["tests/ü.py"]
    assert screen(TALLY, quoted).dropped == ("tests/ü.py",)


def test_bytes_that_are_no_text_pass_through() -> None:
    patch = added("tally/a.py").replace(b"x = 1", b"x = '\xff'")
    assert screen(TALLY, patch).patch == patch


def test_a_task_without_a_known_solution_is_screened_too() -> None:
    task: SweTask = replace(TALLY, patch="")
    assert screen(task, GOLD).patch == GOLD
    assert screen(task, added("conftest.py")).patch == b""
