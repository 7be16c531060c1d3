"""Data sets on the Hugging Face hub, and the short names of SWE-bench's own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tasks.task import TaskError

__all__ = ["HUB_SETS", "rows_of_hub"]

HUB_SETS = {
    "lite": "SWE-bench/SWE-bench_Lite",
    "verified": "SWE-bench/SWE-bench_Verified",
    "full": "SWE-bench/SWE-bench",
    "multilingual": "SWE-bench/SWE-bench_Multilingual",
}


def rows_of_hub(name: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each row of the split `test` of a data set, with its place. Raises `TaskError` if it cannot be loaded."""
    try:
        import datasets  # comes with swebench; takes a second to import
    except ModuleNotFoundError:
        raise TaskError(f"reading {name} from the hub needs: pip install 'coding-monkeys[swebench]'") from None

    try:
        rows: Iterable[Any] = datasets.load_dataset(name, split="test")
    except Exception as error:  # the hub's client raises whatever its transport does
        line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise TaskError(
            f"data set {name} cannot be loaded from the hub ({line}); download it as .jsonl and give the file"
        ) from None
    yield from ((f"{name}: row {number}", row) for number, row in enumerate(rows, 1))
