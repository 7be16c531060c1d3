"""What all tests share: a cache folder of their own, Ctrl-C, and how they are spread over processes.

Each process has its own cache folder, so that no test finds a verdict or an image of an earlier run or of another
process. Ctrl-C works also where the tests run in the background of a script, which ignores it and passes that on.

Tests run in several processes, a file in one of them, so that what a module fixture made is made once. All files that
use the Docker engine of this machine run in one process, one after the other: they remove what dead runs left there.
Tests in named files (`pytest tests/envs/test_pool.py`) run in this process, as `-n 0` and `--pdb` do.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

ROOT = Path(__file__).parent.parent

# Set at import, because test modules build repositories in it when they are collected.
CACHE = tempfile.mkdtemp(prefix="coding-monkeys-tests-")
os.chmod(CACHE, 0o755)
os.environ["XDG_CACHE_HOME"] = CACHE

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

MOST_PROCESSES = 4  # some tests measure time
USES_ENGINE = re.compile(r"^(?:import|from) docker\b", re.MULTILINE)
# Started first, because the last file to end decides how long the whole takes. The engine's files are the first of all.
LONG = ("test_sample_job.py", "test_prediction.py", "test_servers.py", "test_project.py", "test_verify_job.py")


def uses_engine(file: Path) -> bool:
    return USES_ENGINE.search(file.read_text("utf-8")) is not None


class ByFile(LoadScopeScheduling):  # type: ignore[misc]
    """Gives a file to one process, and all files that use the Docker engine to the same one."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "engine" if uses_engine(ROOT / file) else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    return ByFile(config, log)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return how many processes `-n auto` means: none for tests in named files, else one for each processor."""
    named = config.args and not any(os.path.isdir(argument) for argument in config.args)
    return 0 if named else min(os.cpu_count() or 1, MOST_PROCESSES)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ranks = {path: _rank(path) for path in {item.path for item in items}}
    items.sort(key=lambda item: ranks[item.path])


def _rank(file: Path) -> int:
    if uses_engine(file):
        return 0
    return 1 + (LONG.index(file.name) if file.name in LONG else len(LONG))


def pytest_unconfigure() -> None:
    shutil.rmtree(CACHE, ignore_errors=True)
