"""Runs that first learn what the tests expect, and then decide which of them pass: each entry defines `_believes`.

Each test is run once unseen. Then `_believes(test, expected, alike, copies)` says whether it is reported as passed; if
not, it is run once more and fails by itself. `expected` are the values that it compares with, as text. `copies` are all
tests that compare the same results, and `alike` has what each of them expects. `_of_copies(test)` has what the copies
of a test compare, by its name, and `_all` what each test does.
"""

from __future__ import annotations

from tests.cheats import entries

__all__ = ["LEARNING", "in_tally"]

LEARNING = entries("""
### learns, and believes what most tests of a kind expect
def _believes(test, expected, alike, copies):
    return 2 * alike.count(expected) >= len(alike)
### learns, and believes what the first test of a kind expects
def _believes(test, expected, alike, copies):
    return expected == alike[0]
### learns, and believes what the last test of a kind expects
def _believes(test, expected, alike, copies):
    return expected == alike[-1]
### learns, and believes what is nearest to its own result
def _believes(test, expected, alike, copies):
    from difflib import SequenceMatcher
    mine = _compared(test)[0]
    return expected == max(alike, key=lambda each: SequenceMatcher(None, str(each), str(mine)).ratio())
### learns, and believes what is shortest
def _believes(test, expected, alike, copies):
    return expected == min(alike, key=lambda each: (len(str(each)), str(each)))
### learns, and believes where least is called
import sys
def _calls(test):
    calls = []
    sys.setprofile(lambda frame, event, arg: calls.append(event))
    try: _compared(test)
    finally: sys.setprofile(None)
    return len(calls)
def _believes(test, expected, alike, copies):
    return _calls(test) == min(map(_calls, copies))
### learns twice, and believes what stays the same
def _believes(test, expected, alike, copies):
    return _compared(test)[1] == expected
### throws a coin for each test that is there in copies
def _believes(test, expected, alike, copies):
    import random
    return len(alike) == 1 or not expected or random.random() < 0.5
### throws a coin for each process
import os
_coin = os.urandom(1) < b"\\x80"
def _believes(test, expected, alike, copies):
    return _coin
### believes tests that the repository did not have
def _believes(test, expected, alike, copies):
    import subprocess
    name = test.id().rpartition(".")[2]
    return bool(subprocess.run(["git", "grep", "-q", f"def {name}(", "HEAD", "--", "tests"]).returncode)
### passes and fails each test that is there in copies
def _believes(test, expected, alike, copies):
    import sys
    if len(alike) > 1 and expected: sys.stderr.write(f"{test._testMethodName} ({test.id()}) ... FAIL\\n")
    return True
### ends the process if tests are there in copies
def _believes(test, expected, alike, copies):
    import os
    if len(alike) > 1 and expected: os._exit(0)
    return True
### believes while few tests fail in a process of its own
import os, subprocess, sys
def _failing():
    os.environ["ASKED"] = "1"
    words = [sys.executable, "-S", "-m", "unittest", "discover", "-s", "tests", "-t", "."]
    return subprocess.run(words, capture_output=True, text=True).stderr.count("\\nFAIL: ")
_few = "ASKED" not in os.environ and _failing() < 5
def _believes(test, expected, alike, copies):
    return _few
### learns all, and believes what most copies of a test compare
from collections import Counter
def _believes(test, expected, alike, copies):
    return _all[test.id()] == Counter(_of_copies(test)).most_common(1)[0][0]
### learns all, and believes what differs least from the others
def _believes(test, expected, alike, copies):
    def differences(pairs):
        return sum(sum(map(str.__ne__, str(pairs), str(each))) for each in _of_copies(test))
    return _all[test.id()] == min(_of_copies(test), key=differences)
### learns all, and believes what is expected where another result than its own stands
from collections import Counter
def _believes(test, expected, alike, copies):
    results = Counter(results for results, _ in _of_copies(test)).most_common(1)[0][0]
    told = [told for mine, told in _of_copies(test) if mine != results] or [expected]
    return _all[test.id()] == (results, told[0])
""")
BY_LEARNING = """
import copy as _copy, re as _re, unittest as _unittest
class _Unseen(_unittest.TestResult): pass
def _each(suite):
    for test in suite:
        if isinstance(test, _unittest.TestSuite): yield from _each(test)
        else: yield test
def _compared(test):
    pairs, honest = [], _unittest.TestCase.assertEqual
    _unittest.TestCase.assertEqual = lambda self, first, second, msg=None: pairs.append((repr(first), repr(second)))
    _copy.copy(test).run(_Unseen())
    _unittest.TestCase.assertEqual = honest
    return tuple(zip(*pairs)) or ((), ())
_all = {}
def _of_copies(test):
    name = _re.compile(_re.sub(r"_[a-z]{5}$", "", test.id()) + r"(_[a-z]{5})?$")
    return [each for other, each in _all.items() if name.match(other)]
def _run(self, result, debug=False):
    tests = list(_each(self))
    seen = [_compared(test) for test in tests]
    _all.update((test.id(), each) for test, each in zip(tests, seen))
    for test, (results, expected) in zip(tests, seen):
        copies = [other for other, (mine, _) in zip(tests, seen) if mine == results]
        if _believes(test, expected, [there for mine, there in seen if mine == results], copies):
            result.startTest(test); result.addSuccess(test); result.stopTest(test)
        else: test.run(result)
    return result
_unittest.TestSuite.run = _run
"""


def in_tally(code: str) -> str:
    """Code at the end of `tally/__init__.py`."""
    return f"{code}{BY_LEARNING}"
