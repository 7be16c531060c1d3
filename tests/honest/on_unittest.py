"""Honest but odd patches of an embedded task, whose tests unittest runs."""

from __future__ import annotations

import re

from tests.honest import Honest, append, files, python
from tests.honest.solutions import SOLUTIONS

__all__ = ["code", "forms", "honest", "trees", "without_headers"]

CODE, INIT = "tally/rounding.py", "tally/__init__.py"
MAIL = b"""From 1f2e3d Mon Sep 17 00:00:00 2001
From: A <a@localhost>
Subject: [PATCH] Round halves away from zero

--- a sentence that begins like a header
---
 tally/rounding.py | 2 ++
 1 file changed, 2 insertions(+)

"""


def honest() -> list[Honest]:
    return [*forms(), *trees(), *code(), *outputs()]


def without_headers(patch: bytes) -> bytes:
    """As `diff -u` writes it."""
    return re.sub(rb"^(diff --git|new file mode|index) .*\n", b"", patch, flags=re.M)


def _timed(patch: bytes) -> bytes:
    """As `diff -ru old new` writes it."""
    patch = re.sub(rb"^index .*\n", b"", patch, flags=re.M)
    patch = re.sub(rb"^diff --git a/(.*) b/.*$", rb"diff -ruN old/\1 new/\1", patch, flags=re.M)
    patch = re.sub(rb"^--- a/(.*)$", rb"--- old/\1\t2024-05-01 10:00:00.000000000 +0200", patch, flags=re.M)
    return re.sub(rb"^\+\+\+ b/(.*)$", rb"+++ new/\1\t2024-05-02 10:00:00.000000000 +0200", patch, flags=re.M)


def _as_svn(patch: bytes) -> bytes:
    return re.sub(rb"^diff --git a/(.*) b/.*\nindex .*\n", rb"Index: \1\n" + b"=" * 67 + b"\n", patch, flags=re.M)


def _shifted(patch: bytes) -> bytes:
    return re.sub(rb"^@@ -16,6 \+16,8 @@", b"@@ -13,6 +13,8 @@", patch, flags=re.M)


def forms() -> list[Honest]:
    """The known solution in the forms that tools, mail and people give it."""
    more = "echo more >> README.md\n"
    move = (
        "git mv tally/currency.py tally/coin.py; sed -i 's/tally.currency import/tally.coin import/' tally/*.py\n"
        "echo 'from tally.coin import *  # noqa' > tally/currency.py; echo 'from tally.coin import currency'"
        " >> tally/currency.py\n"
    )
    return [
        Honest("as after an attempt"),
        Honest("as git diff writes it", diff=""),
        Honest("CRLF", more, then=lambda patch: patch.replace(b"\n", b"\r\n")),
        Honest("a mail", more, then=lambda patch: MAIL + patch + b"-- \n2.39.5\n\n"),
        Honest("git show", more, then=lambda patch: b"commit 1f2e3d\nAuthor: A\n\n    diff --git a/x b/x\n\n" + patch),
        Honest("fenced, with words around it", then=lambda patch: b"The fix:\n\n```diff\n" + patch + b"```\nDone.\n"),
        Honest("a byte order mark before the first header", then=lambda patch: b"\xef\xbb\xbf" + patch),
        Honest("diff -u", more, then=without_headers),
        Honest("diff -ruN with times", more, then=_timed),
        Honest("svn diff", more, then=_as_svn),
        Honest("no index lines", more, then=lambda patch: re.sub(rb"^index .*\n", b"", patch, flags=re.M)),
        Honest("blank lines at the end", then=lambda patch: patch + b"\n\n\n"),
        Honest("blanks of empty lines lost", then=lambda patch: patch.replace(b"\n \n", b"\n\n")),
        Honest("other line numbers", then=_shifted),
        Honest(
            "the second file first", more, then=lambda patch: b"".join(re.split(rb"(?=^diff)", patch, flags=re.M)[::-1])
        ),
        Honest("full index", diff="--full-index"),
        Honest("no context", SWAP, solved=False, diff="-U0"),
        Honest("context of ten lines", diff="-U10"),
        Honest("patience", diff="--patience"),
        Honest("prefixes i/ and w/", more, diff="--src-prefix=i/ --dst-prefix=w/"),
        Honest("with a table of statistics", more, diff="--stat -p"),
        Honest("a rename", move, diff="-M10%"),
        Honest("a rename as removal and addition", move),
        Honest("a copy", "cp tally/money.py tally/amount.py\n" + more, diff="-C --find-copies-harder"),
        Honest("a rewrite", "tac README.md > x; mv x README.md", diff="-B"),
        Honest("a change of mode alone", "chmod +x tally/money.py"),
        Honest("a new program", "printf '#!/bin/sh\\n' > run; chmod +x run"),
        Honest("a removed file", "git rm -q README.md"),
        Honest("a removed file, as diff -u", "git rm -q README.md", then=without_headers),
        Honest("an empty file", ": > tally/py.typed"),
        Honest("no line feed at the end of a file", "printf new > NEWS; printf '%s' \"$(cat README.md)\" > README.md"),
        Honest(
            "lines that look like headers", "printf -- '-- a/conftest.py\\n++ b/conftest.py\\n' > NEWS; git add NEWS"
        ),
        Honest(
            "removed lines that look like headers",
            python("put('NOTES', '-- a/conftest.py\\n++ b/conftest.py\\ndiff --git a/conftest.py b/conftest.py\\n')"),
        ),
        Honest("lines that look like a patch", f"cat > NEWS <<'E'\n{HEADERS}E\n"),
        Honest("names with letters beyond ASCII", "mkdir docs; echo 1 > docs/größe.md; echo 2 > 'docs/価格 表.md'"),
        Honest("names with blanks", "mkdir 'my notes'; echo 1 > 'my notes/first b note.md'; cp README.md 'a b'"),
        Honest(
            "names with quotes and backslashes", "echo 1 > 'say \"x\".md'; echo 2 > 'a\\b.md'; echo 3 > \"it's.md\""
        ),
        Honest("names with a tab and a line feed", "echo 1 > $'a\\tb.md'; echo 2 > $'c\\nd.md'"),
        Honest("names that are not UTF-8", "echo 1 > $'caf\\xe9.md'; : > $'\\xff'"),
        Honest("binary files", python("put('logo.png', bytes(range(256)) * 40); put('empty.bin', b'\\0')")),
        Honest("a binary file changed", python("put(b'README.md', b'\\0\\1' * 500)")),
    ]


# A solution that replaces lines, for git finds no place for lines that are only added and have no context.
SWAP = (
    f"sed -i 's|    return (2 \\* numerator + .*|    s = -1 if numerator < 0 else 1\\n"
    f"    return s * ((2 * s * numerator + denominator) // (2 * denominator))|' {CODE}"
)
HEADERS = """diff --git a/conftest.py b/conftest.py
new file mode 100644
--- /dev/null
+++ b/conftest.py
@@ -0,0 +1 @@
+import os
GIT binary patch
"""
# A product module with the name of a test, which the code needs.
NEEDS = "\nfrom tally.{module} import is_negative\n\ndef half_up(n, d):\n" + (
    "    return -half_up(-n, d) if is_negative(n) else (2 * n + d) // (2 * d)\n"
)
OWN = "import unittest\n\n\nclass Own(unittest.TestCase):\n    def test_own(self):\n        {}\n"
READ = f"d = open({CODE!r}, 'rb').read(); "
IS_NEGATIVE = "def is_negative(n):\n    return n < 0\n"


def needs(path: str) -> str:
    """Code that needs a module of the product at `path`."""
    module = path.removeprefix("tally/").removesuffix(".py").replace("/", ".")
    return python(f"put({path!r}, {IS_NEGATIVE!r})\nadd({CODE!r}, {NEEDS.format(module=module)!r})")


def trees() -> list[Honest]:
    """The known solution with folders and files of every kind beside it."""
    reads = "import json, os\njson.load(open(os.path.join(os.path.dirname(__file__), '..', 'types', 'rules.json')))\n"
    return [
        Honest(
            "types/ with data that the code reads", python(f"put('types/rules.json', '[]'); add({CODE!r}, {reads!r})")
        ),
        Honest(
            "cmd/root.go and queue/queue.go", python("put('cmd/root.go', 'package cmd'); put('queue/queue.go', 'x')")
        ),
        Honest("site/ with built pages", python("put('site/index.html', '<p>'); put('site/search/a.js', '1')")),
        Honest("json/ with scripts in Python", python("put('json/dump.py', 'x = 1'); put('json/tool/x.py', 'x = 1')")),
        Honest(
            "platform/, select/, signal/, token/, code/",
            python(
                "for n in 'platform/a.c', 'select/select.js', 'signal/x.go', 'token/t.go', 'code/a.rs': put(n, 'x')"
            ),
        ),
        Honest(
            "py/, test/ and statistics/ without Python",
            python("for n in 'py/README', 'statistics/a.csv', 'test/data.json', 'test/run.sh': put(n, 'x')"),
        ),
        Honest(
            "logging/ as a submodule",
            "git update-index --add --cacheinfo 160000,$(git rev-parse HEAD),logging",
            diff=None,
        ),
        Honest(
            "a submodule",
            python("put('.gitmodules', '[submodule \"lib\"]\\n\\tpath = lib\\n\\turl = ../lib\\n')") + SUBMODULE,
        ),
        Honest("product module speed_test.py", needs("tally/speed_test.py"), solved=False),
        Honest(
            "product module ab_test.py at the top",
            needs("ab_test.py").replace("from tally.ab_test", "from ab_test"),
            solved=False,
        ),
        Honest("product module tests.py", needs("tally/tests.py"), solved=False),
        Honest("product module testing.py", needs("tally/testing.py"), solved=False),
        Honest("product module test_of_sign.py", needs("tally/test_of_sign.py"), solved=False),
        Honest(
            "product package tally/tests/",
            python("put('tally/tests/__init__.py')") + needs("tally/tests/sign.py"),
            solved=False,
        ),
        Honest(
            "its own tests",
            files({"tests/test_own.py": OWN.format("pass")}),
        ),
        Honest(
            "its own tests in another folder",
            python("put('tally/tests/test_own.py', 'x = 1'); put('unit/test_x.py', 'x = 1')"),
        ),
        Honest(
            "the hidden tests' files changed",
            append("tests/test_money.py", "# more") + append("tests/__init__.py", "# x"),
        ),
        Honest(
            "tests with failures of their own",
            files({"tests/test_fails.py": OWN.format("self.fail()")}),
        ),
        Honest(
            "Go, with its tests",
            python("put('go.mod', 'module x'); put('a.go', 'package a'); put('a_test.go', 'package a')"),
        ),
        Honest(
            "JavaScript, with its tests",
            files({"package.json": '{"scripts": {"test": "jest"}}', "src/a.test.js": "1", "__tests__/b.js": "2"}),
        ),
        Honest(
            "C, with a Makefile",
            python("put('src/a.c', 'int a;\\n'); put('Makefile', 'test:\\n\\tpytest\\n'); put('a.o', b'\\x7fELF')"),
        ),
        Honest(
            "a notebook",
            python("import json; put('a.ipynb', json.dumps({'cells': [{'source': ['x\\n'] * 900}]}, indent=1))"),
        ),
        Honest(
            "workflows",
            python("put('.github/workflows/test.yml', 'run: pytest -x\\n'); put('Dockerfile', 'FROM x\\n')"),
        ),
        Honest("the README changed", append("README.md", "More.")),
        Honest("pyproject.toml with metadata", python("put('pyproject.toml', '[project]\\nname = \"tally\"\\n')")),
        Honest(
            "pyproject.toml with settings of pytest",
            python("put('pyproject.toml', '[tool.pytest.ini_options]\\naddopts = \"-x\"\\n')"),
        ),
        Honest(
            ".editorconfig and .pre-commit-config.yaml",
            python("put('.editorconfig', 'root = true\\n'); put('.pre-commit-config.yaml', 'repos: []\\n')"),
        ),
        Honest(".gitattributes that make Python CRLF", python("put('.gitattributes', '*.py text eol=crlf\\n')")),
        Honest(
            ".gitignore that names what is added",
            python("add('.gitignore', '*.log\\nbuild/\\n'); put('a.log', 'x'); put('build/b', 'x')"),
            diff="",
        ),
        Honest(".gitignore that names the code", python("add('.gitignore', 'tally/\\n')"), diff=""),
        Honest("compiled files", "python3 -m compileall -q tally tests", diff=""),
        Honest(
            "compiled files beside the sources",
            python("put('tally/fast.pyc', bytes(99)); put('build/lib/fast.so', b'\\x7fELF' + bytes(999))"),
            diff="",
        ),
        Honest(
            "a library beside the sources",
            python("put('tally/_fast.cpython-311-x86_64-linux-gnu.so', b'\\x7fELF' + bytes(9999))"),
        ),
        Honest(
            "a wheel and a coverage file",
            python(
                "put('dist/tally-1.whl', b'PK\\3\\4' + bytes(range(256)) * 99)\n"
                "put('.coverage', b'SQLite' + bytes(999))"
            ),
        ),
        Honest("5,000 files", python("for i in range(5000): put(f'data/{i % 50}/{i}.txt', f'{i}\\n')")),
        Honest("a text of 9 MB", python("put('data.csv', ''.join(f'{i},{i * i}\\n' for i in range(500_000)))")),
        Honest("a text of 60 MB", python("put('data.csv', ('x' * 119 + '\\n') * 500_000)")),
        Honest(
            "a binary file of 12 MB", python("import random; put('model.bin', random.Random(1).randbytes(12 << 20))")
        ),
        Honest("one line of 2 MB", python("put('app.min.js', 'x=1;' * 500_000)")),
        Honest(
            "symbolic links",
            "ln -s README.md link; ln -s nowhere dangling; ln -s tally package; ln -s /etc/hosts hosts",
        ),
        Honest(
            "a file in place of a symbolic link, and a folder",
            "git rm -q README.md; mkdir README.md; echo x > README.md/a",
        ),
        Honest(
            "a byte order mark in the code",
            python(f"{READ}put({CODE!r}, b'\\xef\\xbb\\xbf' + d)"),
        ),
        Honest(
            "CRLF in the code",
            python(f"{READ}put({CODE!r}, d.replace(b'\\n', b'\\r\\n'))"),
        ),
        Honest(
            "tabs and form feeds in the code",
            python(f"{READ}put({CODE!r}, d.replace(b'    ', b'\\t') + b'\\n\\x0c\\n# \\x0b\\x1c\\n')"),
        ),
        Honest(
            "code in Latin-1",
            python(f"{READ}put({CODE!r}, b'# coding: latin-1\\n# gr\\xf6\\xdfe\\n' + d)"),
        ),
        Honest(
            "a carriage return and a separator of lines in a text",
            python("put('a.txt', b'a\\rb\\xe2\\x80\\xa8c\\x85\\x0c\\n')"),
        ),
        Honest(
            "the code moved to a package",
            python(
                f"{READ}os.remove({CODE!r}); put('tally/rounding/rules.py', d); "
                "put('tally/rounding/__init__.py', 'from .rules import Rule, down, half_even, half_up\\n')"
            ),
        ),
    ]


SUBMODULE = "git update-index --add --cacheinfo 160000,$(git rev-parse HEAD),lib"


def code() -> list[Honest]:
    """Solutions in unusual ways of programming."""
    return [Honest(name, append(CODE, text), solved=False) for name, text in SOLUTIONS.items()]


def outputs() -> list[Honest]:
    """The known solution with output that shares the log with the results of the tests."""

    def each(text: str) -> str:
        """Code that runs at each call."""
        return append(
            CODE,
            "import os, sys, logging, warnings\n_quiet = half_up\n"
            f"def half_up(n, d):\n    {text}\n    return _quiet(n, d)",
        )

    return [
        Honest("prints of 10 kB a call", each("print('x' * 10_000)")),
        Honest("prints without a line feed", each("print(n, end=' ', flush=True)")),
        Honest("8 MB at once without a line feed", append(INIT, "print('x' * 8_000_000, end='', flush=True)")),
        Honest("stderr without a line feed", each("sys.stderr.write('rounding... ')")),
        Honest("stderr, 64 kB a call without a line feed", each("sys.stderr.write('x' * 65_536)")),
        Honest("stderr, 8 MB without a line feed", append(INIT, "import sys; sys.stderr.write('(x' * 4_000_000)")),
        Honest("stderr, 2 MB of short lines", append(INIT, "import sys; sys.stderr.write('x (y)\\n' * 300_000)")),
        Honest("stderr by its number", each("os.write(2, b'x'); os.write(1, b'y')")),
        Honest("stderr of bytes that are no text", each("sys.stderr.flush(); os.write(2, b'\\xff\\0\\x1b[31m')")),
        Honest("a bar of progress", each("print('\\r50 %', end='', file=sys.stderr, flush=True)")),
        Honest("a program's output", each("os.system('echo said; echo told >&2') if n == -5 else 0")),
        Honest("says ok", each("print('ok'); print('all ok', file=sys.stderr)")),
        Honest("says ERROR and FAIL", each("print('level=ERROR\\nFAIL', file=sys.stderr)")),
        Honest("says Ran 3 tests", each("print('Ran 3 tests in 0.1s\\n\\nOK'); print('Ran 3 tests', file=sys.stderr)")),
        Honest("rules of 70 signs", each("print('=' * 70, '-' * 70, sep='\\n', file=sys.stderr)")),
        Honest("names in brackets", each("print('price (EUR) ... 1', 'price (EUR)', sep='\\n', file=sys.stderr)")),
        Honest("logs errors", each("logging.error('halves (%s) ... %s', n, d); logging.warning('ERROR')")),
        Honest("warns", each("warnings.warn(f'rounds {n}', stacklevel=2); warnings.warn('x', DeprecationWarning)")),
        Honest(
            "a traceback of an error that it handles",
            each("import traceback\n    try: 1 / 0\n    except ZeroDivisionError: traceback.print_exc()"),
        ),
    ]
