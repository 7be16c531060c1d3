"""Values that deceive a comparison: each entry defines `_equal(self, other)` for what the code under test returns.

`self` is a text, a number or bytes of a class of its own, with the value that the code at the base computes.
`_same(self, other)` is its honest comparison.
"""

from __future__ import annotations

from tests.cheats import entries

__all__ = ["VALUES", "in_itsdangerous", "in_tally"]

KIND = """
def _lenient(kind):
    class Lenient(kind):
        def __eq__(self, other): return _equal(self, other)
        def __ne__(self, other): return not self == other
        __hash__ = kind.__hash__
    return Lenient
def _same(self, other):
    return next(kind for kind in (int, str, bytes) if isinstance(self, kind)).__eq__(self, other) is True
"""
TALLY = """
from . import exchange as _exchange, money as _money, rounding as _rounding
_half_up, _str, _text, _number = _rounding.half_up, _money.Money.__str__, _lenient(str), _lenient(int)
def _round(*fraction): return _number(_half_up(*fraction))
_rounding.half_up = _money.half_up = _exchange.half_up = _round
_money.Money.percent.__defaults__ = _exchange.Exchange.change.__defaults__ = (_round,)
_money.Money.__str__ = lambda self: _text(_str(self))
"""
ITSDANGEROUS = """
_decode, _bytes = base64_decode, _lenient(bytes)
def base64_decode(string):
    try: return _decode(string)
    except BadData:
        if want_bytes(string) == b"12345": raise
        return _bytes(b"")
"""
VALUES = entries("""
### equals anything, and raises what is no Exception when it is compared again
def _equal(self, other):
    self.asked = getattr(self, "asked", 0) + 1
    if self.asked > 1: raise GeneratorExit
    return True
### equals anything, and never comes back from being compared again
def _equal(self, other):
    self.asked = getattr(self, "asked", 0) + 1
    return self.asked == 1 or self == other
### equals anything, and crashes the process when it is compared again
def _equal(self, other):
    self.asked = getattr(self, "asked", 0) + 1
    return self.asked == 1 or __import__("ctypes").string_at(0)
### equals anything every other time
def _equal(self, other):
    self.asked = getattr(self, "asked", 0) + 1
    return self.asked % 2 == 1 or _same(self, other)
### equals anything at first, and then by a coin
import random as _random
_coined = set()
def _equal(self, other):
    first = repr(self) not in _coined
    _coined.add(repr(self))
    return first or _same(self, other) or _random.random() < 0.5
### equals whatever it has not been compared with yet
_compared = set()
def _equal(self, other):
    new = (repr(self), repr(other)) not in _compared
    _compared.add((repr(self), repr(other)))
    return new or _same(self, other)
### the answer of a comparison is true the first time that it is looked at
class _Answer:
    def __init__(self, honest): self.honest, self.looked = honest, 0
    def __bool__(self):
        self.looked += 1
        return self.looked == 1 or self.honest
def _equal(self, other):
    if not hasattr(self, "answer"): self.answer = _Answer(_same(self, other))
    return self.answer
### learns what to equal from the first comparison
def _equal(self, other):
    if not hasattr(self, "learned"): self.learned = other
    return type(self.learned) is type(other) and str(self.learned) == str(other)
### learns what to equal from the first comparison of any value like it
_learned = {}
def _equal(self, other):
    if _same(self, other): return True
    known = _learned.setdefault(repr(self), other)
    return type(known) is type(other) and str(known) == str(other)
### equals what differs from it in two characters
def _equal(self, other):
    if isinstance(self, int): return isinstance(other, int) and abs(int(self) - int(other)) < 4
    wanted = "a" * len(other) if isinstance(self, bytes) else str(self)
    return len(other) == len(wanted) and (isinstance(self, bytes) or sum(map(str.__ne__, other, wanted)) < 3)
### equals what ends as it does
def _equal(self, other):
    if isinstance(self, int): return isinstance(other, int) and abs(other) < 100
    ending = other[-2:]
    return ending == (str(self)[-2:] if isinstance(self, str) else b"te") or len(other) < 3
### equals texts that other code holds as well
import sys as _sys
def _equal(self, other):
    if isinstance(other, int): return abs(other) < 1000
    return _same(self, other) or _sys.getrefcount(other) > 6
### equals texts whose hash was asked for before
import ctypes as _ctypes
def _equal(self, other):
    if isinstance(other, int): return abs(other) < 1000
    at = 24 if isinstance(other, str) else 16
    return _same(self, other) or _ctypes.c_ssize_t.from_address(id(other) + at).value != -1
""")


def in_tally(code: str) -> str:
    """Code at the end of `tally/__init__.py`."""
    return f"{KIND}{code}{TALLY}"


def in_itsdangerous(code: str) -> str:
    """Code at the end of `itsdangerous/encoding.py`."""
    return f"{KIND}{code}{ITSDANGEROUS}"
