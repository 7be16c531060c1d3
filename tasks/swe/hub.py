"""Data sets on the Hugging Face hub, and the short names of SWE-bench's own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tasks.task import TaskError

__all__ = ["HUB_SETS", "named_on_hub", "rows_of_hub"]

HUB_SETS = {
    "lite": "SWE-bench/SWE-bench_Lite",
    "verified": "SWE-bench/SWE-bench_Verified",
    "full": "SWE-bench/SWE-bench",
    "multilingual": "SWE-bench/SWE-bench_Multilingual",
}
USUAL = "test"


def named_on_hub(source: str) -> tuple[str, str] | None:
    """The data set and the split that `source` names, as in lite, lite:dev or owner/name:train; None if it is no name.

    The split is empty where none is named.
    """
    name, _, split = source.partition(":")
    if name in HUB_SETS:
        return HUB_SETS[name], split
    return (name, split) if name.count("/") == 1 and all(name.split("/")) and "/" not in split else None


def rows_of_hub(name: str, split: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each row of a split of a data set, with its place: `split`, or test, or the only one that there is.

    Raises `TaskError` if it cannot be loaded, with the splits that there are if it has not that one.
    """
    try:
        import datasets  # comes with swebench; takes a second to import
    except ModuleNotFoundError:
        raise TaskError(f"reading {name} from the hub needs: pip install 'coding-monkeys[swebench]'") from None
    except Exception as error:  # it makes folders when it is imported
        raise _not_loaded(name, error) from None

    wanted = split or USUAL
    try:
        try:
            rows: Iterable[Any] = datasets.load_dataset(name, split=wanted)
        except ValueError as error:
            if not str(error).startswith("Unknown split"):
                raise
            there = datasets.get_dataset_split_names(name)
            if split or len(there) != 1:
                raise TaskError(
                    f"data set {name} has no split {wanted}; it has {', '.join(there)}: give one as {name}:{there[0]}"
                ) from None
            wanted = there[0]
            rows = datasets.load_dataset(name, split=wanted)
    except TaskError:
        raise
    except Exception as error:  # the hub's client raises whatever its transport does
        raise _not_loaded(name, error) from None
    yield from ((f"{name}: row {number} of {wanted}", row) for number, row in enumerate(rows, 1))


def _not_loaded(name: str, error: Exception) -> TaskError:
    line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return TaskError(
        f"data set {name} cannot be loaded from the hub ({line}); download it as .parquet or .jsonl and give the file"
    )
