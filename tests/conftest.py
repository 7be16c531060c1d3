"""Every test run has a cache of its own, so that no verdict and no image of an earlier one is found in it.

Ctrl-C means something in it also where the tests run in a script's background, which ignores it and hands that on.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator

import pytest

# At import, for test modules build repositories in it when they are collected.
CACHE = tempfile.mkdtemp(prefix="coding-monkeys-tests-")
os.chmod(CACHE, 0o755)
os.environ["XDG_CACHE_HOME"] = CACHE

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def own_cache() -> Iterator[None]:
    yield
    shutil.rmtree(CACHE, ignore_errors=True)
