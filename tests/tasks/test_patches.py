"""The names of a patch are those that git changes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.swe.patches import added_files, changes, is_canonical, pieces, touched_files

NEW = b"--- /dev/null\n+++ b/pprint.py\n@@ -0,0 +1 @@\n+import os\n"
FIRST = b"diff --git a/README.md b/README.md\n--- a/README.md\n+++ b/README.md\n@@ -1 +1,2 @@\n one\n+more\n"
INDEX = b"index " + b"0" * 40 + b"..8352675d67aed6625ece79af41c27fdb4ee2e867\n"
BINARY = (
    b"new file mode 100644\n" + INDEX + b"GIT binary patch\nliteral 3\nKcmZQzWC8#H2LJ>B\n\nliteral 0\nHcmV?d00001\n\n"
)


def git(folder: Path, *words: str, stdin: bytes = b"") -> bytes:
    settings = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "core.autocrlf=false", "-c", "core.quotePath=true")
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    command = ["git", *settings, *words]
    return subprocess.run(command, cwd=folder, input=stdin, check=True, capture_output=True, env=environment).stdout


def numstat(folder: Path, patch: bytes) -> list[str]:
    """The names that git finds in a patch: the new one of each file, the old one of a file that is removed."""
    lines = git(folder, "apply", "--numstat", "-z", "-", stdin=patch).split(b"\0")[:-1]
    return [os.fsdecode(line.split(b"\t", 2)[2]) for line in lines]


def names(patch: bytes) -> list[str]:
    return [change.new or change.old or "" for change in changes(patch)]


# Pieces of names and of lines that mean something to git, to quoting, or to who reads a patch.
words = st.sampled_from(
    ["a", "b", " b", "a b", "ü", "\udcff", '"', "\\", "\t", "\n", "'", "dev", "null", "=>", "{", "1", "\\303", "b.py"]
)
parts = st.lists(words, min_size=1, max_size=3).map("".join).filter(lambda part: part.strip(".") != "")
paths = st.lists(parts, min_size=1, max_size=3).map("/".join)
lines = st.sampled_from(
    [
        b"",
        b"x",
        b"-- a/x",
        b"++ b/x",
        b"diff --git a/x b/x",
        b"@@ -1 +1 @@",
        b"GIT binary patch",
        b"\\ x",
        b"\r",
        b"rename to x",
    ]
)
contents = st.one_of(
    st.lists(lines, max_size=12).map(b"\n".join), st.lists(lines, max_size=12).map(lambda all: b"\n".join(all) + b"\n"),
    st.binary(max_size=60),
)  # fmt: skip
trees = st.dictionaries(paths, st.tuples(contents, st.sampled_from([0o644, 0o755])), max_size=6)


def lay_out(folder: Path, tree: Mapping[str, tuple[bytes, int]]) -> None:
    for path, (data, mode) in tree.items():
        file = os.path.join(folder, path)
        try:
            os.makedirs(os.path.dirname(file), exist_ok=True)
            with open(file, "wb") as opened:
                opened.write(data)
            os.chmod(file, mode)
        except OSError:
            continue  # one name is the folder of another


@given(
    trees, trees, st.sampled_from([(), ("-M20%",), ("-C20%", "--find-copies-harder"), ("--full-index", "-U0"), ("-B",)])
)
@settings(max_examples=40, deadline=None)
def test_names_are_those_that_git_finds(
    before: dict[str, tuple[bytes, int]], after: dict[str, tuple[bytes, int]], options: tuple[str, ...]
) -> None:
    with TemporaryDirectory() as made:
        folder = Path(made)
        git(folder, "init", "-q", "--template=")
        lay_out(folder, before)
        git(folder, "add", "-Af")
        git(folder, "commit", "-qm", "base", "--allow-empty")
        git(folder, "rm", "-qrf", "--ignore-unmatch", ".")
        lay_out(folder, {**dict(list(before.items())[::2]), **after})
        git(folder, "add", "-Af")
        patch = git(folder, "diff", "--cached", "--binary", *options, "HEAD")
        status = git(folder, "diff", "--cached", "--name-status", "-z", *options, "HEAD").split(b"\0")[:-1]
        touched = {os.fsdecode(name) for name in status if not name[:1].isupper() or len(name) > 4}
        if patch:
            assert names(patch) == numstat(folder, patch)
        assert set(touched_files(os.fsdecode(patch))) == touched
        assert b"".join(pieces(patch)) == patch
        if not any(change.names[1:] for change in changes(patch)):
            assert is_canonical(patch)


@pytest.mark.parametrize(
    "patch",
    [
        FIRST + NEW,
        FIRST + NEW + b"diff --git a/x b/x\nold mode 100644\nnew mode 100755\n",
        b'diff --git a/pprint.py "b/pprint.py"\n' + BINARY,
        b"diff --git x/a b y/a b\n" + BINARY,
        b"words\n\n" + FIRST + b"--- \n2.39\n" + NEW,
        FIRST.replace(b"+more\n", b"+more\n\\ No newline at end of file\n") + NEW,
        b"diff --git a/x b/y\nsimilarity index 100%\nrename from x\nrename to y\n" + FIRST,
        b"diff --git a/x b/x\nindex 1234567..7654321 160000\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-Subproject commit a\n"
        b"+Subproject commit b\n",
    ],
)
def test_a_header_is_read_wherever_git_reads_one(tmp_path: Path, patch: bytes) -> None:
    assert names(patch) == numstat(tmp_path, patch)


def test_two_files_in_what_looks_like_one_part_are_two() -> None:
    assert [change.names for change in changes(FIRST + NEW)] == [("README.md",), ("pprint.py",)]
    assert added_files((FIRST + NEW).decode()) == {"pprint.py"}
    assert not is_canonical(FIRST + NEW)
    assert not is_canonical(b'diff --git a/pprint.py "b/pprint.py"\n' + BINARY)
    assert is_canonical(b'diff --git "a/p\\303\\274.py" "b/p\\303\\274.py"\n' + BINARY)
    assert is_canonical(FIRST)
    assert not is_canonical(FIRST.replace(b"+++ b/README.md", b"+++ /dev/null"))
    assert not is_canonical(FIRST + b"words\n")
    assert not is_canonical(FIRST.replace(b"+1,2", b"+1,3"))


def test_both_names_of_a_move_are_touched_and_a_copy_leaves_the_old_one() -> None:
    move = "diff --git a/x b/y\nsimilarity index 100%\nrename from x\nrename to y\n"
    assert (touched_files(move), added_files(move)) == (["x", "y"], {"y"})
    [copy] = changes(move.replace("rename", "copy").encode())
    assert (copy.old, copy.new, copy.copied) == ("x", "y", True)


def test_a_part_without_a_name_has_none() -> None:
    [nameless] = changes(b"diff --git a/x b/y\nnew file mode 100644\nindex 0000000..e69de29\n")
    assert nameless.names == ()
