"""The patch of a local sandbox: whatever was done inside, a fresh checkout with the patch has the same bytes."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from envs import Command, FileProblem, Limits, Origin, Patch, Sandbox, SandboxError
from envs.diff import NEW_FILES
from envs.local.backend import adopt
from tests.envs.support import local_sandboxes
from tests.envs.support.local_sandboxes import (
    FILES,
    LocalHarness,
    Shell,
    applied,
    git,
    make,
    tree_at,
    tree_in,
)

origin, harness, sandbox, sh = (
    local_sandboxes.origin,
    local_sandboxes.harness,
    local_sandboxes.sandbox,
    local_sandboxes.sh,
)


def test_a_sandbox_in_which_nothing_changed_has_an_empty_patch(
    harness: LocalHarness, sandbox: Sandbox, sh: Shell
) -> None:
    assert harness(sandbox.diff()) == b""
    sh("touch a.txt; cat crlf.txt data.bin; mkdir empty; git status; echo x > /tmp/outside; git log")
    assert harness(sandbox.diff()) == b""
    sh("echo x > a.txt; mv unended kept")
    sh("git checkout -q a.txt; mv kept unended; chmod 600 a.txt")
    assert harness(sandbox.diff()) == b""


PIPES = {
    "HEAD": "rm n/.git/HEAD; mkfifo n/.git/HEAD",
    "linked HEAD": "mkfifo /tmp/p; ln -sf /tmp/p n/.git/HEAD",
    "configuration": "rm n/.git/config; mkfifo n/.git/config",
    "branch": "for ref in n/.git/refs/heads/*; do rm $ref; mkfifo $ref; done",
    "symbolic branch": "for ref in n/.git/refs/heads/*; do echo 'ref: refs/p' > $ref; done; mkfifo n/.git/refs/p",
    "packed refs": "rm n/.git/refs/heads/*; mkfifo n/.git/packed-refs",
    "common folder": "mkfifo n/.git/commondir",
    "refs of a common folder": "mkdir n/c; rm n/.git/refs/heads/*; mv n/.git/objects n/.git/refs n/.git/config n/c;"
    " mkfifo n/c/packed-refs; echo ../c > n/.git/commondir",
    "folder elsewhere": "mv n/.git /tmp/g; echo 'gitdir: /tmp/g' > n/.git; rm /tmp/g/HEAD; mkfifo /tmp/g/HEAD",
    "linked folder": "mv n/.git /tmp/g; ln -s /tmp/g n/.git; rm /tmp/g/config; mkfifo /tmp/g/config",
    "attributes": "mkfifo /tmp/p; ln -s /tmp/p n/.gitattributes; mkfifo .gitattributes",
}


@pytest.mark.parametrize("script", PIPES.values(), ids=PIPES)
def test_git_waits_for_no_pipe_in_a_nested_repository(
    harness: LocalHarness, sandbox: Sandbox, sh: Shell, script: str
) -> None:
    sh("echo x > a.txt; git init -q n; cd n; echo y > y; git add y; git commit -qm y")
    sh(script)
    began = time.monotonic()
    patch = harness(sandbox.diff())
    assert b"+++ b/a.txt" in patch
    assert time.monotonic() - began < 30
    assert not getattr(patch, "left_out", ())


CHANGES = {
    "new file": "echo new > new; mkdir -p p/q; echo deep > p/q/r",
    "empty file": ": > empty",
    "deletion": "rm a.txt deep/er/module.py",
    "all deleted": "rm -rf * .gitignore",
    "mode": "chmod +x a.txt; chmod -x run.sh",
    "crlf": r"printf 'one\r\n2\r\n' > crlf.txt; printf 'a\nb\r\n' > mixed; printf 'now\r\n' > a.txt",
    "no newline": "printf 'one\ntwo' > a.txt; printf 'x\n' > unended; printf end > ended",
    "binary": "head -c 5000 /dev/urandom > data.bin; printf 'a\\0b' > new.bin; printf '\\377\\376\\n' > latin",
    "links": "ln -s nowhere dangling; rm link; ln -s deep/er link; ln -s /etc/passwd outside",
    "kinds": "rm a.txt; mkdir a.txt; echo x > a.txt/x; rm -r deep; echo x > deep; rm link; echo x > link",
    "names": """echo x > 'two words'; echo x > 'grüße'; echo x > "it's \\"quoted\\""; echo x > 'tab\there'; echo x > -v
        echo x > "$(printf 'new\\nline')"; echo x > "$(printf 'bad\\377')"; echo x > ' lead'; echo x > 'back\\slash'""",
    "rename": "mv a.txt b.txt; echo more >> b.txt",
    "renamed folder": "mv deep shallow",
    "committed": "echo x > a.txt; git add -A; git commit -qm work; echo y > y; git add y; git commit -qm more",
    "staged": "echo x > a.txt; echo new > new; git add -A; echo later > new; git rm -q --cached crlf.txt",
    "stashed": "echo x > a.txt; git stash -q; echo y > y",
    "branch": "git checkout -qb other; echo x > a.txt; git commit -qam x; git tag v1;"
    "git checkout -q --detach HEAD~1; echo y > y",
    "no git": "rm -rf .git; echo x > a.txt",
    "another git": "rm -rf .git; git init -q; echo x > a.txt; git add -A; git commit -qm mine",
    "broken git": "echo x > a.txt; echo broken > .git/index; echo broken > .git/HEAD; rm -rf .git/objects",
    "hidden from git": "echo x > a.txt; git update-index --assume-unchanged a.txt;"
    "git update-index --skip-worktree run.sh; echo y >> run.sh; echo '*' > .git/info/exclude; echo n > n",
    "configured": "git config core.autocrlf true; git config diff.external false; git config core.fileMode false;"
    "git config color.ui always; git config diff.noprefix true; git config diff.mnemonicPrefix true;"
    "git config core.quotePath false; git config diff.context 0; chmod +x a.txt; echo 'é' > 'é'; rm crlf.txt",
    "huge line": "head -c 3000000 /dev/zero | tr '\\0' x > line",
}


@pytest.mark.parametrize("script", CHANGES.values(), ids=CHANGES)
def test_the_patch_turns_a_fresh_checkout_into_the_same_bytes(
    harness: LocalHarness, origin: Origin, sandbox: Sandbox, sh: Shell, script: str
) -> None:
    done = sh(script)
    assert done.returncode == 0, done.output
    patch = harness(sandbox.diff())
    assert patch
    with applied(origin, patch) as checkout:
        assert tree_at(checkout) == harness(tree_in(sandbox))
    assert harness(sandbox.diff()) == patch  # taking it changes nothing


def test_a_base_with_long_object_names_has_patches_too(harness: LocalHarness, tmp_path: Path) -> None:
    repository = tmp_path / "r"
    git(tmp_path, "init", "-q", "--object-format=sha256", "r")
    git(repository, "config", "core.logAllRefUpdates", "false")
    (repository / "a.txt").write_text("one\n")
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "base")
    origin = Origin(git(repository, "rev-parse", "HEAD").decode().strip(), repository)
    adopt(repository)

    async def story() -> bytes:
        sandbox = await harness.open(origin)
        await sandbox.run(Command("echo two > a.txt"))
        patch = await sandbox.diff()
        await sandbox.close()
        return patch

    assert b"\n-one\n+two\n" in harness(story())


def test_ignored_files_are_left_out_unless_they_are_no_longer_ignored(
    harness: LocalHarness, sandbox: Sandbox, sh: Shell
) -> None:
    sh("echo x > x.log; mkdir build; echo x > build/x; echo x > kept")
    patch = harness(sandbox.diff())
    assert b"kept" in patch
    assert b"x.log" not in patch
    assert b"build" not in patch
    sh("echo > .gitignore")
    assert b"x.log" in harness(sandbox.diff())


@pytest.mark.parametrize(
    "rule", ["* text=auto", "* text", "* eol=crlf", "* ident", "* binary", "* working-tree-encoding=UTF-16"]
)
@pytest.mark.parametrize("place", [".gitattributes", "deep/.gitattributes", ".git/info/attributes"])
def test_attributes_that_were_changed_do_not_change_the_bytes(
    harness: LocalHarness, origin: Origin, sandbox: Sandbox, sh: Shell, rule: str, place: str
) -> None:
    files = {name: f"{name}\r\n$Id: 1$\nend".encode() for name in ("a.txt", "new", "deep/new", "crlf.txt")}
    for name, data in files.items():
        harness(sandbox.write(name, data))
    sh(f"echo '{rule}' > {place}; git add -A; git commit -qm x")
    with applied(origin, b"") as checkout:
        git(checkout, "apply", "--cached", "--whitespace=nowarn", "-", given=harness(sandbox.diff()))
        for name, data in files.items():
            assert git(checkout, "show", f":{name}") == data


@pytest.mark.parametrize("rule", ["*.py text", "* text=auto", "* text eol=lf", "*.py text eol=crlf"])
def test_files_that_the_base_holds_otherwise_than_its_attributes_say_keep_their_bytes(
    harness: LocalHarness, tmp_path: Path, rule: str
) -> None:
    start = {"a.py": b"one\r\ntwo\r\n", "b.py": b"x\r\ny\r\n", "grün c.py": b"x\r\n"}
    repository, checkout = tmp_path / "r", tmp_path / "checkout"
    git(tmp_path, "init", "-q", "r")
    for name, data in {**start, ".gitattributes": f"{rule}\n".encode()}.items():
        (repository / name).write_bytes(data)
        git(repository, "add", name)
        git(repository, "commit", "-qm", name)
    git(repository, "config", "core.logAllRefUpdates", "false")
    shutil.rmtree(repository / ".git" / "logs")
    shutil.copytree(repository, checkout)
    origin = Origin(git(repository, "rev-parse", "HEAD").decode().strip(), repository)
    adopt(repository)

    async def story() -> tuple[bytes, bytes]:
        sandbox = await harness.open(origin)
        await sandbox.run(Command("touch *.py; echo x > new"))
        first = await sandbox.diff()
        await sandbox.write("b.py", b"x\r\ny\r\nz\r\n")
        second = await sandbox.diff()
        await sandbox.close()
        return first, second

    first, second = harness(story())
    assert [line for line in first.splitlines() if line.startswith(b"diff")] == [b"diff --git a/new b/new"]
    git(checkout, "apply", "--whitespace=nowarn", "-", given=second)
    assert (checkout / "b.py").read_bytes() == b"x\r\ny\r\nz\r\n"


INNER = "git init -q; echo x > f; mkdir p; echo y > 'p/grün y'; echo n > no.log"
COMMIT = "git -c user.name=a -c user.email=a@example.org commit -qm x"
MADE = f"mkdir n; cd n; {INNER}"
NESTED = {
    "with a commit": (f"{MADE}; git add -A; {COMMIT}", ["n/f", "n/p/grün y"]),
    "without a commit": (f"mkdir 'n o'; cd 'n o'; {INNER}", ["n o/f", "n o/p/grün y"]),
    "without a file": ("git init -q n; echo x > f", ["f"]),
    "in a folder of the base": (f"cd deep; {INNER}; git add -A; {COMMIT}", ["deep/f", "deep/p/grün y"]),
    "one in another": (
        f"{MADE}; mkdir m; cd m; {INNER}; git add f; {COMMIT}; cd ..; git add f; {COMMIT}",
        ["n/f", "n/m/f", "n/m/p/grün y", "n/p/grün y"],
    ),
    "ignored": (f"mkdir -p build; cd build; {INNER}; git add -A; {COMMIT}; echo x > ../f", ["f"]),
    "with rules of its own": (f"{MADE}; echo p > .gitignore; git add -A; {COMMIT}", ["n/.gitignore", "n/f"]),
    "with large files": (f"{MADE}; truncate -s 40M large; truncate -s 40M p/large", ["n/f", "n/p/grün y"]),
    "a clone": ("git clone -q . n; rm -rf n/[!f]*; echo x > n/f", ["n/.gitignore", "n/f"]),
    "a work tree": ("git worktree add -q n; rm -rf n/[!f]*; echo x > n/f", ["n/.gitignore", "n/f"]),
    "in place of a file": (
        f"rm a.txt; mkdir a.txt; cd a.txt; {INNER}; git add -A; {COMMIT}",
        ["a.txt", "a.txt/f", "a.txt/p/grün y"],
    ),
}


@pytest.mark.parametrize(("script", "names"), NESTED.values(), ids=NESTED)
def test_files_of_a_repository_in_a_new_folder_are_in_the_patch(
    harness: LocalHarness, origin: Origin, sandbox: Sandbox, sh: Shell, script: str, names: list[str]
) -> None:
    done = sh(script)
    assert done.returncode == 0, done.output
    patch = harness(sandbox.diff())
    with applied(origin, patch) as checkout:
        git(checkout, "add", "-A", "-f")
        changed = git(
            checkout, "-c", "core.quotePath=false", "diff", "--cached", "--no-renames", "--name-only"
        ).decode()
    assert changed.splitlines() == names
    assert b"Subproject" not in patch


def test_attributes_of_the_base_hold(harness: LocalHarness, tmp_path: Path) -> None:
    origin = make(
        tmp_path / "r", {".gitattributes": b"*.bat text eol=crlf\n*.c ident\n", "x.bat": b"one\n", "y.c": b"$Id$\n"}
    )
    assert origin.repository is not None
    (origin.repository / "x.bat").write_bytes(b"one\r\n")  # as a checkout has it
    adopt(origin.repository)

    async def story() -> tuple[bytes, bytes]:
        sandbox = await harness.open(origin)
        await sandbox.run(Command("touch x.bat; echo x > new"))
        first = await sandbox.diff()
        await sandbox.write("x.bat", b"one\r\ntwo\r\n")
        second = await sandbox.diff()
        await sandbox.close()
        return first, second

    first, second = harness(story())
    assert b"x.bat" not in first
    assert b"+two\n" in second


def test_what_git_cannot_take_in_does_not_cost_the_rest_of_the_patch(
    harness: LocalHarness, sandbox: Sandbox, sh: Shell
) -> None:
    sh("""
        git init -q repository-without-commits
        git init -q repository; cd repository; echo x > x; git add x; git commit -qm x; cd ..
        echo x > locked; chmod 0 locked; mkdir -m 0 shut; mkfifo pipe
        echo kept > a.txt; echo kept > new
    """)
    patch = harness(sandbox.diff())
    assert patch.count(b"+kept\n") == 2
    assert b"locked" not in patch


def test_the_patch_is_taken_when_the_disk_is_full_and_processes_are_used_up(
    harness: LocalHarness, origin: Origin
) -> None:
    async def story() -> bytes:
        sandbox = await harness.open(origin, Limits(disk_mb=8, processes=40))
        await sandbox.run(Command("echo kept > a.txt; head -c 20000000 /dev/zero > /tmp/fill; echo x > /tmp/more"))
        with pytest.raises(FileProblem, match="No space left"):
            await sandbox.write("more", b"x" * 100_000)
        assert (await sandbox.run(Command("cat", stdin=b"x" * 100_000))).returncode == 127
        patch = await sandbox.diff()
        await sandbox.close()
        return patch

    assert b"+kept\n" in harness(story())


def test_of_too_many_changes_those_of_the_base_are_kept_and_the_rest_is_named(
    harness: LocalHarness, sandbox: Sandbox, sh: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("envs.diff.PATCH_CAP", 1 << 20)
    sh("echo kept >> a.txt; head -c 1000000 /dev/urandom > noise")
    patch = harness(sandbox.diff())
    assert b"+kept\n" in patch
    assert b"noise" not in patch
    assert isinstance(patch, Patch)
    assert patch.left_out == (NEW_FILES,)
    sh("head -c 1000000 /dev/urandom > a.txt")
    with pytest.raises(SandboxError, match="larger than 1 MB"):
        harness(sandbox.diff())


def test_rules_that_git_cannot_try_in_time_cost_new_files_alone_and_that_is_told(
    harness: LocalHarness, sandbox: Sandbox, sh: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("envs.diff.GIT_SECONDS", 1)
    sh("""
        echo kept >> a.txt; for i in $(seq 3000); do echo "*a*a*a*a*a*a*a*${i}b"; done > .gitignore
        mkdir q; for i in $(seq 300); do : > q/$i$(printf 'a%.0s' $(seq 200)); done
    """)
    patch = harness(sandbox.diff())
    assert isinstance(patch, Patch)
    assert patch.count(b"+kept\n") == 1
    assert patch.left_out == (NEW_FILES,)


def test_in_little_memory_a_large_patch_is_taken_in_part_and_the_guest_lives(
    harness: LocalHarness, origin: Origin
) -> None:
    async def story() -> tuple[bytes, bytes]:
        sandbox = await harness.open(origin, Limits(memory_mb=64))
        await sandbox.run(Command("echo kept > a.txt; echo new > new; head -c 25000000 /dev/urandom > noise"))
        patch = await sandbox.diff()
        done = await sandbox.run(Command("cat noise noise noise", output_cap=64 << 20))
        assert done.returncode == 127 or done.dropped
        alive = await sandbox.run(Command("echo alive"))
        await sandbox.close()
        return patch, alive.output

    patch, alive = harness(story())
    assert (patch.count(b"diff --git"), alive) == (2, b"alive\n")


def test_large_files_and_unreadable_ones_are_left_out_and_named(
    harness: LocalHarness, sandbox: Sandbox, sh: Shell
) -> None:
    sh("echo kept > 'new file'; truncate -s 1000M sparse; truncate -s 40M data.bin; echo x > shut; chmod 0 shut")
    sh("i=0; while [ $i -lt 8 ]; do truncate -s 33M $(printf 'p%d\\377\\n' $i); i=$((i+1)); done")
    patch = harness(sandbox.diff())
    assert isinstance(patch, Patch)
    assert [line for line in patch.splitlines() if line.startswith(b"diff")] == [b"diff --git a/new file b/new file"]
    assert patch.left_out == (
        "sparse (1000 MB)",
        "data.bin (40 MB)",
        *(f"p{number}\\\\xff (33 MB)" for number in (7, 6, 5)),
        "5 more files of more than 32 MB",
        "shut (cannot be read)",
    )


NAMES = st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=6).filter(
    lambda name: (
        name.lower() not in (".", "..", ".git", ".gitattributes", ".gitignore", "git~1")
        # what git itself refuses to track, for the sake of other systems
        and not name.lower().startswith((".git", "git~"))
    )
)
PATHS = st.lists(NAMES, min_size=1, max_size=2).map("/".join)
CONTENTS = st.one_of(
    st.binary(max_size=40),
    st.lists(st.sampled_from([b"one\n", b"two\r\n", b"three\r", b"\n", b" \t\n", b"end"]), max_size=6).map(b"".join),
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.one_of(PATHS, st.sampled_from(sorted(FILES)[1:])), CONTENTS),
        st.tuples(st.just("delete"), st.sampled_from([*sorted(FILES)[1:], "link", "deep"]), st.just(b"")),
        st.tuples(st.just("exec"), st.sampled_from(sorted(FILES)[1:]), st.just(b"")),
        st.tuples(st.just("link"), PATHS, st.sampled_from([b"a.txt", b"/nowhere", b"\xc3\xa9"])),
    ),
    min_size=1,
    max_size=6,
)
APPLY_STEPS = """
import json, os, shutil, sys
for kind, path, data in json.loads(sys.stdin.buffer.read()):
    data = bytes.fromhex(data)
    try:
        os.makedirs(os.path.dirname(os.path.join(".", path)), exist_ok=True)
        if kind == "write":
            open(path, "wb").write(data)
        elif kind == "delete":
            shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.remove(path)
        elif kind == "exec":
            os.chmod(path, os.stat(path).st_mode ^ 0o111)
        else:
            os.symlink(data, path)
    except OSError:
        pass
"""


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example([("write", "a.txt", b"one\r\ntwo\n\r"), ("exec", "a.txt", b""), ("link", 'q"\n\t\\', b"a.txt")])
@given(STEPS)
def test_the_patch_of_any_small_change_gives_identical_bytes(
    harness: LocalHarness, origin: Origin, steps: list[tuple[str, str, bytes]]
) -> None:
    async def story() -> tuple[bytes, dict[str, tuple[str, bytes]]]:
        sandbox = await harness.open(origin)
        given = json.dumps([(kind, path, data.hex()) for kind, path, data in steps]).encode()
        done = await sandbox.run(Command(("python", "-c", APPLY_STEPS), stdin=given))
        assert done.returncode == 0, done.output
        result = await sandbox.diff(), await tree_in(sandbox)
        await sandbox.close()
        return result

    patch, inside = harness(story())
    with applied(origin, patch) as checkout:
        assert tree_at(checkout) == inside
