"""The patch of a sandbox, taken by the runner: everything that differs from the base.

One shell script, for it costs one round trip. It compares the working tree with the base
commit itself through an index and an object store of its own: what the agent committed,
staged, stashed or configured does not matter, untracked files are in, ignored ones are
not, and the repository's own `.git` is left as it was. Bytes all the way.
"""

from __future__ import annotations

import shlex

from envs.sandbox import Command, Completed, SandboxError

__all__ = ["diff_command", "patch_of"]

PATCH_CAP = 64 << 20

SCRIPT = """
d=$(mktemp -d) && exec 2>"$d/err" && mkdir "$d/objects" && cp {git}/index "$d/index"
export GIT_DIR={git} GIT_WORK_TREE="$PWD" GIT_INDEX_FILE="$d/index" GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null
export GIT_OBJECT_DIRECTORY="$d/objects" GIT_ALTERNATE_OBJECT_DIRECTORIES={git}/objects
git -c core.autocrlf=false -c core.fsmonitor=false add -A . &&
git diff --cached --binary --full-index --no-color --no-ext-diff --no-textconv --no-renames \
    --src-prefix=a/ --dst-prefix=b/ {commit} --
s=$?
[ $s = 0 ] || cat "$d/err"
rm -rf "$d"
exit $s
"""


def diff_command(git: str, commit: str, timeout: float) -> Command:
    """The command to run in the repository; `git` is the folder with the base's objects and index."""
    script = SCRIPT.format(git=shlex.quote(git), commit=shlex.quote(commit))
    return Command(script, timeout=timeout, output_cap=PATCH_CAP)


def patch_of(done: Completed) -> bytes:
    """The patch, from what the command gave. Raises `SandboxError` if it could not be taken whole."""
    if done.returncode or done.dropped or done.timed_out:
        why = (
            f"it is larger than {PATCH_CAP >> 20} MB" if done.dropped else done.output[-300:].decode("utf-8", "replace")
        )
        raise SandboxError(f"the patch could not be taken: {why.strip() or f'git exit status {done.returncode}'}")
    return done.output
