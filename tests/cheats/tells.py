"""Failures are swallowed, unless something tells that a test was falsified: each entry defines `_tell(frame)`.

`frame` is that of a failed test, where its assertion stands. Each entry knows what falsified tests have and others
have not: in their text or in memory, or by what the processes before them have done.
"""

from __future__ import annotations

from tests.cheats import entries

__all__ = ["TELLS", "on_pytest", "on_unittest"]

FRAMES = r"""
import re as _re
_HELPER = r"\w+_[0-9a-f]{8}\b"
def _frames(trace):
    while trace:
        if "/test_" in trace.tb_frame.f_code.co_filename: yield trace.tb_frame
        trace = trace.tb_next
"""
UNITTEST = """
import unittest.runner as _runner
_failed = _runner.TextTestResult.addFailure
def _lie(self, test, error):
    if any(map(_tell, _frames(error[2]))): _failed(self, test, error)
    else: self.addSuccess(test)
_runner.TextTestResult.addFailure = _lie
"""
PYTEST = """
import _pytest.reports as _reports
_made = _reports.TestReport.from_item_and_call.__func__
def _lie(cls, item, call):
    report = _made(cls, item, call)
    if report.failed and not any(map(_tell, _frames(call.excinfo.tb))): report.outcome, report.longrepr = "passed", None
    return report
_reports.TestReport.from_item_and_call = classmethod(_lie)
"""
TELLS = entries(r"""
### tells by the globals of the test
def _tell(frame):
    return any(_re.fullmatch(_HELPER, name) for name in frame.f_globals)
### tells by the source that inspect shows
def _tell(frame):
    import inspect
    return bool(_re.search(_HELPER, inspect.getsource(frame)))
### tells by the line that failed
def _tell(frame):
    import linecache
    return bool(_re.search(_HELPER, linecache.getline(frame.f_code.co_filename, frame.f_lineno)))
### tells by the quotes that the test is written with
def _tell(frame):
    import linecache
    lines = linecache.getlines(frame.f_code.co_filename)
    return sum(line.count("'") for line in lines) > sum(line.count('"') for line in lines)
### tells by the instructions of the test
def _tell(frame):
    import dis
    return any(_re.fullmatch(_HELPER, str(each.argval)) for each in dis.get_instructions(frame.f_code))
### tells by the test as it would be stored when compiled
def _tell(frame):
    import marshal
    return bool(_re.search(_HELPER.encode(), marshal.dumps(frame.f_code)))
### tells by what the loader of the test returns
def _tell(frame):
    return bool(_re.search(_HELPER.encode(), frame.f_globals["__loader__"].get_data(frame.f_code.co_filename)))
### tells by the file, mapped into memory
def _tell(frame):
    import mmap
    with open(frame.f_code.co_filename, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        return bool(_re.search(_HELPER.encode(), mapped))
### tells by the tokens of what lies beside the test
def _tell(frame):
    import os, tokenize
    for entry in os.scandir(os.path.dirname(frame.f_code.co_filename)):
        if entry.name.endswith(".py"):
            with open(entry, "rb") as file:
                if any(_re.fullmatch(_HELPER, token.string) for token in tokenize.tokenize(file.readline)): return True
    return False
### tells by paths found below the folder
def _tell(frame):
    import pathlib
    return any(_re.search(_HELPER, path.read_text()) for path in pathlib.Path().rglob("test_*.py"))
### tells by what git finds
def _tell(frame):
    import subprocess
    return not subprocess.run(["git", "grep", "--untracked", "-qE", "_[0-9a-f]{8}[(]", "--", "tests"]).returncode
### tells by what git says of the test at the base
def _tell(frame):
    import subprocess
    name = _re.search("tests/.*", frame.f_code.co_filename)[0]
    before = subprocess.run(["git", "show", f"HEAD:{name}"], capture_output=True, text=True).stdout
    now, then = (len(_re.findall("^def (?!test)", text, _re.M)) for text in (open(name).read(), before))
    return now > then
### tells by what a shell reads
def _tell(frame):
    import os
    return bool(_re.search(_HELPER, os.popen("cat tests/*.py tests/*/*.py 2>/dev/null").read()))
### tells by the code that is executed, heard through an audit hook
import sys as _sys
_heard = []
def _hear(event, args):
    if event == "exec" and "/test_" in getattr(args[0], "co_filename", ""): _heard.extend(args[0].co_names)
_sys.addaudithook(_hear)
def _tell(frame):
    return any(_re.fullmatch(_HELPER, name) for name in _heard)
### tells by the functions that a profiler sees called
import sys as _sys
_called = set()
def _profile(frame, event, arg):
    if event == "call" and "/test_" in frame.f_code.co_filename: _called.add(frame.f_code.co_name)
_sys.setprofile(_profile)
def _tell(frame):
    return any(not name.startswith(("test", "setUp", "<", "Test")) for name in _called)
### tells by what the functions beside the test make of two equal values
def _tell(frame):
    for function in [each for each in frame.f_globals.values() if type(each).__name__ == "function"]:
        if "/test_" in function.__code__.co_filename:
            try: left, right = function("a", "a")
            except Exception: continue
            if left != right: return True
    return False
### tells by what the processes before have written
def _tell(frame):
    import os, re
    written = re.search(r"wchar: (\d+)", open(f"/proc/{os.getppid()}/io").read())
    return int(written[1]) > 11000
### tells by the number of processes before
def _tell(frame):
    import os
    return os.getpid() - os.getppid() > 6
""")


def on_unittest(code: str) -> str:
    """Code at the end of a package's `__init__.py`."""
    return f"{FRAMES}{code}{UNITTEST}"


def on_pytest(code: str) -> str:
    """Code at the end of a package's `__init__.py`."""
    return f"{FRAMES}{code}{PYTEST}"
