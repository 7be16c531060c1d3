"""What local sandboxes are shown of the host, and what is hidden below it.

A sandbox sees the folders of the system's programs and those of the runner's Python, read-only. Packages for Python
that are installed there may be a second copy of this project, with the solutions and hidden tests of its own tasks:
every folder of such packages is hidden, and every other folder or archive that holds them.
"""

import os

__all__ = ["SYSTEM", "below", "private_paths", "shown_folders"]

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store", "/gnu/store", "/etc/alternatives")
PACKAGES = ("site-packages", "dist-packages")
SOLUTION, TASKS = "gold.patch", ("quick", "quick_easy")  # a solution, and the folders of tasks two levels above it
# Large folders in which nothing is installed that runs.
SKIPPED = tuple(f"/usr/share/{name}" for name in ("doc", "fonts", "icons", "locale", "man", "zoneinfo"))
ARCHIVES = ("coding_monkeys-", "coding-monkeys-")  # wheels and source archives of this project


def below(path: str, folders: "tuple[str, ...]") -> bool:
    return any(path.startswith(f"{folder}/") for folder in folders)


def shown_folders(base_prefix: str) -> "tuple[str, ...]":
    """The folders of the host that sandboxes see, with that of a Python outside the system's folders."""
    return SYSTEM if below(f"{base_prefix}/", SYSTEM) else (*SYSTEM, base_prefix)


def private_paths(folders: "tuple[str, ...]") -> "list[str]":
    """Folders and files below these that sandboxes must not see. Reads every folder once, 0.1 s for 30,000 files."""
    found = []  # type: list[str]
    pending = [folder for folder in folders if not os.path.islink(folder)]
    while pending:
        try:
            entries = list(os.scandir(pending.pop()))
        except OSError:
            continue  # it cannot be read here, nor in a sandbox
        for entry in entries:
            name = entry.name
            if entry.is_dir(follow_symlinks=False):
                if name in PACKAGES:
                    found.append(entry.path)
                elif entry.path not in SKIPPED:
                    pending.append(entry.path)
            elif name == SOLUTION:
                tasks = os.path.dirname(os.path.dirname(entry.path))
                found.append(tasks if os.path.basename(tasks) in TASKS else entry.path)
            elif name.startswith(ARCHIVES):
                found.append(entry.path)
    return sorted(set(found))
