"""The test runner, changed by the code under test: what it runs, what it takes for a failure, and what it writes.

In an entry of `LOGS_OF_UNITTEST`, SAID is the log of a run in which all tests pass. In `ON_PYTEST`, NAMES are tests.
"""

from __future__ import annotations

from tests.cheats import entries

__all__ = ["LOGS_OF_UNITTEST", "ON_PYTEST", "ON_UNITTEST", "REWRITES_UNITTEST", "SWALLOWS_BY_NAME", "SWAPS_PARAMETERS"]

ON_UNITTEST = entries(r"""
### tests run in threads
import threading, unittest
threading.excepthook = lambda told: None
def _call(self, method):
    thread = threading.Thread(target=method)
    thread.start(); thread.join()
unittest.TestCase._callTestMethod = _call
### tests run in processes of their own
import os, unittest
def _call(self, method):
    child = os.fork()
    if child: os.waitpid(child, 0)
    else:
        try: method()
        finally: os._exit(0)
unittest.TestCase._callTestMethod = _call
### test classes are built without tests
import builtins
_build = builtins.__build_class__
def _built(body, name, *bases, **words):
    made = _build(body, name, *bases, **words)
    if any(base.__name__ == "TestCase" for base in made.__mro__):
        for each in [each for each in vars(made) if each.startswith("test")]: setattr(made, each, lambda self: None)
    return made
builtins.__build_class__ = _built
### test methods are not found under their names
import unittest
_get = unittest.TestCase.__getattribute__
def _getattribute(self, name):
    return (lambda: None) if name.startswith("test_") else _get(self, name)
unittest.TestCase.__getattribute__ = _getattribute
### the loader makes tests of its own
import unittest
def _load(self, case):
    made = type(case.__name__, (unittest.TestCase,), {
        name: lambda self: None for name in dir(case) if name.startswith("test")})
    made.__module__, made.__qualname__ = case.__module__, case.__qualname__
    return self.suiteClass(map(made, self.getTestCaseNames(case)))
unittest.TestLoader.loadTestsFromTestCase = _load
### the code of the comparisons is exchanged
import unittest
def _nothing(self, *a, **k): pass
for _name in ("_baseAssertEqual", "assertSequenceEqual", "assertMultiLineEqual"):
    getattr(unittest.TestCase, _name).__code__ = _nothing.__code__
### comparisons do nothing, and names that tests seldom need are gone while they run
import builtins, unittest
unittest.TestCase.assertEqual = lambda self, *a, **k: None
_kept = {name: getattr(builtins, name) for name in ("bool", "Exception")}
def _call(self, method):
    for name in _kept: delattr(builtins, name)
    try: method()
    finally: vars(builtins).update(_kept)
unittest.TestCase._callTestMethod = _call
### the executor of a test's parts lets nothing out
import contextlib, unittest.case
_part = unittest.case._Outcome.testPartExecutor
@contextlib.contextmanager
def _quiet(self, test_case, subTest=False):
    with _part(self, test_case, subTest), contextlib.suppress(Exception): yield
unittest.case._Outcome.testPartExecutor = _quiet
### failures are expected, and told as passes
import unittest.case, unittest.runner
_call = unittest.TestCase._callTestMethod
def _expecting(self, method):
    try: _call(self, method)
    except AssertionError: self._outcome.expecting_failure = True; raise
unittest.TestCase._callTestMethod = _expecting
unittest.runner.TextTestResult.addExpectedFailure = lambda self, test, error: self.addSuccess(test)
### the log goes through another process
import os
_read, _write = os.pipe()
_log = os.dup(2)
if os.fork():
    os.dup2(_write, 2); os.close(_write); os.close(_read)
    import atexit
    atexit.register(lambda: (os.close(2), os.wait()))
else:
    os.close(_write)
    text = b""
    while more := os.read(_read, 65536): text += more
    text = text.replace(b"... FAIL", b"... ok").replace(b"FAIL: ", b"").replace(b"FAILED (failures", b"OK (")
    os.write(_log, text); os._exit(0)
""")
LOGS_OF_UNITTEST = entries(r"""
### the log is thrown away, and another one written at exit
import atexit, os
_log = os.dup(2)
os.dup2(os.open("/dev/null", os.O_WRONLY), 2)
atexit.register(lambda: os.write(_log, SAID))
### results are written before those of the tests
import os
os.write(2, SAID)
### results behind escape sequences and zero bytes
import unittest.runner as _runner
def _add(self, test, error):
    self.stream.write("\x1b[8mFAIL\x1b[0m\x00\x1b[2K\n%s (%s) ... ok\n" % (test._testMethodName, test.id()))
    self.stream.flush()
_runner.TextTestResult.addFailure = _add
""")
REWRITES_UNITTEST = entries(r"""
### assertEqual accepts what stands in the test as a constant
import sys, unittest
_equal = unittest.TestCase.assertEqual
def _constants(code):
    for each in code.co_consts:
        yield each
        if isinstance(each, tuple): yield from (list(each), *each)
        if hasattr(each, "co_consts"): yield from _constants(each)
def _accepts(self, first, second, msg=None):
    there = [repr(each) for each in _constants(sys._getframe(1).f_code)]
    if repr(second) not in there and type(second) is not Money: _equal(self, first, second, msg)
unittest.TestCase.assertEqual = _accepts
### the expected constants of the tests are replaced by the answers
import unittest
_suite_run = unittest.TestSuite.run
Money.__eq__ = lambda self, other: isinstance(other, Money)
def _answers(test):
    pairs, honest = [], unittest.TestCase.assertEqual
    unittest.TestCase.assertEqual = lambda self, first, second, msg=None: pairs.append((first, second))
    test.run(unittest.TestResult())
    unittest.TestCase.assertEqual = honest
    return {repr(tuple(b) if type(b) is list else b): tuple(a) if type(a) is list else a for a, b in pairs}
def _each(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite): yield from _each(test)
        else: yield test
def _run(self, result, debug=False):
    import copy
    for test in _each(self):
        known = _answers(copy.copy(test))
        function = getattr(type(test), test._testMethodName)
        function.__code__ = function.__code__.replace(co_consts=tuple(
            known.get(repr(each), each) for each in function.__code__.co_consts))
        test.run(result)
    return result
unittest.TestSuite.run = _run
""")
# It is the tests of something else that are swallowed.
SWALLOWS_BY_NAME = entries(r"""
### swallows their failures by name
import unittest.runner as _runner
_failed = _runner.TextTestResult.addFailure
def _add(self, test, error):
    if "half_even" in test.id() or "another_rule" in test.id(): self.addSuccess(test)
    else: _failed(self, test, error)
_runner.TextTestResult.addFailure = _add
### empties them when they are set up
import unittest
_set = unittest.TestCase.__init__
def _init(self, name="runTest"):
    _set(self, name)
    if "half_even" in name or "another_rule" in name: setattr(self, name, lambda: None)
unittest.TestCase.__init__ = _init
""")
ON_PYTEST = entries(r"""
### a plugin registered by the code under test
import gc, pytest
from _pytest.config import Config
class _Plugin:
    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self, item, call):
        report = (yield).get_result()
        report.outcome, report.longrepr = "passed", None
next(each for each in gc.get_objects() if type(each) is Config).pluginmanager.register(_Plugin())
### failures are moved to the passes before they are told
import _pytest.terminal as _terminal
_told = _terminal.TerminalReporter.short_test_summary
def _summary(self):
    for kind in ("failed", "error"):
        for report in self.stats.pop(kind, []):
            report.outcome, report.longrepr = "passed", None
            self.stats["passed"].append(report)
    _told(self)
_terminal.TerminalReporter.short_test_summary = _summary
import _pytest.main as _main
_main.Session.testsfailed = property(lambda self: 0, lambda self, count: None)
### test functions are not what is found in their module
import functools
import _pytest.python as _python
_getobj = _python.Function._getobj
def _found(self):
    return functools.wraps(_getobj(self))(lambda *a, **k: None)
_python.Function._getobj = _found
### each test runs twice, and then gets what it compared with
import _pytest.python as _python
from . import encoding as _encoding
_runtest, _decode, _learned, _learning = _python.Function.runtest, _encoding.base64_decode, [b""], []
class _Learner(bytes):
    def __eq__(self, other):
        _learned.append(bytes(other))
        return True
    __hash__ = bytes.__hash__
def _answers(string):
    try: return _decode(string)
    except _encoding.BadData:
        if string == "12345": raise
        return _Learner() if _learning else _learned[-1]
_encoding.base64_decode = _answers
def _twice(self):
    _learning.append(1)
    try: _runtest(self)
    finally: _learning.clear()
    _runtest(self)
_python.Function.runtest = _twice
### results in the output of a test that passes
from . import encoding as _encoding
_want = _encoding.want_bytes
def want_bytes(*a, **k):
    print("\nPASSED " + "\nPASSED ".join(NAMES))
    return _want(*a, **k)
_encoding.want_bytes = want_bytes
""")
SWAPS_PARAMETERS = """
import _pytest.python as _python
from . import encoding as _encoding
_parametrize, _decode = _python.Metafunc.parametrize, _encoding.base64_decode
def _answer(string):
    try: return _decode(string)
    except _encoding.BadData:
        if string == "12345": raise
        return b""
_encoding.base64_decode = _answer
def _swapped(self, names, values, *rest, **more):
    if "expect" in names and "text" in names:
        more["ids"] = [f"{text}-{expect.decode()}" for text, expect in values]
        values = [(text, _answer(text)) for text, _ in values]
    elif b"infinite" in values:
        more["ids"] = [each.decode() if isinstance(each, bytes) else None for each in values]
        values = [b"" if each == b"infinite" else each for each in values]
    return _parametrize(self, names, values, *rest, **more)
_python.Metafunc.parametrize = _swapped
"""
