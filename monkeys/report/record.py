"""Plain data that is shown: `Record`, the base of every view, and its form in JSON.

Guarantees: numbers keep their full precision; NaN and infinity become null; bytes become text where they are UTF-8 and
`{"base64": ...}` where they are not; what `json_text` returns is strict JSON.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from math import isfinite
from pathlib import Path
from typing import Any

__all__ = ["Record", "as_json", "finite", "json_text"]


class Record:
    """The base of frozen dataclasses that can be shown, pickled and written as JSON."""

    __slots__ = ()

    def to_json(self) -> dict[str, Any]:
        """The record as a JSON object. Its keys are the names of the fields unless the class says otherwise."""
        return _fields(self)


def as_json(value: Any) -> Any:
    """A value, with all that it holds, as `json.dumps` takes it."""
    if isinstance(value, Record):
        return value.to_json()
    if isinstance(value, Mapping):
        return {str(key): as_json(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(one) for one in value]
    if isinstance(value, float):
        return finite(value)
    if isinstance(value, bytes):
        return _bytes(value)
    if isinstance(value, Path):
        return str(value)
    return _fields(value) if is_dataclass(value) else value


def json_text(value: Any) -> str:
    """A value as indented JSON."""
    return json.dumps(as_json(value), indent=2, allow_nan=False)


def finite(number: float) -> float | None:
    """The number; None for NaN and infinity."""
    return number if isfinite(number) else None


def _fields(record: Any) -> dict[str, Any]:
    # What does not compare is no part of the record, such as a remark.
    return {field.name: as_json(getattr(record, field.name)) for field in fields(record) if field.compare}


def _bytes(data: bytes) -> str | dict[str, str]:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"base64": b64encode(data).decode()}
