"""The counts behind the published figures: facts of others that the project does not ship."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

__all__ = ["published_attempts", "published_counts"]


def published_counts() -> dict[str, dict[str, Any]]:
    """Correct samples per problem, {"MATH/Pythia 12B": {"n": 10000, "correct": [...]}}; skips the test without them."""
    path = os.environ.get("MONKEYS_PUBLISHED_COUNTS")
    if not path or not Path(path).is_file():
        pytest.skip("set MONKEYS_PUBLISHED_COUNTS to a file with the paper's counts of correct samples per problem")
    counts: dict[str, dict[str, Any]] = json.loads(Path(path).read_text())
    return counts


def published_attempts() -> Path:
    """The single attempts behind them, with columns Model, Benchmark, Problem Idx, Attempt Idx and Score."""
    path = os.environ.get("MONKEYS_PUBLISHED_ATTEMPTS")
    if not path or not Path(path).is_file():
        pytest.skip("set MONKEYS_PUBLISHED_ATTEMPTS to a table of the paper's single attempts with their Attempt Idx")
    return Path(path)
