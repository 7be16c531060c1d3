"""The folder where this program keeps what it can make again: repositories, verdicts, locks, the images it pulled.

All processes of a user on a machine share it. It is below XDG_CACHE_HOME, or else below ~/.cache. Where there is no
home folder, or it cannot be written, as in a container under a user that it does not know, it is below the folder of
temporary files.

Guarantees: a folder of temporary files is used only if it belongs to this user and nobody else can write it.
"""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from envs.errors import MonkeysError

__all__ = ["NoCacheFolder", "cache_folder", "cannot_keep"]

NAME = "coding-monkeys"
VARIABLE = "XDG_CACHE_HOME"


class NoCacheFolder(MonkeysError):
    """No folder can be written in which this program may keep things."""


def cache_folder() -> Path:
    """The folder, made if it can be. One that XDG_CACHE_HOME names is not checked: who writes there is told why not.

    Raises `NoCacheFolder`.
    """
    if given := os.environ.get(VARIABLE):
        return Path(given) / NAME
    try:
        home = Path.home()
    except RuntimeError:  # no HOME, and a user without an entry in the list of users
        return _temporary()
    usual = home / ".cache" / NAME
    return usual if home.is_dir() and _usable(usual, 0o777) else _temporary()


def cannot_keep(folder: Path, error: OSError) -> str:
    """Why something cannot be kept in a folder of the cache, and the remedy, as the end of a message."""
    return (
        f"{folder} cannot be written ({error.strerror or error}); free some space there, correct its permissions, or "
        f"set {VARIABLE} to another folder"
    )


def _temporary() -> Path:
    try:
        folder = Path(tempfile.gettempdir()) / f"{NAME}-{os.getuid()}"
        if _usable(folder, 0o700):
            found = folder.lstat()
            if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022:
                return folder
    except OSError:
        pass
    raise NoCacheFolder(
        f"neither the home folder nor that of temporary files can be written; set {VARIABLE} to a folder that can"
    )


def _usable(folder: Path, mode: int) -> bool:
    try:
        folder.mkdir(mode=mode, parents=True, exist_ok=True)
        return os.access(folder, os.R_OK | os.W_OK | os.X_OK)
    except OSError:
        return False
