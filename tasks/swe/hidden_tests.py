"""The names and files of the tests that must come to pass, as they appear in commands and in what runners print."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tasks.swe.patches import touched_files
from tasks.swe.task import SweTask

__all__ = ["HiddenTests", "hidden_tests"]

PYTHON = re.compile(r"[\w./-]+\.py(?=::)")
DJANGO = re.compile(r"(\w+) \(([\w.]+)\)")
DOTTED = re.compile(r"\w+(?:\.\w+)+")


@dataclass(frozen=True, slots=True)
class HiddenTests:
    """The FAIL_TO_PASS tests: their names without classes and parameters, their files, and their modules."""

    names: frozenset[str]
    files: frozenset[str]
    modules: frozenset[str]

    def named_in(self, text: str) -> bool:
        """Whether the text holds the name of one of the tests as a word."""
        return any(_holds(text, name, r"\w", r"\w|\.py\b") for name in self.names)

    def file_in(self, text: str) -> bool:
        """Whether the text holds the path of one of their files, or one of their modules."""
        return any(_holds(text, file, r"\w-", r"\w") for file in self.files) or any(
            _holds(text, module, r"\w.", r"\w") for module in self.modules
        )


def hidden_tests(task: SweTask) -> HiddenTests:
    """The tests that must come to pass. Ids may be pytest's, unittest's, Django's, or bare names.

    Their files are those that the ids name, else all Python files of the test patch.
    """
    named = {found[0] for test in task.fail_to_pass if (found := PYTHON.match(test))}
    files = named or {file for file in touched_files(task.test_patch) if file.endswith(".py")}
    modules = {file.removesuffix(".py").replace("/", ".") for file in files if "/" in file}
    modules |= {_module(test) for test in task.fail_to_pass}
    return HiddenTests(
        names=frozenset(filter(None, map(_name, task.fail_to_pass))),
        files=frozenset(files),
        modules=frozenset(filter(None, modules)),
    )


def _name(test: str) -> str:
    if found := DJANGO.match(test):
        return found[1]
    last = test.rpartition("::")[2].partition("[")[0].strip()
    return last.rpartition(".")[2] if DOTTED.fullmatch(last) else last


def _module(test: str) -> str:
    """The module that an id with dots names: what stands before the class. Empty if it names none."""
    found = DJANGO.match(test)
    dotted = found[2] if found else test
    if not DOTTED.fullmatch(dotted):
        return ""
    parts = dotted.split(".")
    of_class = next((at for at, part in enumerate(parts) if part[0].isupper()), 0)
    return ".".join(parts[:of_class]) if of_class > 1 else ""  # one word is no sign of a module


def _holds(text: str, words: str, before: str, after: str) -> bool:
    return words in text and re.search(f"(?<![{before}]){re.escape(words)}(?!{after})", text) is not None
