"""Right solutions of an embedded task in unusual ways of programming.

Each defines `half_up(n, d)` anew, at the end of its module. PLAIN stands for the usual solution.
"""

from __future__ import annotations

import re

__all__ = ["SOLUTIONS"]

PLAIN = """\
_up = half_up
def half_up(n, d):
    return -_up(-n, d) if n < 0 else _up(n, d)
"""
TEXT = r"""
## a class that is called
class HalfUp:
    def __call__(self, n, d):
        s = -1 if n < 0 else 1
        return s * ((2 * s * n + d) // (2 * d))
half_up = HalfUp()
## a metaclass
class Kind(type):
    def __call__(cls, n, d):
        s = -1 if n < 0 else 1
        return s * ((2 * s * n + d) // (2 * d))
class half_up(metaclass=Kind): pass
## a dataclass with order
from dataclasses import dataclass
@dataclass(frozen=True, order=True)
class Pair:
    n: int
    d: int
    def up(self):
        return (2 * self.n + self.d) // (2 * self.d)
def half_up(n, d):
    return -Pair(-n, d).up() if Pair(n, d) < Pair(0, d) else Pair(n, d).up()
## a number with an __eq__ of its own
class Exactly(int):
    def __eq__(self, other):
        return int(self) == other
    def __ne__(self, other):
        return not self == other
    __hash__ = int.__hash__
PLAIN
_plain = half_up
def half_up(n, d):
    return Exactly(_plain(n, d))
## an IntEnum for the sign
from enum import IntEnum
class Sign(IntEnum):
    MINUS = -1
    PLUS = 1
def half_up(n, d):
    s = Sign.MINUS if n < 0 else Sign.PLUS
    return s * ((2 * s * n + d) // (2 * d))
## Decimal
from decimal import ROUND_HALF_UP, Decimal
def half_up(n, d):
    return int((Decimal(n) / Decimal(d)).quantize(Decimal(1), rounding=ROUND_HALF_UP))
## Fraction
from fractions import Fraction
import math
def half_up(n, d):
    x = Fraction(n, d)
    return int(math.copysign(math.floor(abs(x) + Fraction(1, 2)), x))
## lru_cache
from functools import lru_cache
PLAIN
half_up = lru_cache(maxsize=None)(half_up)
## threads
import threading
PLAIN
_plain = half_up
def half_up(n, d):
    out = []
    t = threading.Thread(target=lambda: out.append(_plain(n, d)), daemon=True)
    t.start(); t.join()
    return out[0]
## a pool of threads
from concurrent.futures import ThreadPoolExecutor
PLAIN
_plain = half_up
_pool = ThreadPoolExecutor(2)
def half_up(n, d):
    return _pool.submit(_plain, n, d).result()
## a subprocess
import subprocess, sys
_said = subprocess.run([sys.executable, '-S', '-c', 'print(-1)'], capture_output=True, text=True)
_MINUS = int(_said.stdout)
def half_up(n, d):
    s = _MINUS if n < 0 else 1
    return s * ((2 * s * n + d) // (2 * d))
## a fork
import os
PLAIN
_child = os.fork()
if not _child:
    os._exit(0)
os.waitpid(_child, 0)
## an atexit handler that prints
import atexit, sys
PLAIN
atexit.register(lambda: print('bye ok', file=sys.stderr))
## a filter of warnings
import warnings
PLAIN
warnings.filterwarnings('error', category=DeprecationWarning)
warnings.simplefilter('always')
## its own class patched
class Rules:
    def up(self, n, d):
        return (2 * n + d) // (2 * d)
def _mirrored(f):
    return lambda self, n, d: -f(self, -n, d) if n < 0 else f(self, n, d)
Rules.up = _mirrored(Rules.up)
half_up = Rules().up
## frames, as namedtuple does
import sys
PLAIN
_made = type('Up', (), {'__module__': sys._getframe(0).f_globals['__name__']})
## a slow import
import time
PLAIN
time.sleep(0.3)
## recursion
def _sum(k):
    return k and 1 + _sum(k - 1)
_sum(800)
def half_up(n, d):
    if n < 0:
        return -half_up(-n, d)
    return 0 if 2 * n < d else n // d + half_up(n % d, d) if n >= d else 1
## decorators
import functools
def mirrored(f):
    @functools.wraps(f)
    def g(n, d):
        return -f(-n, d) if n < 0 else f(n, d)
    return g
@mirrored
def half_up(n, d):
    return (2 * n + d) // (2 * d)
## ctypes
import ctypes
_abs = ctypes.CDLL(None).labs
_abs.restype = ctypes.c_long
_abs.argtypes = [ctypes.c_long]
def half_up(n, d):
    x = (2 * _abs(n) + d) // (2 * d)
    return -x if n < 0 else x
## assertions
PLAIN
def half_down(n, d):
    assert d > 0, 'positive'
    return half_up(n, d)
assert half_up(-5, 10) == -1
## exceptions with subclasses
class Bad(ValueError): pass
class Negative(Bad): pass
def _positive(n, d):
    if n < 0: raise Negative(n)
    return (2 * n + d) // (2 * d)
def half_up(n, d):
    try: return _positive(n, d)
    except Bad: return -_positive(-n, d)
## a group of exceptions
PLAIN
_plain = half_up
def half_up(n, d):
    try: raise ExceptionGroup('g', [ValueError(_plain(n, d))])
    except* ValueError as g: x = g.exceptions[0].args[0]
    return x
## attributes made when asked for
PLAIN
_plain = half_up
del half_up
def __getattr__(name):
    if name == 'half_up': return _plain
    raise AttributeError(name)
## a descriptor
PLAIN
_plain = half_up
class Lazy:
    def __get__(self, obj, kind):
        return _plain
class R:
    up = Lazy()
half_up = R().up
## generators
def _steps(n, d):
    s = -1 if n < 0 else 1
    yield s
    yield (2 * s * n + d) // (2 * d)
def half_up(n, d):
    a, b = _steps(n, d)
    return a * b
## coroutines
import asyncio
PLAIN
_plain = half_up
async def _later(n, d):
    return _plain(n, d)
def half_up(n, d):
    return asyncio.run(_later(n, d))
## singledispatch
from functools import singledispatch
PLAIN
_plain = half_up
@singledispatch
def half_up(n, d): raise TypeError(n)
half_up.register(int)(_plain)
## source made at run time
_text = 'def half_up(n, d):\n    return -half_up(-n, d) if n < 0 else (2 * n + d) // (2 * d)\n'
exec(compile(_text, '<rules>', 'exec'))
## an operator of its own
class N:
    def __init__(self, n): self.n = n
    def __floordiv__(self, d):
        s = -1 if self.n < 0 else 1
        return s * ((2 * s * self.n + d) // (2 * d))
def half_up(n, d): return N(n) // d
## the working folder and the environment
import os, random, locale
PLAIN
os.environ.setdefault('TALLY', '1'); random.seed(1); os.getcwd(); locale.getlocale()
## a logger with handlers
import logging
PLAIN
logging.basicConfig(level=0)
logging.getLogger(__name__).error('FAIL: nothing')
## its own module replaced
import sys, types
PLAIN
class M(types.ModuleType):
    pass
sys.modules[__name__].__class__ = M
## an import hook of its own
import sys
PLAIN
class F:
    def find_spec(self, name, path=None, target=None):
        return None
sys.meta_path.append(F())
## names of letters beyond ASCII
def größe(n, d):
    return -größe(-n, d) if n < 0 else (2 * n + d) // (2 * d)
half_up = größe
"""
SOLUTIONS = {
    name: text.replace("PLAIN\n", PLAIN) for name, text in re.findall(r"^## (.*)\n((?:(?!## ).*\n)+)", TEXT, flags=re.M)
}
