"""The patch of a local sandbox: whatever was done inside, a fresh checkout with the patch has the same bytes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from envs import Command, FileProblem, Limits, Origin, Sandbox, SandboxError
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


def test_a_patch_too_large_to_take_is_an_error_that_says_so(
    harness: LocalHarness, sandbox: Sandbox, sh: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("envs.diff.PATCH_CAP", 1 << 20)
    sh("head -c 1000000 /dev/urandom > noise")
    with pytest.raises(SandboxError, match="larger than 1 MB"):
        harness(sandbox.diff())


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
