"""The journal of a calibration: each run of a task's tests as one line of a file, written as it ends."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from monkeys.formats.calibration import CalibrationError

__all__ = ["Journal", "Repetition"]


@dataclass(frozen=True, slots=True)
class Repetition:
    """One run of a task's tests on its known solution ("gold") or on the empty patch ("empty").

    `key` stands for everything that decides its result.
    """

    key: str
    task: str
    patch: str
    resolved: bool
    reason: str
    seconds: float
    tests: Mapping[str, str]


class Journal:
    """Repetitions in a file with one writer. Raises `CalibrationError`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: IO[bytes] = path.open("a+b", buffering=0)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise CalibrationError(f"{path} is being written by another process; wait, or give another --out") from None
        except OSError as error:
            raise CalibrationError(f"{path} cannot be written ({error.strerror}); give another --out") from None
        self.rows = list(self._read())

    def _read(self) -> Iterator[Repetition]:
        self._file.seek(0)
        whole = self._file.read()
        if whole and not whole.endswith(b"\n"):  # its writer was killed in the middle of a line
            self._file.truncate(whole.rfind(b"\n") + 1)
        for line in whole.split(b"\n")[:-1]:
            try:
                yield Repetition(**json.loads(line))
            except (ValueError, TypeError):
                raise CalibrationError(f"{self.path} is no journal of a calibration; give another --out") from None

    def add(self, row: Repetition) -> None:
        """Write a line. Raises `CalibrationError`; then what the file holds is kept."""
        try:
            self._file.write(json.dumps(asdict(row)).encode() + b"\n")
        except OSError as error:
            raise CalibrationError(
                f"{self.path} cannot be written ({error.strerror}); what it holds is kept: free some space and go on"
            ) from None
        self.rows.append(row)

    def close(self) -> None:
        self._file.close()
