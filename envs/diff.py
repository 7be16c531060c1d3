"""The patch of a sandbox, taken by the runner: all differences from the base.

One shell script, which costs one round trip. It compares the working tree with the base commit through a git folder of
its own that only borrows the objects of the base. What the agent committed, staged, stashed or configured has no
effect; untracked files are included, files that a .gitignore names are not; the repository's own `.git` stays as it
was. The patch is bytes: the base's .gitattributes apply as in a checkout, but none apply once one was changed. Files
that git cannot add (unreadable ones, an empty repository inside) are left out, and the rest is kept.
"""

from __future__ import annotations

import shlex

from envs.sandbox import Command, Completed, SandboxError

__all__ = ["diff_command", "patch_of"]

PATCH_CAP = 64 << 20

SCRIPT = """
d=$(mktemp -d {scratch}/patch.XXXXXX 2>&1) || {{ echo "$d"; exit 1; }}
exec 2>"$d/err"
mkdir "$d/objects" "$d/refs" "$d/info" && echo 'ref: refs/heads/none' > "$d/HEAD" || exit 1
export GIT_DIR="$d" GIT_WORK_TREE="$PWD" GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null
export GIT_ALTERNATE_OBJECT_DIRECTORIES={git}/objects
take() {{
    git add -A --ignore-errors . || [ $? = 1 ]
}}
fresh() {{
    rm -f "$d/index"
    git read-tree {commit} && take
}}
# With an index of the start, files that were not touched need not be read: git compares inode and change time.
if [ -f {git}/start.index ]; then cp {git}/start.index "$d/index" && take; else fresh; fi
if [ $? != 0 ] || ! git diff --cached --quiet {commit} -- .gitattributes '**/.gitattributes'; then
    echo '* -text -eol -ident -filter -working-tree-encoding' > "$d/info/attributes" && : > "$d/err" && fresh
fi &&
git diff --cached --binary --full-index --no-color --no-ext-diff --no-textconv --no-renames \
    --src-prefix=a/ --dst-prefix=b/ {commit} --
s=$?
[ $s = 0 ] || cat "$d/err"
rm -rf "$d"
exit $s
"""


def diff_command(git: str, commit: str, timeout: float, scratch: str = "/tmp") -> Command:
    """The command that prints the patch, to run in the repository. `git` is the folder with the base's objects."""
    script = SCRIPT.format(git=shlex.quote(git), commit=shlex.quote(commit), scratch=shlex.quote(scratch))
    return Command(script, timeout=timeout, output_cap=PATCH_CAP)


def patch_of(done: Completed) -> bytes:
    """The patch in the result of a `diff_command`. Raises `SandboxError` if it is not complete."""
    if done.returncode or done.dropped or done.timed_out:
        why = (
            f"it is larger than {PATCH_CAP >> 20} MB" if done.dropped else done.output[-300:].decode("utf-8", "replace")
        )
        raise SandboxError(f"the patch could not be taken: {why.strip() or f'git exit status {done.returncode}'}")
    return done.output
