"""Fault localization of the monkey: weights files and functions by how often issue, search and tracebacks name them.

Nothing is understood here; words are compared. A word that looks like code weighs more than prose, a function's name
more than its contents, a line that a traceback names more than either. A function that a suspected one calls is
suspected a little too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import PurePosixPath

from agent.models.monkey.memory import Memory, Page
from agent.models.monkey.mutations import Vocabulary
from agent.models.monkey.source import ModuleSource, Unit, read

__all__ = ["is_test", "places_in", "suspected_files", "suspected_units", "vocabulary", "wanted_names"]

_CODE = re.compile(r"`+([^`\n]+)`+|\b(\w+)\(|\.(\w+)\b|\b(\w*[a-z0-9]_\w+)|\b([A-Z]\w*[a-z][A-Z]\w*)")
_WORD = re.compile(r"[A-Za-z_]\w+")
_PART = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_ENDING = re.compile(r"(?:ations?|ating|ated|ates?|ions?|ings?|ed|ers?|es|s|e)$")
_FRAME = re.compile(r'File "([^"\n]+\.py)", line (\d+)|^([\w./-]+\.py):(\d+)(?=:)', re.MULTILINE)
_IMPORT = re.compile(r"^[ ]*(?:from ([\w.]+) import|import ([\w.]+))", re.MULTILINE)
_PATH = re.compile(r"(?<![\w./-])[\w.-]+(?:/[\w.-]+)*\.py\b")
_QUOTED = re.compile(r"`([^`\n]{1,20})`|\"([^\"\n]{0,20})\"|(?<!\w)'([^'\n]{0,20})'")
_NUMBER = re.compile(r"(?<![\w.])\d{1,6}(?:\.\d+)?(?![\w.]*\w)")
_FAILURES = re.compile(r"^={20,}$|^=+ (?:FAILURES|ERRORS) =+$", re.MULTILINE)
_PROSE = """
the and for that this with from not are was but has have should when then than which would only one all can its
out you what does into will there they expected actual traceback file line most recent call last error test tests
assert equal true false none self python import issue following example print return value
"""
_DULL = frozenset({"__init__", "__main__", "setup", "conf", "errors", "exceptions"})
_COMMON = frozenset(_PROSE.split())


# Words


@lru_cache(maxsize=128)
def weights(text: str) -> Mapping[str, float]:
    """The words of a text, as written and by their stems, and what each weighs."""
    found: dict[str, float] = {}
    for word in _WORD.findall(text):
        for form in (word, *stems(word)):
            found.setdefault(form, 1.0)
    for word in code_words(text):
        found[word] = 4.0
        for stem in stems(word):
            found[stem] = 2.0
    return {form: weight for form, weight in found.items() if form not in _COMMON}


@lru_cache(maxsize=4096)
def stems(name: str) -> tuple[str, ...]:
    """The parts of an identifier or a word, without case and without the commonest endings."""
    parts = (part.lower() for part in _PART.findall(name) if len(part) > 2)
    return tuple(_ENDING.sub("", part) if len(part) > 5 else part.rstrip("s") for part in parts if part not in _COMMON)


def code_words(text: str) -> list[str]:
    """Words of a text that look like code: in backticks, called, after a dot, with an underscore or a hump inside."""
    groups = (group for found in _CODE.findall(text) for group in found)
    words = (word for group in groups for word in _WORD.findall(group))
    return [word for word in dict.fromkeys(words) if len(word) > 2 and word.lower() not in _COMMON]


def wanted_names(issue: str, most: int = 40) -> list[str]:
    """Names worth a search for their definitions: code words first, then the longer ones of the others."""
    others = [word for word in _WORD.findall(issue) if len(word) > 4 and word.lower() not in _COMMON]
    others.sort(key=len, reverse=True)
    return list(dict.fromkeys([*code_words(issue), *others]))[:most]


@lru_cache(maxsize=128)
def vocabulary(issue: str) -> Vocabulary:
    """The words of the issue that a mutation may insert."""
    return Vocabulary(
        numbers=tuple(dict.fromkeys(_NUMBER.findall(issue)))[:40],
        strings=tuple(dict.fromkeys(a or b or c for a, b, c in _QUOTED.findall(issue)))[:40],
        methods=tuple(dict.fromkeys(re.findall(r"\.([a-z_]+)\(", issue)))[:40],
        exceptions=tuple(dict.fromkeys(re.findall(r"\b[A-Z]\w*(?:Error|Exception)\b", issue)))[:10],
    )


def _complaint(memory: Memory) -> tuple[str, ...]:
    """The texts that describe the fault: the issue, and how tests failed before anything was changed."""
    baseline = memory.baseline
    start = _FAILURES.search(baseline.output) if baseline and baseline.failing else None
    return (memory.issue, baseline.output[start.end() :]) if baseline and start else (memory.issue,)


def _weight(names: Sequence[str], texts: Sequence[str]) -> float:
    """The weight of these names in the texts: each name as a whole, and the share of its parts."""
    total = 0.0
    for text in texts:
        known = weights(text)
        for name in names:
            parts = stems(name)
            total += known.get(name, 0.0) if len(name) > 2 else 0.0
            total += sum(known.get(part, 0.0) for part in parts) / len(parts) if parts else 0.0
    return total


# Files


def is_test(path: str) -> bool:
    """True for files that must not be changed: tests and their support files."""
    parts = PurePosixPath(path).parts
    support = any(part in ("test", "tests", "testing", "conftest.py") or part.startswith("test_") for part in parts)
    return support or path.endswith(("_test.py", "_tests.py"))


def suspected_files(memory: Memory) -> dict[str, float]:
    """Source files by weight; also files that no listing showed, where the issue or a search names them."""
    texts = _complaint(memory)
    written = [path.removeprefix("./") for text in texts for path in _PATH.findall(text)]
    named = [path for path in written if "/" in path and ".." not in path]
    defined = _defined(memory, texts)
    found: dict[str, float] = {}
    for path in dict.fromkeys([*memory.files, *defined, *named]):
        if not is_test(path):
            frames = sum(_same(path, other) for text in texts for other, _ in _frames(text))
            pointed = 3.0 * min(frames, 3) + 6.0 * (path in named)
            found[path] = _prior(path, texts) + defined.get(path, 0.0) + pointed
    for page in memory.pages:
        for path in _imported(page.text, found):
            found[path] += 0.3 * found.get(page.path, 0.0)
    # Texts name the place where the fault shows, which is often not where it is.
    return {path: _seldom(path) * weight**0.5 for path, weight in found.items()}


def _defined(memory: Memory, texts: Sequence[str]) -> dict[str, float]:
    """The files where the search found definitions, by the one that the texts speak of most."""
    best: dict[str, float] = {}
    for definition in memory.definitions:
        dull = definition.name.endswith(("Error", "Exception"))  # named in every issue, seldom at fault
        weight = 0.0 if dull else _weight([definition.name], texts)
        best[definition.path] = max(best.get(definition.path, 0.0), weight)
    return best


def _imported(text: str, paths: Iterable[str]) -> list[str]:
    """Those of the paths that a file with this text seems to import."""
    names = (name.strip(".") for pair in _IMPORT.findall(text) for name in pair)
    endings = tuple({f"/{name.replace('.', '/')}.py" for name in names if name})
    return [path for path in paths if f"/{path}".endswith(endings)]


def _prior(path: str, texts: Sequence[str]) -> float:
    *folders, name = PurePosixPath(path).with_suffix("").parts
    return 0.4 + 1.5 * _weight([name], texts) + 0.3 * _weight(folders[1:], texts)


def _seldom(path: str) -> float:
    """The factor for files that seldom hold a fault."""
    return 0.2 if PurePosixPath(path).stem in _DULL or "docs" in PurePosixPath(path).parts else 1.0


def places_in(path: str, memory: Memory) -> list[int]:
    """Lines of a file that the search or a traceback names."""
    lines = [definition.line for definition in memory.definitions if definition.path == path]
    return lines + [line for text in _complaint(memory) for other, line in _frames(text) if _same(path, other)]


@lru_cache(maxsize=128)
def _frames(text: str) -> tuple[tuple[str, int], ...]:
    """Path and line of each traceback frame, or pytest location, in a text."""
    return tuple((path or other, int(line or number)) for path, line, other, number in _FRAME.findall(text))


def _same(path: str, seen: str) -> bool:
    """True if a path in the repository is what a traceback, on whatever machine, calls `seen`."""
    return seen == path or seen.endswith("/" + path)


# Functions


def suspected_units(memory: Memory) -> dict[tuple[Page, ModuleSource, Unit], float]:
    """The units on the pages seen, by weight."""
    texts = _complaint(memory)
    found: dict[tuple[Page, ModuleSource, Unit], float] = {}
    for page in memory.pages:
        source = None if is_test(page.path) else read(page.text)
        for unit in source.units if source else ():
            assert source is not None
            found[page, source, unit] = _unit_weight(page, source, unit, texts)
    return _with_callees(found)


def _unit_weight(page: Page, source: ModuleSource, unit: Unit, texts: Sequence[str]) -> float:
    name = unit.name.split(".")
    size = min(1.0, 0.2 + len(unit.sites) / 40)
    if not unit.name:
        return 0.5 * size
    about = 2.0 * _weight(name[-1:], texts) + 0.5 * _weight(name[:-1], texts) + _inside(unit, texts)
    first, last = (line + source.skipped + page.first - 1 for line in (unit.first, unit.last))
    lines = [line for text in texts for path, line in _frames(text) if _same(page.path, path)]
    return size * (0.3 + about + 6.0 * any(first <= line <= last for line in lines))


def _inside(unit: Unit, texts: Sequence[str]) -> float:
    """The weight of the unit's words in the texts, divided by their number: long units hold every word."""
    words = _stems_in(unit.identifiers)
    return sum(weights(text).get(word, 0.0) for text in texts for word in words) / (4 + len(words))


@lru_cache(maxsize=4096)
def _stems_in(names: tuple[str, ...]) -> frozenset[str]:
    return frozenset(stem for name in names for stem in stems(name))


def _with_callees(
    found: Mapping[tuple[Page, ModuleSource, Unit], float],
) -> dict[tuple[Page, ModuleSource, Unit], float]:
    """Pass half of each weight on to the functions called there, twice."""
    weights = dict(found)
    for _ in range(2):
        passed: dict[str, float] = {}
        for (_, _, unit), weight in weights.items():
            for called in unit.calls:
                passed[called] = max(passed.get(called, 0.0), 0.5 * weight)
        weights = {key: max(weight, passed.get(key[2].name.rpartition(".")[2], 0.0)) for key, weight in found.items()}
    return weights
