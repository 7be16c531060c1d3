"""Overlay layers: the changes in a sandbox at one moment, kept as the lower layers of other sandboxes.

A layer is a file system in memory with two folders, `upper` (the repository) and `tmp`. It is a copy of what a sandbox
wrote: files with their modes, owners, times, holes and hard links, and the marks by which an overlay knows what was
deleted, replaced or renamed below. Sandboxes share a layer as the lower side of their own overlays, so that a further
sandbox costs no further copy.

The tree that is copied belongs to commands that still run and may be hostile: it is walked by open folders only, no
link in it is followed, and no read of it blocks.
"""

import errno
import os
import re
import stat

from envs.local.mounts import attach, tmpfs, unmount

__all__ = ["PARTS", "LayerStore", "copy_tree"]

PARTS = ("upper", "tmp")
DEEPEST_FOLDER = 400  # each level of the copy holds two descriptors
# An overlay's record of where a file came from is wrong for a copy; labels of security modules belong to the host.
LEFT_OUT = re.compile(r"(trusted|user)\.overlay\.(?!(opaque|redirect)$)|security\.")


class LayerStore:
    """The layers that this process holds, each mounted below `folder` under its number."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        os.mkdir(folder)

    def path(self, number: int) -> str:
        return f"{self.folder}/{number}"

    def take(self, number: int, writable: int, size_mb: int) -> None:
        """Copy a sandbox's writable layer to a new layer. A large one takes seconds; a failed copy leaves nothing."""
        layer = tmpfs(size_mb)
        target = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=layer)
        for part in PARTS:
            os.mkdir(part, dir_fd=target)
            with OpenFolder(part, writable) as source, OpenFolder(part, target) as copy:
                copy_tree(source, copy)
                copy_metadata(copy, os.fstat(source), source)
        os.mkdir(self.path(number))
        attach(layer, self.path(number))

    def drop(self, number: int) -> None:
        """Unmount a layer. Sandboxes that use it keep it alive; no further one can use it."""
        try:
            unmount(self.path(number))
            os.rmdir(self.path(number))
        except OSError:
            pass  # its copy failed, or was cancelled before it was complete


class OpenFolder:
    """An open folder; entering it gives the descriptor."""

    def __init__(self, name: str, parent: int) -> None:
        self.fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)

    def __enter__(self) -> int:
        return self.fd

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)


def copy_tree(source: int, target: int, links: "dict[int, str] | None" = None, depth: int = 0, place: str = "") -> None:
    """Copy everything in one open folder to another. Raises `OSError` that names the path.

    `links` are the names of copied files with further hard links; `place` is the path of the folder below the top.
    """
    if depth > DEEPEST_FOLDER:
        raise OSError(errno.ENAMETOOLONG, f"folders are nested more than {DEEPEST_FOLDER} deep", place[:40] + "...")
    links = {} if links is None else links
    for name in os.listdir(source):
        path = f"{place}{name}"
        try:
            info = os.stat(name, dir_fd=source, follow_symlinks=False)
            if stat.S_ISDIR(info.st_mode):
                with OpenFolder(name, source) as inner:
                    os.mkdir(name, 0o700, dir_fd=target)
                    with OpenFolder(name, target) as copy:
                        copy_tree(inner, copy, links, depth + 1, f"{path}/")
                        copy_metadata(copy, info, inner)
            elif info.st_ino in links:
                up = "../" * depth
                os.link(f"{up}{links[info.st_ino]}", name, src_dir_fd=target, dst_dir_fd=target, follow_symlinks=False)
            else:
                copy_file(source, target, name, info)
                if info.st_nlink > 1:
                    links[info.st_ino] = path
        except FileNotFoundError:
            pass  # deleted meanwhile
        except OSError as error:
            raise OSError(error.errno, error.strerror, error.filename if "/" in str(error.filename) else path) from None


def copy_file(source: int, target: int, name: str, info: os.stat_result) -> None:
    """Copy anything but a folder."""
    if stat.S_ISREG(info.st_mode):
        original = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=source)
        try:
            copy = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=target)
            try:
                copy_data(original, copy, info.st_size)
                copy_metadata(copy, info, original)
            finally:
                os.close(copy)
        finally:
            os.close(original)
        return
    if stat.S_ISLNK(info.st_mode):
        os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
    else:  # the overlay's mark of a deleted file, a pipe, a socket
        os.mknod(name, info.st_mode, info.st_rdev, dir_fd=target)
    os.chown(name, info.st_uid, info.st_gid, dir_fd=target, follow_symlinks=False)
    os.utime(name, ns=(info.st_atime_ns, info.st_mtime_ns), dir_fd=target, follow_symlinks=False)


def copy_data(source: int, target: int, size: int) -> None:
    """Copy the bytes of a file and keep its holes, so that the copy takes no more space than the original."""
    end = 0
    while end < size:
        try:
            start = os.lseek(source, end, os.SEEK_DATA)
        except OSError:
            break  # only a hole follows
        end = os.lseek(source, start, os.SEEK_HOLE)
        os.lseek(target, start, os.SEEK_SET)
        while start < end:
            sent = os.sendfile(target, source, start, end - start)
            if not sent:
                break  # it became shorter meanwhile
            start += sent
    os.ftruncate(target, size)


def copy_metadata(fd: int, info: os.stat_result, source: int) -> None:
    """Set owner, mode, attributes and times of an open copy, in this order: a new owner clears bits of the mode."""
    os.chown(fd, info.st_uid, info.st_gid)
    os.chmod(fd, stat.S_IMODE(info.st_mode))
    for name in os.listxattr(source):
        if not LEFT_OUT.match(name):
            os.setxattr(fd, name, os.getxattr(source, name))
    os.utime(fd, ns=(info.st_atime_ns, info.st_mtime_ns))
