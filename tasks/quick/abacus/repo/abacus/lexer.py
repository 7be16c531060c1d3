"""From text to tokens."""

from __future__ import annotations

from dataclasses import dataclass

from abacus.errors import FormulaError

SYMBOLS = ("**", "//", "+", "-", "*", "/", "%", "(", ")", ",")


@dataclass(frozen=True)
class Token:
    kind: str  # "number", "name", "end", or the symbol itself
    text: str
    column: int


def tokens(text: str) -> list[Token]:
    """All tokens of a formula, with one of kind "end" behind them."""
    found = []
    place = 0
    while place < len(text):
        char = text[place]
        if char.isspace():
            place += 1
            continue
        if char.isdigit() or char == ".":
            kind, end = "number", number_end(text, place)
        elif char.isalpha() or char == "_":
            kind, end = "name", name_end(text, place)
        else:
            kind = next((s for s in SYMBOLS if text.startswith(s, place)), "")
            end = place + len(kind)
            if not kind:
                raise FormulaError(place + 1, f"unexpected {char!r}")
        found.append(Token(kind, text[place:end], place + 1))
        place = end
    found.append(Token("end", "", place + 1))
    return found


def name_end(text: str, place: int) -> int:
    while place < len(text) and (text[place].isalnum() or text[place] == "_"):
        place += 1
    return place


def number_end(text: str, place: int) -> int:
    """Where the number that begins here ends: digits, a point, an exponent."""
    place = digits_end(text, place)
    if text[place : place + 1] == ".":
        place = digits_end(text, place + 1)
    if text[place : place + 1] in ("e", "E"):
        exponent = place + 1
        if text[exponent : exponent + 1].isdigit():
            place = digits_end(text, exponent)
    return place


def digits_end(text: str, place: int) -> int:
    while place < len(text) and text[place].isdigit():
        place += 1
    return place
