"""The patch of a sandbox, taken by the runner: all differences from the base.

A shell script compares the working tree with the base commit through a git folder of its own that only borrows the
objects of the base. What the agent committed, staged, stashed or configured has no effect, be it for the user, the
system or the repository; untracked files are included, and files that a .gitignore names are not; the repository's
own `.git` stays as it was. The patch is bytes: the base's .gitattributes apply as in a checkout, but none apply once
one was changed, nor to a file that the base holds otherwise.

Repositories inside count as the files that they hold: a submodule as well as one that commands made. So a patch names
no commit of another repository, and `git apply` and patch(1) in the upper folder change the files of a submodule.

All processes in the sandbox are ended before, so that nothing writes to the script's folder. What no patch can hold is
left out and named, and the rest is kept: files of more than `LARGE_FILE` bytes and what git cannot read. Where the
patch would be larger than `PatchSpec.cap`, files of more than `SMALLER_FILE` bytes are left out too; where that is not
enough, all new files are. The same is done where git takes more than `GIT_SECONDS` of processor time, as with rules in
a .gitignore that git tries on each name in exponentially many ways.
"""

from __future__ import annotations

import os
import re
import secrets
import shlex
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass

from envs.sandbox import Command, Completed, Patch, SandboxError

__all__ = ["NEW_FILES", "PROGRAMS", "SMALLER_FILE", "PatchSpec", "Submodule", "Survey", "take_patch"]

PATCH_CAP = 64 << 20
LARGE_FILE = 32 << 20
SMALLER_FILE = 1 << 20
GIT_SECONDS = 10  # processor time of one call of git, which does not depend on how busy the machine is
MOST_EXCLUDED = 500  # files, each an argument of git
LONGEST_NAME = 100  # characters of a path
MOST_COMPARED = 500  # files with changes, of which it is found out whether their attributes hold
MOST_NESTED = 50  # repositories in new folders
NAMED = 5  # files left out that are named; the others are counted
ALL, TRACKED = "-A", "-u"  # options of `git add`: all files, and those of the base
NEW_FILES = "all new files (too many, too large, or git needs too long to list them)"
STEPS = ((ALL, LARGE_FILE), (ALL, SMALLER_FILE), (TRACKED, LARGE_FILE))
LINKED = re.compile(rb"^diff --git a/.+ b/(.+)\nnew file mode 160000\n", re.M)  # a commit's name in place of files
OUT_OF_TIME = (128 + 9, 128 + 24)  # the shell's exit status for a program killed at the limit of processor time

PROGRAMS = ("git", "mkdir", "cp", "rm", "cat")  # and sh: what the script runs
SETUP = """
{programs}
d={scratch}/patch.{word}
mkdir "$d" "$d/objects" "$d/refs" "$d/info" || exit 1
exec 2>"$d/err"
ulimit -t {seconds} || :
echo 'ref: refs/heads/none' > "$d/HEAD" || exit 1
{format}
unset GIT_INDEX_FILE GIT_OBJECT_DIRECTORY GIT_CONFIG_PARAMETERS GIT_CONFIG_COUNT GIT_CONFIG GIT_NAMESPACE GIT_DIFF_OPTS
unset GIT_LITERAL_PATHSPECS GIT_GLOB_PATHSPECS GIT_NOGLOB_PATHSPECS GIT_ICASE_PATHSPECS GIT_ATTR_SOURCE GIT_TRACE
export GIT_DIR="$d" GIT_WORK_TREE="$PWD" GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL="$d/none" GIT_ATTR_NOSYSTEM=1
export HOME="$d/none" XDG_CONFIG_HOME="$d/none" GIT_ALTERNATE_OBJECT_DIRECTORIES={stores}
base={commit}
{submodules}
"""
SCRIPT = """
take() {{
    git add {which} --ignore-errors -- . "$@" || [ $? = 1 ] || return
    {nested}
}}
# The files of a repository that commands inside made in a new folder: git would keep a commit's name, or nothing.
nested() {{
    folder=$1
    shift
    count=$#
    for each in "$@"; do
        case "$each" in "$from$folder/"*) set -- "$@" "$from${{each#"$from$folder/"}}" ;; esac
    done
    shift "$count"
    case "$(git ls-tree "$base" -- "$folder")" in 160000*) return ;; esac
    case "$(git ls-files --stage -- ":(top,literal)$folder")" in
        160000*) git update-index --force-remove -- "$folder" || return ;;
        "") ! git check-ignore -q -- "$folder" || return 0 ;;
        *) return ;;
    esac
    rm -f "$d/inner"
    tree=$(
        ignored="$PWD/.gitignore"
        export GIT_WORK_TREE="$PWD/$folder" GIT_INDEX_FILE="$d/inner"
        cd "$folder" || exit
        git -c core.excludesFile="$ignored" add -A --ignore-errors -- . "$@" || [ $? = 1 ] || exit
        [ -z "$(git ls-files)" ] || git write-tree
    ) || return
    [ -z "$tree" ] || git read-tree --prefix="$folder/" "$tree"
}}
from=':(top,exclude,literal)'
fresh() {{
    rm -f "$d/index"
    git read-tree "$base" && take "$@"
}}
same_attributes() {{
    [ "$attributes" ] || return 0
    git diff --cached --quiet "$base" -- .gitattributes '**/.gitattributes' &&
        [ -z "$(git ls-files --others -- .gitattributes '**/.gitattributes')" ]
}}
# Where the base holds a file otherwise than its attributes would have it, as with CRLF in spite of `text`, its bytes
# count as they are: git would show one that nobody touched as changed.
as_held() {{
    [ "$attributes" ] || return 0
    [ -n "$(git ls-files -- .gitattributes '**/.gitattributes')" ] || return 0
    git -c core.quotePath=false diff --cached --raw --no-abbrev --no-renames --diff-filter=M "$base" -- > "$d/changed"
    left={most}
    while IFS='	' read -r entry path; do
        set -- $entry
        case "$2" in 100*) ;; *) continue ;; esac
        [ -f "$path" ] && [ $left != 0 ] || continue
        left=$((left - 1))
        [ "$(git cat-file blob "$3" | git hash-object --path="$path" --stdin)" != "$3" ] || continue
        bytes=$(git hash-object -w --no-filters -- "$path") || continue
        git update-index --cacheinfo "$2,$bytes,$path" || return
    done < "$d/changed"
}}
{start} && attributes={attributes} && take "$@"
s=$?
if [ $s -lt 128 ] && {{ [ $s != 0 ] || ! same_attributes; }}; then
    echo '* -text -eol -ident -filter -working-tree-encoding' > "$d/info/attributes" && : > "$d/err" && fresh "$@"
    s=$?
elif [ $s = 0 ]; then
    as_held
    s=$?
fi
if [ $s = 0 ]; then
    git diff --cached --binary --full-index --no-color --no-ext-diff --no-textconv --no-renames --submodule=short \\
        --ignore-submodules=none --src-prefix=a/ --dst-prefix=b/ "$base" --
    s=$?
fi
[ $s = 0 ] || cat "$d/err"
rm -rf "$d"
exit $s
"""

# The files of attributes in the base and in the tree: where there are none, nothing has to be found out about them.
ATTRIBUTES = "$(git ls-files --cached --others -- .gitattributes '**/.gitattributes')"
# With an index of the start, files that were not touched need not be read: git compares inode and change time.
START = 'if [ -f {git}/start.index ]; then cp {git}/start.index "$d/index"; else git read-tree "$base"; fi'
GIVEN = 'cat > "$d/index"'  # the index of the start, on standard input
INDEX = """
git read-tree {commit} && {{ git update-index -q --refresh || :; }} && cat "$d/index"
s=$?
rm -rf "$d"
exit $s
"""
SHA256 = """
printf '[%s]\\n\\t%s\\n' core 'repositoryformatversion = 1' extensions 'objectFormat = sha256' > "$d/config" || exit 1
"""  # of a repository whose objects have names of 64 digits


# The base with the files of its submodules, where its own tree holds names of commits.
FLAT_BASE = """
flat_base() {{
    git read-tree "$base" {steps} && base=$(git write-tree) && rm -f "$d/index"
}}
flat_base || {{ cat "$d/err"; exit 1; }}
"""


@dataclass(frozen=True, slots=True)
class Submodule:
    """A submodule of a base: its folder, the commit that is checked out in it, and the folder with its objects.

    `commit` is empty for a folder without a repository: the base holds no file of it. `objects` is relative to the
    base's git folder, and empty where the objects are elsewhere: changes of such a submodule are left out and named.
    """

    path: str
    commit: str = ""
    objects: str = ""

    @property
    def unknown(self) -> bool:
        return bool(self.commit) and not self.objects


@dataclass(frozen=True, slots=True)
class PatchSpec:
    """How the patch of a sandbox is taken.

    `git` is the folder with the base's objects, `scratch` are folders for the script's own files, of which the second
    is tried if the first is full. `tools` is a folder with programs that no command inside can change (see
    `envs.base`); without it those of the system are used. `memory_mb` is that of the sandbox. `submodules` are those
    of which the base's tree holds no files, the outer ones first. `timeout` is in seconds, for each try. `index` is one
    of a base without submodules in such a sandbox, as `index_command` prints it, where there is one.
    """

    git: str
    commit: str
    timeout: float
    scratch: tuple[str, ...] = ("/tmp",)
    tools: str = ""
    memory_mb: int = 2048
    submodules: tuple[Submodule, ...] = ()
    index: bytes = b""

    @property
    def cap(self) -> int:
        """The largest patch, in bytes. The guest holds several copies of it."""
        return min(PATCH_CAP, self.memory_mb << 17)

    @property
    def shell(self) -> tuple[str, ...]:
        """The words that run a shell which no command inside can change, or else that of the system."""
        return (*self._run, f"{self.tools}/sh") if self.tools else ("/bin/sh",)

    @property
    def _run(self) -> tuple[str, ...]:
        return f"{self.tools}/ld", "--library-path", f"{self.tools}/lib"

    @property
    def _known(self) -> list[Submodule]:
        return [each for each in self.submodules if not each.unknown]

    def _flat_base(self) -> str:
        steps = []
        for each in self._known:
            steps.append(f"git update-index --force-remove -- {shlex.quote(each.path)}")
            if each.commit:
                steps.append(f"git read-tree --prefix={shlex.quote(each.path + '/')} {shlex.quote(each.commit)}")
        return FLAT_BASE.format(steps="".join(f" &&\n        {step}" for step in steps)) if steps else ""

    def command(
        self, which: str = ALL, excluded: Sequence[str] = (), scratch: str = "", nested: Sequence[str] = ()
    ) -> Command:
        """The command that prints the patch, to run in the repository. `which` is an option of `git add`."""
        inner = [f'nested {shlex.quote(folder)} "$@" || return' for folder in nested[:MOST_NESTED]]
        script = self._setup(scratch) + SCRIPT.format(
            which=which,
            start=GIVEN if self.index else START.format(git=shlex.quote(self.git)),
            attributes="1" if nested else ATTRIBUTES,
            most=MOST_COMPARED,
            nested="\n    ".join([*(inner if which == ALL else ()), ":"]),
        )
        words = (*self.shell, "-c", script, "sh", *(f":(top,exclude,literal){path}" for path in excluded))
        return self._command(words, self.index)

    def index_command(self) -> Command:
        """The command that prints an index of the base, to run in the repository before anything was changed."""
        script = self._setup("") + INDEX.format(commit=shlex.quote(self.commit))
        return self._command((*self.shell, "-c", script, "sh"), b"")

    def _setup(self, scratch: str) -> str:
        programs = ""
        if self.tools:
            programs = "\n".join(
                f'{name}() {{ {shlex.join([*self._run, f"{self.tools}/{name}"])} "$@"; }}' for name in PROGRAMS
            )
        return SETUP.format(
            programs=programs,
            scratch=shlex.quote(scratch or self.scratch[0]),
            word=secrets.token_hex(8),  # so that nobody can have made it before
            seconds=GIT_SECONDS,
            format=SHA256 if len(self.commit) == 64 else "",
            stores=shlex.quote(
                ":".join([f"{self.git}/objects", *(f"{self.git}/{each.objects}" for each in self._known)])
            ),
            commit=shlex.quote(self.commit),
            submodules=self._flat_base(),
        )

    def _command(self, words: tuple[str, ...], stdin: bytes) -> Command:
        # What the shell itself would read or load.
        env = {"LD_PRELOAD": "", "BASH_ENV": "", "ENV": ""}
        return Command(words, env=env, stdin=stdin, timeout=self.timeout, output_cap=self.cap)


@dataclass(frozen=True, slots=True)
class Survey:
    """What was found in the working tree before: files of more than `SMALLER_FILE` bytes with their sizes, largest
    first, what cannot be read, and folders that are repositories of their own, the outer ones first. `complete` is
    false where there was too much to look at or to name.
    """

    large: tuple[tuple[int, str], ...] = ()
    unreadable: tuple[str, ...] = ()
    nested: tuple[str, ...] = ()
    complete: bool = True

    def over(self, size: int) -> list[tuple[int, str]]:
        return [each for each in self.large if each[0] > size]


async def take_patch(run: Callable[[Command], Awaitable[Completed]], spec: PatchSpec, survey: Survey) -> Patch:
    """Take the patch with as much in it as can be. Raises `SandboxError` if none can be taken."""
    why, fewer = "", False  # whether fewer files may be enough
    for which, limit in STEPS:
        if (which == ALL and not survey.complete) or (limit == SMALLER_FILE and not fewer):
            continue
        excluded = survey.over(limit)
        done = await _in_one_of(spec.scratch, run, spec, which, [path for _, path in excluded], survey.nested)
        fewer = bool(done.dropped or (_too_slow(done) and survey.large))
        why = _problem(done, spec.cap)
        if not why:
            left_out = [*_left_out(survey, excluded, limit, which), *_named_only(spec, survey, done.output)]
            return Patch.of(done.output, left_out)
    raise SandboxError(f"the patch could not be taken: {why}")


async def _in_one_of(
    folders: Sequence[str],
    run: Callable[[Command], Awaitable[Completed]],
    spec: PatchSpec,
    which: str,
    excluded: Sequence[str],
    nested: Sequence[str],
) -> Completed:
    """Run the command with the first of these scratch folders that is not full."""
    for scratch in folders:
        done = await run(spec.command(which, excluded, scratch, nested))
        if not done.returncode or done.dropped or done.timed_out or done.returncode in OUT_OF_TIME:
            break
    return done


def _problem(done: Completed, cap: int) -> str:
    """Why this is not a complete patch; empty if it is one."""
    if done.dropped:
        return f"it is larger than {cap >> 20} MB"
    if _too_slow(done):
        return "git needs too long for what is in the repository"
    if done.returncode:
        return done.output[-300:].decode("utf-8", "replace").strip() or f"git exit status {done.returncode}"
    return ""


def _too_slow(done: Completed) -> bool:
    return done.timed_out or done.returncode in OUT_OF_TIME


def _left_out(survey: Survey, excluded: Sequence[tuple[int, str]], limit: int, which: str) -> Iterator[str]:
    """What a patch lacks, for people."""
    yield from _some(
        [f"{printable(path)} ({size >> 20} MB)" for size, path in excluded], f"of more than {limit >> 20} MB"
    )
    yield from _some([f"{printable(path)} (cannot be read)" for path in survey.unreadable], "that cannot be read")
    if which == TRACKED:
        yield NEW_FILES


def _named_only(spec: PatchSpec, survey: Survey, patch: bytes) -> Iterator[str]:
    """Repositories inside whose files the patch lacks."""
    if (more := len(survey.nested) - MOST_NESTED) > 0:
        yield f"the files of {more} more repositories in folders"
    unseen = [os.fsdecode(name[1]) for name in LINKED.finditer(patch)]
    yield from _some(
        [f"the files of {printable(path)} (a repository of its own)" for path in unseen if path not in survey.nested],
        "in repositories of their own",
    )
    unknown = [each.path for each in spec.submodules if each.unknown]
    yield from _some(
        [f"changes in {printable(path)} (a submodule whose objects are not in .git/modules)" for path in unknown],
        "in submodules",
    )


def _some(names: Sequence[str], of: str) -> Iterator[str]:
    yield from names[:NAMED]
    if len(names) > NAMED:
        yield f"{len(names) - NAMED} more files {of}"


def printable(path: str) -> str:
    """A path on one line, without bytes that are no text; of a long one its end."""
    path = path if len(path) <= LONGEST_NAME else f"...{path[-LONGEST_NAME:]}"
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace").encode("unicode_escape").decode()
