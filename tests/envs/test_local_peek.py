"""The patch of a local sandbox taken while it is in use: that of the end, and nobody inside can tell."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from envs import Command, Origin, Patch, Peeking, Sandbox, SandboxError
from envs.in_passing import InPassing
from tests.envs.support import local_sandboxes
from tests.envs.support.local_sandboxes import LocalHarness, Shell, applied, tree_at, tree_in
from tests.envs.test_local_diff import CHANGES

origin, harness, sandbox, sh = (
    local_sandboxes.origin,
    local_sandboxes.harness,
    local_sandboxes.sandbox,
    local_sandboxes.sh,
)

UNUSUAL = {
    "nothing": "true",
    "ignored": "echo x > a.log; mkdir build; echo x > build/x",
    "nested repository": "git init -q n; cd n; echo y > y; git add y; git commit -qm y; echo z > z",
    "large file": "head -c 34000000 /dev/zero > large; echo x > a.txt",
    "attributes": "printf '* text eol=crlf\\n' > .gitattributes; echo x > a.txt",
    "ignores": "echo '*.txt' > .gitignore; echo x > new.txt; rm a.txt",
    "unreadable file": "echo x > secret; chmod 0 secret; echo x > a.txt",
    "closed folder": "mkdir closed; echo x > closed/x; chmod 0 closed; echo x > a.txt",
}
# Every file with its times, but for those of reading, and every process.
STATE = (
    "find . /tmp /run/scratch -printf '%p %i %m %s %T@ %C@ %l\\n' 2>/dev/null | grep -v '^/run/scratch .* ' | sort;"
    "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline; done | grep -c 'sleep 1[0]00'"
)


def taken(harness: LocalHarness, sandbox: Sandbox) -> bytes | None:
    assert isinstance(sandbox, Peeking)
    return harness(sandbox.peek())


@pytest.mark.parametrize("script", [*CHANGES.values(), *UNUSUAL.values()], ids=[*CHANGES, *UNUSUAL])
def test_the_patch_in_passing_is_that_of_the_end_and_nothing_inside_has_changed(
    harness: LocalHarness, sandbox: Sandbox, sh: Shell, script: str
) -> None:
    sh("(sleep 1000 & ) > /dev/null 2>&1; " + script)
    before = sh(STATE).output
    assert before.endswith(b"\n1\n")
    patch = taken(harness, sandbox)
    assert sh(STATE).output == before
    final = harness(sandbox.diff())
    assert (patch or b"") == final
    assert getattr(patch, "left_out", ()) == getattr(final, "left_out", ())


def test_it_is_taken_again_only_after_a_change(harness: LocalHarness, sandbox: Sandbox, sh: Shell) -> None:
    assert taken(harness, sandbox) is None, "nothing was ever changed"
    sh("cat a.txt; ls; git status; echo x > /tmp/outside")
    assert taken(harness, sandbox) is None
    for text in ("1", "2", "3", "3"):  # of the same length, one right after the other
        harness(sandbox.write("a.txt", text.encode()))
        assert taken(harness, sandbox) == harness(sandbox.diff())
        assert taken(harness, sandbox) is None
    sh("touch -d '2001-01-01' a.txt; git add -A; git commit -qm work")
    assert taken(harness, sandbox) == harness(sandbox.diff())
    for script in ("chmod +x a.txt", "mv a.txt b.txt", "rm -r deep; mkdir deep", "rm b.txt", "ln -s x a.txt"):
        sh(script)
        assert taken(harness, sandbox) == harness(sandbox.diff())


def test_a_change_that_keeps_size_and_time_is_seen(harness: LocalHarness, sandbox: Sandbox, sh: Shell) -> None:
    """Files that were not touched are not read again, and these look as if nobody had touched them."""
    sh("for f in a.txt run.sh; do cp -p $f /tmp/t; tr a-z A-Z < /tmp/t > $f; touch -r /tmp/t $f; done")
    patch = taken(harness, sandbox) or b""
    assert b"+ONE\n" in patch
    assert b"+ECHO RAN\n" in patch
    assert harness(sandbox.diff()) == patch
    sh("tr A-Z a-z < a.txt > /tmp/u; cp /tmp/u a.txt; touch -r /tmp/t a.txt; mv run.sh x; cp -p /tmp/t run.sh")
    assert taken(harness, sandbox) == harness(sandbox.diff())


PIECES = st.sampled_from(
    [
        "echo {0} > a.txt", "echo {0} >> deep/er/module.py", "echo {0} > new{0}", "rm -f new{0}", "rm -rf deep",
        "mkdir -p deep/er; echo {0} > deep/er/module.py", "git checkout -q -- . || true", "git stash -q || true",
        "git add -A; git commit -qm {0} || true", "mv -f a.txt crlf.txt || true", "echo new{0} > .gitignore",
        "mkdir -p sub; git init -q sub; echo {0} > sub/x", "rm -rf sub", "ln -sf {0} link", "chmod +x run.sh || true",
        "printf '*.txt eol=crlf' > .gitattributes", "rm -f .gitattributes", "touch a.txt",
    ]
)  # fmt: skip


@given(steps=st.lists(st.lists(st.tuples(PIECES, st.integers(0, 2)), min_size=1, max_size=3), min_size=2, max_size=5))
@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
def test_after_any_changes_each_patch_in_passing_is_that_of_the_end(
    harness: LocalHarness, origin: Origin, steps: list[list[tuple[str, int]]]
) -> None:
    async def story() -> None:
        sandbox = await harness.open(origin)
        try:
            passing = InPassing(sandbox)
            for step in steps:
                await sandbox.run(Command("; ".join(piece.format(number) for piece, number in step)))
                assert await passing.diff() == await sandbox.diff(), step
        finally:
            await sandbox.close()

    harness(story())


def test_a_patch_that_would_need_a_change_first_is_not_taken_in_passing(
    harness: LocalHarness, origin: Origin, sandbox: Sandbox, sh: Shell
) -> None:
    sh("echo x > a.txt; mkfifo deep/.gitignore")
    with pytest.raises(SandboxError, match=r"deep/\.gitignore would have to be changed first"):
        taken(harness, sandbox)
    assert sh("test -p deep/.gitignore").returncode == 0
    sh("rm deep/.gitignore")
    patch = taken(harness, sandbox)
    assert patch is not None
    assert b"+x" in patch
    with applied(origin, patch) as checkout:
        assert tree_at(checkout) == harness(tree_in(sandbox))


def test_what_no_patch_can_hold_is_named_in_passing_too(harness: LocalHarness, sandbox: Sandbox, sh: Shell) -> None:
    sh("echo x > a.txt; head -c 40000000 /dev/zero > huge")
    patch = taken(harness, sandbox)
    assert isinstance(patch, Patch)
    assert patch.left_out == ("huge (38 MB)",)


def test_a_fork_and_a_plain_copy_have_it_too(
    origin: Origin, harness: LocalHarness, sandbox: Sandbox, sh: Shell
) -> None:
    sh("echo x > a.txt")

    async def fork() -> tuple[bytes | None, bytes]:
        snapshot = await sandbox.snapshot()
        twin = await snapshot.fork()
        await snapshot.close()
        return await InPassing(twin).diff(), await twin.diff()

    assert len(set(harness(fork()))) == 1
    plain = LocalHarness("none")
    try:
        copy = plain(plain.open(origin))
        plain(copy.write("a.txt", b"changed\n"))
        assert plain(copy.peek()) == plain(copy.diff())
        assert plain(copy.peek()) is None
    finally:
        plain.close()


def test_a_sandbox_without_a_base_has_no_patch_in_passing(harness: LocalHarness, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "x").write_text("x")
    bare = harness(harness.open(Origin("", tmp_path)))
    with pytest.raises(SandboxError, match="no base commit"):
        harness(bare.peek())
    harness(bare.close())
