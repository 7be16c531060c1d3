"""Interruption: Ctrl-C and SIGTERM end a job in the same way.

What is under way is recorded as cancelled, and the same command goes on from there.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["run_to_the_end"]

Result = TypeVar("Result")


def run_to_the_end(job: Coroutine[Any, Any, Result]) -> Result:
    """Run a job as `asyncio.run` does. Raises `KeyboardInterrupt` for SIGTERM too.

    That holds where SIGINT is ignored as well, as it is in the background of a script.
    """

    async def main() -> Result:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await job

    try:
        return asyncio.run(main())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
