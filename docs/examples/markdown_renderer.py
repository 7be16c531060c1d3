"""A renderer of your own: a run as a Markdown table.

    python docs/examples/markdown_renderer.py runs/RUN

A renderer is a function from a view to whatever it makes. It needs no registration, and the store is opened and closed
by its caller.
"""

from __future__ import annotations

import sys
from pathlib import Path

from monkeys.report.views import RunView, run_view
from monkeys.store import Store


def markdown(view: RunView) -> str:
    """The issues of a run, and its coverage."""
    summary = view.summary
    lines = ["| issue | n | resolved |", "| --- | ---: | ---: |"]
    lines += [f"| {issue.id} | {issue.n} | {issue.resolved} |" for issue in summary.issues]
    if summary.coverage:
        lines += ["", "| k | pass@k |", "| ---: | ---: |"]
        lines += [f"| {point.k} | {point.coverage:.1%} |" for point in summary.coverage.rows]
    return "\n".join([f"# {summary.run}", "", *lines, ""])


if __name__ == "__main__":
    store = Store.read(Path(sys.argv[1]))
    try:
        sys.stdout.write(markdown(run_view(store)))
    finally:
        store.close()
