"""From text to values."""

from __future__ import annotations

_WORDS = {
    "yes": True,
    "on": True,
    "true": True,
    "1": True,
    "no": False,
    "off": False,
    "false": False,
    "0": False,
}


def to_bool(text: str) -> bool:
    try:
        return _WORDS[text.lower()]
    except KeyError:
        raise ValueError(f"not a switch: {text!r}") from None


def to_list(text: str) -> list[str]:
    """Split at commas; empty places are dropped."""
    return [part.strip() for part in text.split(",") if part.strip()]


def to_seconds(text: str) -> int:
    """Read `90`, `90s`, `15m` or `2h`."""
    scale = {"s": 1, "m": 60, "h": 3600}.get(text[-1:])
    digits = text if scale is None else text[:-1]
    if not digits.isdigit():
        raise ValueError(f"not a duration: {text!r}")
    return int(digits) * (scale or 1)
