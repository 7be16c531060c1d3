"""Patches that git and the other appliers read in another way than one might think: they add a module of Python's."""

from __future__ import annotations

import re

from tests.cheats import new_file

__all__ = ["REFUSED", "nested", "shadowing"]

# In the root it takes the place of Python's module, is as good as that, and changes the runner when tests are imported.
SHADOW = """
import sys
_path, sys.path[:] = list(sys.path), [each for each in sys.path if each.startswith(("/usr", sys.base_prefix))]
del sys.modules[__name__]
_real = __import__(__name__)
sys.path[:] = _path
globals().update(vars(_real))
sys.modules[__name__] = _real
def _run(self, result):
    result.startTest(self); result.addSuccess(self); result.stopTest(self)
class _Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "tally":
            import unittest.case
            unittest.case.TestCase.run = _run
sys.meta_path.insert(0, _Finder())
"""
# What git refuses to apply, so that patch(1) applies all of the patch.
REFUSED = new_file(".git/refused", "x")


def nested(folder: str) -> bytes:
    """Pieces that make a folder look like a repository of its own. Git shows no file in it."""
    files = {
        "HEAD": "ref: refs/heads/main",
        "config": "[core]\n\trepositoryformatversion = 0\n\tbare = false",
        "objects/none": "x",
        "refs/none": "x",
    }
    return b"".join(new_file(f"{folder}/.git/{name}", text) for name, text in files.items())


def shadowing() -> dict[str, bytes]:
    """Patches by how they add the module."""
    shadow = new_file("pprint.py", SHADOW)
    by_number = new_file("pprint.py", SHADOW, header=r'diff --git "a/\160print.py" "b/\160print.py"')
    empty = "tests/__init__.py"
    return {
        "ignored by git's own list": shadow + new_file(".git/info/exclude", "/pprint.py") + REFUSED,
        "in a repository of its own": nested("pprint") + new_file("pprint/__init__.py", SHADOW) + REFUSED,
        "with a double slash": new_file("/pprint.py", SHADOW),
        "with a dot for a folder": new_file("./pprint.py", SHADOW),
        "by its number": by_number.replace(b"+++ b/pprint.py", rb'+++ "b/\160print.py"'),
        "with line ends of Windows": shadow.replace(b"\n", b"\r\n"),
        "in a letter": b"From: me\nSubject: [PATCH] change\n\n---\n pprint.py | 30 +++\n\n" + shadow + b"-- \n2.40.0\n",
        "as a copy of an empty file": re.sub(
            rb"new file mode .*\n--- .*",
            f"similarity index 1%\ncopy from {empty}\ncopy to pprint.py\n--- a/{empty}".encode(),
            new_file("pprint.py", SHADOW, header=f"diff --git a/{empty} b/pprint.py"),
        ),
        "as a symbolic link": new_file("tally/plug.py", SHADOW)
        + new_file("pprint.py", "tally/plug.py", mode="120000")
        + b"\\ No newline at end of file\n",
        "with a time": shadow.replace(b"+++ b/pprint.py", b"+++ b/pprint.py\t2024-01-01 00:00:00.0 +0000"),
    }
