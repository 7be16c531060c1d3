"""Views: frozen records of what a store holds, for anything that shows it.

    RunsView       the runs of a folder                  runs_view(folders)
    RunView        one run: set-up, sessions, summary    run_view(store)
    TaskView       the attempts at one task              task_view(store, task)
    AttemptView    one attempt from start to verdict     attempt_view(store, row)

A renderer takes views and needs no store. Views are plain data: they can be pickled and compared, and `to_json` gives
each as an object whose keys are the names of its fields. `docs/examples/markdown_renderer.py` is a renderer in one
file.
"""

from monkeys.report.views.attempt import AttemptView, Call, PlainMessage, TurnView, attempt_view
from monkeys.report.views.run import RunView, Session, run_view
from monkeys.report.views.runs import RunRow, RunsView, runs_view
from monkeys.report.views.task import TaskView, Try, task_view

__all__ = [
    "AttemptView",
    "Call",
    "PlainMessage",
    "RunRow",
    "RunView",
    "RunsView",
    "Session",
    "TaskView",
    "Try",
    "TurnView",
    "attempt_view",
    "run_view",
    "runs_view",
    "task_view",
]
