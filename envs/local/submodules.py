"""The submodules of a repository on this machine: what the base of each is, and where its objects are."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from envs.base import LocalRepository
from envs.diff import Submodule
from envs.sandbox import SandboxUnavailable

__all__ = ["submodules"]

LINK = b"160000 "  # the mode of an entry that names a commit of another repository


def submodules(top: Path, commit: str) -> Iterator[Submodule]:
    """All submodules of the repository `top` at `commit`, those of submodules too, the outer ones first.

    Raises `SandboxUnavailable` if there is no such commit.
    """
    places = [("", commit)]
    for place, tree in places:  # grows
        listed = LocalRepository(top / place).git("ls-tree", "-r", "-z", "--full-tree", tree)
        for entry in listed.split(b"\0"):
            if entry.startswith(LINK):
                found = _submodule(top, os.path.join(place, os.fsdecode(entry.partition(b"\t")[2])))
                yield found
                if found.objects:
                    places.append((found.path, found.commit))


def _submodule(top: Path, path: str) -> Submodule:
    folder = top / path
    if not os.path.lexists(folder / ".git"):
        return Submodule(path)
    repository = LocalRepository(folder)
    try:
        commit = repository.git("rev-parse", "--verify", "HEAD^{commit}").decode().strip()
        objects = folder / os.fsdecode(repository.git("rev-parse", "--git-path", "objects").rstrip(b"\n"))
        where = os.path.relpath(objects.resolve(), (top / ".git").resolve())
    except SandboxUnavailable:
        return Submodule(path)  # no repository, or one without a commit
    # A sandbox sees the base's git folder alone; a colon would end the path in git's list of stores.
    hidden = where.startswith("..") or ":" in where
    return Submodule(path, commit, "" if hidden else where)
