"""The base of an attempt: the repository that it starts from, and the tree that its patch is compared with.

Guarantees, each checked before an attempt may start: the repository is at its base commit, and no object, ref, reflog
or note of a later commit can be read in it. Every object that the base does not reach is refused, whether a ref, a
pack or nothing points to it. The runner compares with a copy of the starting tree that commands inside cannot change.

An image is prepared once per machine (`prepare_image`): if it holds more than the base, it is scrubbed and kept under
a name of its own. The copy of the starting tree is in a volume that sandboxes mount read-only. A repository on this
machine is only checked (`assert_clean`); `scrubbed_copy` makes one that passes.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from envs.cache_folder import NoCacheFolder, cache_folder
from envs.diff import PROGRAMS
from envs.events import Sink, Status, ignore
from envs.sandbox import Origin, SandboxUnavailable

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

__all__ = ["ANY_OWNER", "BASE_GIT", "NAME", "PreparedImage", "assert_clean", "prepare_image", "scrubbed_copy"]

BASE_GIT = "/run/base.git"  # the git folder with the starting tree, inside a sandbox
NAME = "coding-monkeys-base"  # of prepared images and of their volumes
IMAGE_LABEL = "coding-monkeys.image"  # on both: the id of the image that they were made from
VERSION_LABEL = "coding-monkeys.base-version"  # of a volume
VERSION = 3  # of the preparation; after a change of it every image is prepared again

# Files that may name other commits, beside objects and refs. Relative to the git folder.
TRACES = "worktrees refs/stash FETCH_HEAD ORIG_HEAD MERGE_HEAD CHERRY_PICK_HEAD REVERT_HEAD REBASE_HEAD AUTO_MERGE "
TRACES += "MERGE_MSG SQUASH_MSG rebase-merge rebase-apply sequencer"
BORROWED = "objects/info/alternates objects/info/http-alternates"

FIND_TRACES = f"""
cd "$(git rev-parse --absolute-git-dir)" || exit 1
for trace in {TRACES} {BORROWED}; do [ ! -e "$trace" ] || echo "$trace"; done
[ ! -e COMMIT_EDITMSG ] || [ "$(cat COMMIT_EDITMSG)" = "$(git log -1 --format=%B)" ] || echo COMMIT_EDITMSG
[ ! -d logs ] || grep -rh . logs || :
"""
# The arguments are the refs to delete. Borrowed objects are packed before the reference to their store is removed.
SCRUB = f"""
set -e
for remote in $(git remote); do git remote remove "$remote"; done
for ref; do git update-ref --no-deref -d "$ref"; done
cd "$(git rev-parse --absolute-git-dir)"
rm -rf logs COMMIT_EDITMSG {TRACES}
rm -f objects/pack/*.keep objects/pack/*.promisor objects/pack/*.bitmap objects/pack/multi-pack-index
rm -rf objects/info/commit-graph objects/info/commit-graphs
git --work-tree="$OLDPWD" reset -q --mixed || :
git -c repack.writeBitmaps=false -c pack.windowMemory=256m repack -a -d -q
rm -f {BORROWED}
git prune --expire=now
rm -rf logs ORIG_HEAD
"""
# Records the tree as it is, with untracked files: files that a build left must not appear in every patch. The index
# holds the inode and times of each file, so that taking a patch need not read files that were not touched. Repositories
# inside, submodules among them, are recorded as the files that they hold (see `envs.diff`).
KEEP_START = f"""
set -e
git init -q --bare {BASE_GIT}
head=$(git rev-parse HEAD)
borrowed={BASE_GIT}/objects/info/alternates
echo "$(git rev-parse --absolute-git-dir)/objects" > "$borrowed"
add_all() {{
    git "$@" add -A --ignore-errors . || [ $? = 1 ]
}}
inner() {{
    folder=$1
    git update-index --force-remove -- "$folder"
    [ -e "$folder/.git" ] || return 0
    objects=$(unset GIT_DIR GIT_WORK_TREE; cd "$folder" && cd "$(git rev-parse --git-path objects)" && pwd) || return 0
    commit=$(unset GIT_DIR GIT_WORK_TREE; git -C "$folder" rev-parse -q --verify HEAD^0) || commit=''
    echo "$objects" >> "$borrowed"
    tree=$(
        ignored="$PWD/.gitignore"
        export GIT_WORK_TREE="$PWD/$folder" GIT_INDEX_FILE={BASE_GIT}/inner.index
        cd "$folder"
        rm -f "$GIT_INDEX_FILE"
        [ -z "$commit" ] || git read-tree "$commit"
        add_all -c core.excludesFile="$ignored"
        [ -z "$(git ls-files)" ] || git write-tree
        rm -f "$GIT_INDEX_FILE"
    )
    [ -z "$tree" ] || git read-tree --prefix="$folder/" "$tree"
}}
# Names of commits in the index, and folders with a repository that has none.
repositories() {{
    git -c core.quotePath=false ls-files --stage | grep '^160000 ' | while IFS='	' read -r entry path; do
        echo "$path"
    done
    git -c core.quotePath=false ls-files --others --exclude-standard | grep '/$' | while IFS= read -r path; do
        [ ! -e "$path.git" ] || echo "${{path%/}}"
    done
}}
export GIT_DIR={BASE_GIT} GIT_WORK_TREE="$PWD" GIT_INDEX_FILE={BASE_GIT}/start.index
git read-tree "$head"
add_all
for round in 1 2 3 4 5; do
    found=$(repositories)
    [ "$found" ] || break
    echo "$found" | while IFS= read -r path; do inner "$path"; done
done
add_all
GIT_AUTHOR_DATE='@0 +0000' GIT_COMMITTER_DATE='@0 +0000' git -c user.name=base -c user.email=base \
    commit-tree -m start "$(git write-tree)" > {BASE_GIT}/start
git update-ref refs/heads/start "$(cat {BASE_GIT}/start)"
git repack -a -d -q
rm -f "$borrowed"
cat {BASE_GIT}/start
"""

# Copies the programs that take a patch, with their libraries and the loader, for an attempt may change those of the
# image. Prints "complete" if the copies run.
KEEP_TOOLS = f"""
set -e
cd {BASE_GIT}
trap '[ -e tools/complete ] || rm -rf tools' EXIT
mkdir -p tools/lib
for name in sh {" ".join(PROGRAMS)}; do
    path=$(command -v "$name")
    cp -L "$path" "tools/$name"
    {{ ldd "$path" 2>/dev/null || LD_TRACE_LOADED_OBJECTS=1 "$path" < /dev/null; }} > tools/list
    while read -r first second third rest; do
        if [ "$second" = '=>' ]; then library=$third; else library=$first; fi
        case $library in
            /*/ld-* | /*/ld*.so*) cp -L "$library" tools/ld; cp -L "$library" tools/lib ;;
            /*) cp -L "$library" tools/lib ;;
        esac
    done < tools/list
done
tools/ld --library-path {BASE_GIT}/tools/lib tools/git --version > /dev/null
[ "$(tools/ld --library-path {BASE_GIT}/tools/lib tools/sh -c 'echo runs')" = runs ]
: > tools/complete
echo complete
"""

ANY_OWNER = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}


@dataclass(frozen=True, slots=True)
class PreparedImage:
    """An image that attempts may start from.

    `commit` is the starting tree in the git folder of the volume `volume`. Both are empty for an image without a
    repository. `tools` is the path inside of the programs that take a patch and that no command can change; it is empty
    for an image whose programs cannot be copied.
    """

    image: str
    commit: str
    volume: str
    tools: str = ""


class Repository(Protocol):
    """A git repository, on this machine or in a container. Both methods raise `SandboxUnavailable` on a failure."""

    where: str

    def git(self, *words: str) -> bytes: ...

    def sh(self, script: str, *arguments: str) -> str: ...


# Checks


def surplus(repository: Repository) -> list[str]:
    """What the repository holds beyond its HEAD: objects, refs, traces of other commits. Empty if it is clean."""
    git = repository.git
    objects = set(git("cat-file", "--batch-all-objects", "--batch-check=%(objectname)").decode().split())
    listed = git("rev-list", "--objects", "HEAD", *kept_tags(repository)).decode("utf-8", "replace")
    reached = {line.split(" ", 1)[0] for line in listed.splitlines()}
    found = foreign_refs(repository)
    for line in repository.sh(FIND_TRACES).splitlines():
        before, _, after = line.partition(" ")
        if not (commit := re.match(r"[0-9a-f]{40,}\b", after)):
            found.append(line)
        elif not reached.issuperset({before, commit[0]} - {"0" * len(before)}):
            found.append(f"reflog entry {commit[0]}")
    return [*found, *(f"object {name}" for name in sorted(objects - reached))]


def kept_tags(repository: Repository) -> list[str]:
    """Tags of the base and of earlier commits, from which builds read their version."""
    return repository.git("for-each-ref", "--merged=HEAD", "--format=%(refname)", "refs/tags").decode().split()


def foreign_refs(repository: Repository) -> list[str]:
    kept = {*kept_tags(repository), repository.git("rev-parse", "--symbolic-full-name", "HEAD").decode().strip()}
    refs = repository.git("for-each-ref", "--format=%(refname)").decode().split()
    return [ref for ref in refs if ref not in kept]


def first_few(found: list[str]) -> str:
    return f"{', '.join(found[:3])}{f' and {len(found) - 3} more' if len(found) > 3 else ''}"


def assert_commit(repository: Repository, commit: str) -> None:
    """Check that HEAD is the base, or one commit on top of it, as SWE-bench's images have it for their set-up."""
    try:
        beyond = int(repository.git("rev-list", "--count", f"{commit}..HEAD"))
        missing = int(repository.git("rev-list", "--count", f"HEAD..{commit}"))
    except SandboxUnavailable as error:
        raise SandboxUnavailable(f"{repository.where} does not hold the base commit {commit} ({error})") from None
    if missing or beyond > 1:
        raise SandboxUnavailable(
            f"{repository.where} is not at the base commit {commit}: its HEAD is {beyond} commits ahead and {missing} "
            "behind; check the base out there, or correct the task's base_commit"
        )


# Repositories on this machine


class LocalRepository:
    def __init__(self, path: Path) -> None:
        self.path, self.where = path, f"repository {path}"
        clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        self._environment = {**clean, "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, **ANY_OWNER}

    def git(self, *words: str) -> bytes:
        return self._run("git", *words)

    def sh(self, script: str, *arguments: str) -> str:
        return self._run("/bin/sh", "-c", script, "sh", *arguments).decode("utf-8", "replace")

    def _run(self, *command: str) -> bytes:
        try:
            done = subprocess.run(command, cwd=self.path, env=self._environment, capture_output=True, check=False)
        except FileNotFoundError:
            raise SandboxUnavailable(
                f"{self.where}: there is no folder of that name, or {command[0]} is not installed; install {command[0]}"
            ) from None
        if done.returncode:
            cause = " ".join(done.stderr.decode("utf-8", "replace").split())
            raise SandboxUnavailable(f"{self.where}: {cause or f'{command[0]} gave exit status {done.returncode}'}")
        return done.stdout


def assert_clean(path: Path, commit: str) -> None:
    """Check that a repository is at `commit` and holds nothing later. Raises `SandboxUnavailable` with the remedy.

    Takes as long as git needs to list all objects: milliseconds for a small repository, seconds for a large one.
    """
    repository = LocalRepository(path)
    assert_commit(repository, commit)
    if found := surplus(repository):
        raise SandboxUnavailable(
            f"repository {path} holds more than its base commit reaches ({first_few(found)}), so an attempt could "
            "read later work; use a copy made by envs.base.scrubbed_copy(repository, commit, folder) instead"
        )


def scrubbed_copy(source: Path, commit: str, folder: Path) -> str:
    """Make `folder` a repository at `commit` with its history and nothing later. Returns the full commit name.

    `source` stays as it is. Raises `SandboxUnavailable` if it has no such commit or is a shallow clone,
    `FileExistsError` if `folder` exists.
    """
    origin = LocalRepository(source)
    full = origin.git("rev-parse", "--verify", f"{commit}^{{commit}}").decode().strip()
    if origin.git("rev-parse", "--is-shallow-repository").strip() == b"true":
        raise SandboxUnavailable(
            f"{origin.where} is a shallow clone, which lacks commits that its base reaches; "
            "run `git fetch --unshallow` there"
        )
    folder.mkdir(parents=True)
    copy = LocalRepository(folder)
    copy.git("init", "-q", "--template=", f"--object-format={HASHES.get(len(full), 'sha1')}")
    copy.git("config", "core.logAllRefUpdates", "false")
    # Through upload-pack, which sends only what the commit reaches.
    allowed = ("-c", "protocol.file.allow=always", "-c", "fetch.writeCommitGraph=false")
    copy.git(*allowed, "fetch", "-q", "--no-tags", "--upload-pack", UPLOAD_PACK, str(source.resolve()), full)
    copy.git("update-ref", "refs/heads/base", full)
    copy.git("symbolic-ref", "HEAD", "refs/heads/base")
    copy.git("reset", "-q", "--hard")
    copy.git("config", "--unset", "core.logAllRefUpdates")  # `git checkout -` and `git reflog` need the log
    for trace in ("FETCH_HEAD", "ORIG_HEAD"):
        (folder / ".git" / trace).unlink(missing_ok=True)
    assert_clean(folder, full)
    return full


HASHES = {40: "sha1", 64: "sha256"}  # by how long the name of an object is
UPLOAD_PACK = "git -c uploadpack.allowAnySHA1InWant=true upload-pack"


# Images


def prepare_image(
    client: DockerClient,
    image: str,
    origin: Origin,
    labels: Mapping[str, str],
    identity: str = "",
    *,
    events: Sink = ignore,
) -> PreparedImage:
    """Prepare an image once per machine; later calls find the result. Blocking: minutes for a large history.

    `identity` is the image's id where it is known, for a mirror may have pulled it under another name. The container
    that does the work carries `labels`, so that it is removed as an orphan if the runner is killed. A `Status` about
    the image tells each step. Raises `SandboxUnavailable` if the image has no repository at `origin.workdir`, is at
    another commit, or cannot be scrubbed.
    """
    if not origin.commit:
        return PreparedImage(identity or image, "", "")
    source = client.images.get(identity or image)
    text = f"{VERSION}/{source.id}/{origin.workdir}/{origin.commit}"
    key = hashlib.sha256(text.encode()).hexdigest()[:16]

    def tell(step: str) -> None:
        events(Status(step and f"preparing {image}: {step}", image))

    try:
        with _locked(key, partial(tell, "waiting for another run, which does it already")):
            return _known(client, key) or _prepare(client, source.id, image, origin, labels, key, tell)
    finally:
        tell("")


def _known(client: DockerClient, key: str) -> PreparedImage | None:
    from docker.errors import NotFound

    volume = f"{NAME}-{key}"
    tags = [tag for image in client.images.list(name=NAME) for tag in image.tags]
    # The tag is set last, so everything else exists if it does. It ends with the commit of the starting tree.
    tag = next((tag for tag in tags if f"{NAME}:{key}-" in tag), None)
    try:
        client.volumes.get(volume)
    except NotFound:
        return None
    return _prepared(tag, volume) if tag else None


def _prepared(tag: str, volume: str) -> PreparedImage:
    return PreparedImage(tag, tag.rpartition("-")[2], volume, f"{BASE_GIT}/tools" if "-tools-" in tag else "")


def _prepare(
    client: DockerClient,
    identity: str,
    image: str,
    origin: Origin,
    labels: Mapping[str, str],
    key: str,
    tell: Callable[[str], None],
) -> PreparedImage:
    from docker.errors import DockerException, NotFound

    source_labels = {IMAGE_LABEL: identity, f"{NAME}.key": key}
    volume = f"{NAME}-{key}"
    try:
        client.volumes.get(volume).remove()  # left incomplete by a runner that was killed
    except NotFound:
        pass
    container = None
    try:
        client.volumes.create(volume, labels={**source_labels, VERSION_LABEL: str(VERSION)})
        container = client.containers.run(
            identity,
            ["/bin/sh", "-c", "exec cat"],
            entrypoint=[],
            detach=True,
            stdin_open=True,
            user="0",  # safe, for no attempt has run in the image
            network_mode="none",
            log_config={"type": "none"},
            volumes={volume: {"bind": BASE_GIT, "mode": "rw"}},
            labels={**labels, **source_labels},
        )
        repository = ContainerRepository(container, image, origin.workdir)
        assert_commit(repository, origin.commit)
        scrubbed = _scrub(repository, tell)
        tell("recording the starting tree")
        commit = repository.sh(KEEP_START).strip()
        tag = f"{key}-tools-{commit}" if repository.succeeds(KEEP_TOOLS) else f"{key}-{commit}"
        if scrubbed:
            tell("keeping the scrubbed image")
            user = client.images.get(identity).attrs["Config"].get("User") or "0"  # an image may lack the name "root"
            changes = [f"USER {user}", *(f"LABEL {name}=" for name in labels)]
            client.api.commit(container.id, repository=NAME, tag=tag, changes=changes)
        else:
            client.images.get(identity).tag(NAME, tag)
        return _prepared(f"{NAME}:{tag}", volume)
    except DockerException as error:
        raise SandboxUnavailable(f"image {image} could not be prepared: {' '.join(str(error).split())[:300]}") from None
    finally:
        if container is not None:
            container.remove(force=True)


def _scrub(repository: Repository, tell: Callable[[str], None]) -> bool:
    """Remove all surplus. Returns whether there was any. Raises `SandboxUnavailable` if some of it stays."""
    tell("looking for what is later than the base")
    if not surplus(repository):
        return False
    tell("removing what is later than the base, which is done once for each image")
    repository.sh(SCRUB, *foreign_refs(repository))
    tell("making sure that nothing later is left")
    if left := surplus(repository):
        raise SandboxUnavailable(
            f"{repository.where} still holds {first_few(left)} after it was scrubbed, so an attempt could read later "
            "work; build the image with nothing but the base's history"
        )
    return True


class ContainerRepository:
    def __init__(self, container: Container, image: str, workdir: str) -> None:
        self._container, self._workdir, self.where = container, workdir, f"the repository at {workdir} in image {image}"

    def git(self, *words: str) -> bytes:
        return self._run("git", *words)

    def sh(self, script: str, *arguments: str) -> str:
        return self._run("/bin/sh", "-c", script, "sh", *arguments).decode("utf-8", "replace")

    def succeeds(self, script: str) -> bool:
        return bool(self._container.exec_run(["/bin/sh", "-c", script]).exit_code == 0)

    def _run(self, *command: str) -> bytes:
        # `ANY_OWNER`, for the repository may belong to the user that the image names.
        code, (out, err) = self._container.exec_run(
            list(command), workdir=self._workdir, environment=ANY_OWNER, demux=True
        )
        if code:
            cause = " ".join((err or out or b"").decode("utf-8", "replace").split())[-300:]
            raise SandboxUnavailable(f"{self.where}: {cause or f'{command[0]} gave exit status {code}'}")
        return out or b""


@contextmanager
def _locked(key: str, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold a lock that all processes of this user on this machine share. Calls `waiting` before it waits for it."""
    try:
        folder = cache_folder() / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / re.sub(r"\W", "-", key)).open("w")
    except (OSError, NoCacheFolder):  # no lock file can be written: then nothing protects from other processes
        yield
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
