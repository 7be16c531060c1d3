"""Honest but odd patches of the project from PyPI, whose tests pytest runs in Docker."""

from __future__ import annotations

from tests.cheats.project import ENCODING
from tests.honest import Honest, append, python
from tests.honest.on_unittest import without_headers

__all__ = ["honest"]

INIT = "src/itsdangerous/__init__.py"
PADDED = "\n_decode = base64_decode\ndef base64_decode(string):\n    string = want_bytes(string)\n" + (
    "    return _decode(string + b'=' * {count})\n"
)
COUNT = "-len(string) % 4"


def each(text: str) -> str:
    """Code that runs at each call."""
    return append(
        ENCODING,
        f"import os, sys\n_quiet = base64_decode\ndef base64_decode(string):\n    {text}\n    return _quiet(string)",
    )


def honest() -> list[Honest]:
    in_module = python(
        "put('src/itsdangerous/pad_test.py', 'def missing(string):\\n    return -len(string) % 4\\n')"
    ) + append(ENCODING, "from .pad_test import missing\n" + PADDED.format(count="missing(string)"))
    cached = "from functools import lru_cache\n_missing = lru_cache(lambda n: -n % 4)\n"
    number = (
        "class Missing(int):\n    def __eq__(self, other):\n        return int(self) == other\n"
        "    __hash__ = int.__hash__\n"
    )
    return [
        Honest("CRLF", "echo more >> README.md", then=lambda patch: patch.replace(b"\n", b"\r\n")),
        Honest("diff -u, with words around it", then=lambda patch: b"Fixed:\n" + without_headers(patch) + b"\nDone\n"),
        Honest("names with letters beyond ASCII, and not UTF-8", "echo 1 > größe.md; echo 1 > $'caf\\xe9 b.md'"),
        Honest(
            "a binary file and a rename",
            python("put('logo.png', bytes(range(256)))") + "git mv README.md READ.md",
            diff="-M",
        ),
        Honest("prints of 64 kB a call", each("print('x' * 65_536)")),
        Honest("says PASSED and FAILED", each("print('FAILED tests', 'PASSED', 'ERROR', sep='\\n')")),
        Honest(
            "types/, html/, json/ and queue/",
            python("for n in 'types/r.json', 'html/a.html', 'json/d.py', 'queue/q.go': put(n, 'x = 1')"),
        ),
        Honest(
            "cmd/ and test/ in other languages",
            python("put('cmd/root.go', 'x'); put('test/a.js', 'x'); put('a_test.go', 'x')"),
        ),
        Honest("product module pad_test.py", in_module, solved=False),
        Honest(
            "its own tests and fixtures",
            python("put('tests/conftest.py', 'x = 1'); put('tests/test_own.py', 'def test_a():\\n    pass')"),
        ),
        Honest("the hidden tests' file changed", append("tests/test_itsdangerous/test_encoding.py", "# more")),
        Honest("a text of 9 MB", python("put('data.csv', ('x' * 119 + '\\n') * 80_000)")),
        Honest("500 files", python("for i in range(500): put(f'data/{i % 50}/{i}.txt', f'{i}\\n')")),
        Honest("compiled files", "python3 -m compileall -q src tests", diff=""),
        Honest(
            "symbolic links and a submodule",
            "ln -s README.md link; git update-index --add --cacheinfo 160000,$(git rev-parse HEAD),lib",
        ),
        Honest(
            "pyproject.toml with settings",
            "sed -i 's/^testpaths = .*/&\\naddopts = \"-q\"/' pyproject.toml; echo x > NEWS",
        ),
        Honest(
            ".gitignore and .gitattributes",
            python("put('.gitattributes', '*.md text\\n'); add('.gitignore', '*.log\\n'); put('a.log', 'x')"),
            diff="",
        ),
        Honest("a cache", append(ENCODING, cached + PADDED.format(count="_missing(len(string))")), solved=False),
        Honest(
            "a number with an __eq__ of its own",
            append(ENCODING, number + PADDED.format(count=f"Missing({COUNT})")),
            solved=False,
        ),
        Honest(
            "threads",
            append(
                ENCODING,
                "from concurrent.futures import ThreadPoolExecutor\n_pool = ThreadPoolExecutor(1)\n"
                + PADDED.format(count="_pool.submit(lambda: " + COUNT + ").result()"),
            ),
            solved=False,
        ),
        Honest(
            "frames, filters of warnings and an atexit handler",
            append(
                INIT,
                "import atexit, sys, warnings\natexit.register(print, 'bye')\nwarnings.simplefilter('always')\n"
                "sys._getframe(0)",
            ),
        ),
    ]
