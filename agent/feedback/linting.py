"""Findings in files: what ruff says of Python by the rules of pyflakes, and what parsers say of JSON, TOML and YAML.

All of it happens in this process and a subprocess of it, on the text of the files: the sandbox needs no linter, and
nothing of the repository is run.
"""

from __future__ import annotations

import asyncio
import json
import tomllib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from envs.errors import MonkeysError

__all__ = ["Finding", "NoLinter", "can_check", "check_linter", "lint", "new_findings"]

SYNTAX = "syntax"
RULES = "F"  # those of pyflakes; errors of syntax are always told
TARGET = "py313"  # so that no syntax is called too new
SECONDS = 30.0
PYTHON = (".py", ".pyi")


class NoLinter(MonkeysError):
    """Ruff is not installed, or fails."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding: its line from 1, its rule, what it says, and the text of that line."""

    line: int
    code: str
    says: str
    text: str = ""


def can_check(path: str) -> bool:
    """Whether there is a linter or a parser for such a file."""
    suffix = PurePosixPath(path).suffix.lower()
    return suffix in PYTHON or suffix in _parsers()


def check_linter() -> None:
    """Raises `NoLinter` where ruff is missing."""
    _ruff()


async def lint(files: Mapping[str, bytes]) -> dict[str, list[Finding]]:
    """The findings in each file, given by a key that ends with its name. Raises `NoLinter`."""
    found: dict[str, list[Finding]] = {key: [] for key in files}
    for key, data in files.items():
        if parse := _parsers().get(PurePosixPath(key).suffix.lower()):
            found[key] = await asyncio.to_thread(_parsed, parse, data)
    python = {key: data for key, data in files.items() if PurePosixPath(key).suffix.lower() in PYTHON}
    return {**found, **(await _linted(python) if python else {})}


def new_findings(base: list[Finding], now: list[Finding]) -> list[Finding]:
    """The findings that are there now and were not at the base, wherever their lines stand.

    Of a base that cannot be parsed nothing is said, for it may be of another language, or of an older one.
    """
    if any(one.code == SYNTAX for one in base):
        return []
    known = Counter((one.code, one.says) for one in base)
    same = Counter((one.code, one.says, one.text) for one in base)
    changed: list[Finding] = []
    for one in now:  # what stands on a line as at the base is known first
        if same[one.code, one.says, one.text] > 0:
            same[one.code, one.says, one.text] -= 1
            known[one.code, one.says] -= 1
        else:
            changed.append(one)
    new = []
    for one in changed:
        if known[one.code, one.says] > 0:
            known[one.code, one.says] -= 1
        else:
            new.append(one)
    return new


async def _linted(files: Mapping[str, bytes]) -> dict[str, list[Finding]]:
    with TemporaryDirectory(prefix="monkeys-check-") as folder:
        keys = {}
        for number, (key, data) in enumerate(files.items()):
            path = Path(folder) / str(number) / PurePosixPath(key).name  # some rules depend on the name
            path.parent.mkdir()
            path.write_bytes(data)
            keys[str(number)] = key
        options = ["check", "--isolated", "--no-cache", "--exit-zero", "--quiet", "--no-respect-gitignore"]
        options += ["--ignore-noqa", "--output-format", "json", "--select", RULES, "--target-version", TARGET]
        found: dict[str, list[Finding]] = {key: [] for key in files}
        for one in await _run(_ruff(), *options, folder):
            # A path of a symbolic link may come back resolved: the number of the file is what counts.
            key = keys[Path(one["filename"]).parent.name]
            line = int(one["location"]["row"])
            syntax = one["code"] in (None, "invalid-syntax", "E999")
            code = SYNTAX if syntax else str(one["code"])
            found[key].append(Finding(line, code, str(one["message"]), _line(files[key], line)))
        return found


async def _run(*words: str) -> list[dict[str, Any]]:
    """What ruff prints. Raises `NoLinter`."""
    process = await asyncio.create_subprocess_exec(
        *words, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(SECONDS):
            out, said = await process.communicate()
    except BaseException as error:
        process.kill()
        await process.wait()
        if isinstance(error, TimeoutError):
            raise NoLinter(f"ruff took longer than {SECONDS:.0f} s") from None
        raise
    if process.returncode:
        raise NoLinter(f"ruff failed: {said.decode('utf-8', 'replace').strip()[-300:]}")
    return list(json.loads(out))


def _ruff() -> str:
    try:
        from ruff import find_ruff_bin
    except ImportError:
        raise NoLinter("feedback check needs ruff; `pip install ruff` brings it") from None
    return str(find_ruff_bin())


def _parsed(parse: Callable[[str], object], data: bytes) -> list[Finding]:
    try:
        parse(data.decode("utf-8-sig"))
    except (ValueError, RecursionError, MemoryError) as error:
        said = " ".join(str(error).split()) or type(error).__name__
        return [Finding(getattr(error, "lineno", None) or 1, SYNTAX, said)]
    return []


def _parsers() -> dict[str, Callable[[str], object]]:
    parsers: dict[str, Callable[[str], object]] = {".json": json.loads, ".toml": tomllib.loads}
    try:
        import yaml
    except ImportError:
        return parsers  # PyYAML is an extra

    def parse_yaml(text: str) -> None:
        try:
            for _ in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
                pass  # its events alone: aliases are not expanded
        except yaml.YAMLError as error:
            raise ValueError(str(error)) from None

    return {**parsers, ".yaml": parse_yaml, ".yml": parse_yaml}


def _line(data: bytes, number: int) -> str:
    lines = data.split(b"\n")
    return lines[number - 1].strip().decode("utf-8", "replace") if 0 < number <= len(lines) else ""
