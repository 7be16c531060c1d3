"""The normal form of a patch: equal for patches that change the same, comments and white space aside.

`normalised` reduces a unified diff to its changes, so that patches with equal results are of one class:

- A changed line counts with its place in the *old* file: the same words elsewhere are another change. Context lines,
  hunk headers and the order of files do not count.
- Comments, blank lines and white space are left out: by the rules of `#` for Python, shell and similar languages, by
  `//` and `/* */` for the C family. Strings are kept as they are. Python and YAML keep their indentation, for it has
  a meaning.
- A change of comments or white space alone is no change; a patch of nothing else is the empty patch, "".

When it is wrong: it sees a fragment and not the file, so that a hunk that begins inside a docstring or a block comment
keeps the comments in it. Renamed variables, swapped statements and reworded docstrings make two classes of one. It errs
on the side of keeping patches apart. (Agentless, arXiv 2407.01489, compares syntax trees of
the patched files, which needs the repository.)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

__all__ = ["normalised"]

HASH = frozenset({"py", "pyi", "pyx", "sh", "bash", "rb", "pl", "r", "jl", "toml", "cfg", "yml", "yaml", "mk", "cmake"})
SLASH = frozenset(
    {"c", "h", "cc", "cpp", "hpp", "cs", "java", "js", "jsx", "ts", "tsx", "go", "rs", "kt", "swift", "scala", "php"}
)
INDENTED = frozenset({"py", "pyi", "pyx", "yml", "yaml"})

STRING = (
    r"""(?P<string>\"{3}(?:\\.|(?!\"{3}).)*\"{3}|'{3}(?:\\.|(?!'{3}).)*'{3}|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')"""
)
OTHER = r"|(?P<line>\n)|(?P<space>[^\S\n]+)|(?P<rest>\w+|.)"
# The search for the end of a block comment is limited: text that opens many and closes none must not take for ever.
LEXERS = {
    "#": re.compile(STRING + r"|(?P<comment>\#[^\n]*)" + OTHER, re.DOTALL),
    "/": re.compile(STRING + r"|(?P<comment>//[^\n]*|/\*.{0,2000}?\*/)" + OTHER, re.DOTALL),
    "": re.compile(r"(?P<string>(?!))|(?P<comment>(?!))" + OTHER, re.DOTALL),
}
HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+\d+(?:,\d+)? @@")
TELLING = ("rename ", "copy ", "new file", "deleted file", "old mode", "new mode", "GIT binary", "Binary files")


def normalised(patch: str | bytes) -> str:
    """The patch reduced to its changes; equal for patches of one class, "" for one that changes nothing."""
    text = patch.decode("utf-8", "surrogateescape") if isinstance(patch, bytes) else patch
    return "\n".join(sorted(filter(None, map(_file, _files(text)))))


def _files(text: str) -> Iterator[list[str]]:
    """The lines of each file's part, with or without git's own headers."""
    lines = text.replace("\r\n", "\n").split("\n")
    part: list[str] = []
    left = [0, 0]  # lines of the hunk still to come, old and new: inside of one, "--- x" is a removed line
    for number, line in enumerate(lines):
        if left[0] <= 0 and left[1] <= 0:
            bare = line.startswith("--- ") and number + 1 < len(lines) and lines[number + 1].startswith("+++ ")
            if line.startswith("diff --git ") or (bare and any(HUNK.match(one) for one in part)):
                yield part
                part = []
            if found := re.match(r"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@", line):
                left = [int(found[1] or 1), int(found[2] or 1)]
        elif not line.startswith("\\"):
            left[0] -= not line.startswith("+")
            left[1] -= not line.startswith("-")
        part.append(line)
    yield part


def _file(lines: Sequence[str]) -> str:
    head = []
    for line in lines:
        if HUNK.match(line):
            break
        head.append(line)
    path = _path(head)
    changes = [line for line in head if line.startswith(TELLING)]
    if any(line.startswith("GIT binary") for line in head):
        changes = head[1:]
    for start, hunk in _hunks(lines[len(head) :]):
        changes += _changes(start, hunk, path.rpartition(".")[2].lower())
    return "\n".join([path, *changes]) if changes else ""


def _path(head: Sequence[str]) -> str:
    """The path after the change, or before it where the file is deleted."""
    named = {line[:4]: line[4:].split("\t")[0].strip('"') for line in head if line.startswith(("--- ", "+++ "))}
    for side in ("+++ ", "--- "):
        if named.get(side, "/dev/null") != "/dev/null":
            return re.sub(r"^[ab]/", "", named[side])
    return head[0].partition(" b/")[2] if head else ""


def _hunks(lines: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    start, hunk = 0, list[str]()
    old = 0
    for line in lines:
        if old <= 0 and (found := HUNK.match(line)):
            if hunk:
                yield start, hunk
            # Without old lines the place is the line before the insertion.
            old = int(found[2] or 1)
            start, hunk = int(found[1]) + (found[2] == "0"), []
        elif line[:1] in (" ", "+", "-"):
            hunk.append(line)
            old -= line[0] != "+"
        elif not line and old > 0:  # some programs strip the blank of an empty context line
            hunk.append(" ")
            old -= 1
    if hunk:
        yield start, hunk


def _changes(start: int, hunk: Sequence[str], suffix: str) -> list[str]:
    before = iter(_plain([line[1:] for line in hunk if line[0] != "+"], suffix))
    after = iter(_plain([line[1:] for line in hunk if line[0] != "-"], suffix))
    found: list[str] = []
    removed: list[tuple[int, str]] = []
    added: list[str] = []
    old, last = start, start - 1  # this line of the old file, and its last line that is neither blank nor a comment

    def close(at: int) -> None:
        if [line for _, line in removed] != added:
            found.extend(f"-{number} {line}" for number, line in removed)
            found.extend(f"+{at} {line}" for line in added)
        removed.clear()
        added.clear()

    anchor = last
    for line in hunk:
        if line[0] == "+":
            if text := next(after):
                added.append(text)
            continue
        text = next(before)
        if line[0] == "-":
            if text:
                removed.append((old, text))
        else:
            next(after)
            if text:  # a blank line or a comment between two changes does not part them
                close(anchor)
                last = old
                anchor = last
        old += 1
    close(anchor)
    return found


def _plain(lines: Sequence[str], suffix: str) -> list[str]:
    """Each line without comments and needless white space; "" where nothing is left."""
    lexer = LEXERS["#" if suffix in HASH else "/" if suffix in SLASH else ""]
    plain, line = list[str](), ""
    gap = False
    for found in lexer.finditer("\n".join(lines)):
        kind, text = found.lastgroup, found[0]
        if kind == "line":
            plain.append(line)
            line, gap = "", False
        elif kind == "space":
            at_start = found.start() == 0 or found.string[found.start() - 1] == "\n"
            line, gap = (text.expandtabs(8) if at_start and suffix in INDENTED else line), not at_start
        elif kind == "comment":
            plain += [line, *[""] * (text.count("\n") - 1)] if "\n" in text else []
            line, gap = ("" if "\n" in text else line), True
        else:
            word = line[-1:].isalnum() or line[-1:] == "_"
            line += " " * (gap and word and (text[0].isalnum() or text[0] == "_")) + text
            gap = False
            if "\n" in line:  # a string over several lines
                *whole, line = line.split("\n")
                plain += whole
    plain.append(line)
    return [line if line.strip() else "" for line in plain]
