"""Where a table comes from: a file, a compressed file, or standard input."""

from __future__ import annotations

import codecs
import gzip
import io
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, TextIO

from monkeys.formats.counts.cells import CountsError
from tasks.row_files import LFS

__all__ = ["STANDARD_INPUT", "Source"]

STANDARD_INPUT = "-"
UTF8 = "utf-8-sig"


@dataclass(frozen=True)
class Source:
    """Bytes in the form of a suffix, with the name of their place for messages and that of the set they hold."""

    place: str
    name: str
    suffix: str
    path: Path | None = None
    data: bytes = field(default=b"", repr=False)

    @classmethod
    def of(cls, path: Path) -> Source:
        """A file; one that ends in .gz is read as what it holds."""
        inner = path.with_suffix("") if path.suffix.lower() == ".gz" else path
        return cls(str(path), inner.stem, inner.suffix.lower(), path)

    @classmethod
    def standard_input(cls) -> Source:
        """What is piped in, in the form that its first characters show.

        Raises:
            CountsError: standard input is a terminal.
        """
        if sys.stdin is None or sys.stdin.isatty():
            raise CountsError("- reads a table from standard input, and nothing is piped in; give a file, or pipe one")
        data = sys.stdin.buffer.read() if hasattr(sys.stdin, "buffer") else sys.stdin.read().encode()
        if data[:2] == b"\x1f\x8b":
            data = _unpacked("standard input", io.BytesIO(data))
        if _encoding(data) != UTF8:
            with suppress(UnicodeDecodeError):  # who reads it says what it is not
                data = data.decode(_encoding(data)).encode()
        return cls("standard input", "stdin", _form(data), None, data)

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """The bytes. Raises `CountsError` where they cannot be unpacked."""
        if self.path is None:
            yield io.BytesIO(self.data)
        elif self.path.suffix.lower() == ".gz":
            with self.path.open("rb") as file:
                yield io.BytesIO(_unpacked(self.place, file))
        else:
            with self.path.open("rb") as file:
                if file.read(len(LFS)) == LFS:
                    raise CountsError(
                        f"{self.place} is a pointer of Git LFS, and no table; `git lfs pull` fetches that"
                    )
                file.seek(0)
                yield file

    @contextmanager
    def lines(self) -> Iterator[TextIO]:
        """The text with its line ends as they are; a byte order mark is left out."""
        with self.opened() as file:
            start = file.read(2)
            file.seek(0)
            text = io.TextIOWrapper(file, _encoding(start), newline="")
            yield text
            text.detach()

    def text(self) -> str:
        """All of the text."""
        with self.opened() as file:
            data = file.read()
        return data.decode(_encoding(data))


def _encoding(data: bytes) -> str:
    """UTF-16 where a byte order mark says so, as spreadsheets write it; else UTF-8, with a mark or without."""
    return "utf-16" if data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else UTF8


def _unpacked(place: str, file: BinaryIO) -> bytes:
    try:
        return gzip.GzipFile(fileobj=file).read()
    except (EOFError, OSError, zlib.error) as error:
        raise CountsError(f"{place} is no whole gzip file ({error}); make it again") from None


def _form(data: bytes) -> str:
    """The suffix that a file with these bytes would have."""
    if data[:4] == b"PAR1":
        return ".parquet"
    start = data.removeprefix(b"\xef\xbb\xbf").lstrip()
    if start[:1] == b"[":
        return ".json"
    if start[:1] != b"{":
        return ".csv"
    # An object that ends on its line is the first of several.
    first, _, rest = start.partition(b"\n")
    return ".jsonl" if first.rstrip().endswith(b"}") and rest.strip() else ".json"
