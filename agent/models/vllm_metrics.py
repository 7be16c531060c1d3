"""vLLM's metrics, and how they adjust the number of requests that a vLLM is given.

A vLLM queues requests that it cannot run and refuses none, so its limit cannot be learnt from refusals. Its `/metrics`
tell: while no request waits and the cache has room, it could do twice as much; while requests wait, more in flight gain
nothing; after it had to preempt running ones, the key-value cache of attempts under way was lost, so fewer are better.
They also tell how many tokens that cache holds. The page is read from time to time, as long as there is one.
"""

from __future__ import annotations

import asyncio
import math
import re
from dataclasses import dataclass

from agent.models.admission import Admission
from agent.models.http import HttpError, HttpTransport

__all__ = ["VllmMetrics", "steer"]

EVERY_SECONDS = 1.0
FASTER = 4  # while the limit is growing
ROOMY = 0.5  # share of the key-value cache in use below which as many requests again would fit
LINE = re.compile(r"^vllm:(\w+)(?:\{[^}]*\})? ([-+.\deE]+|NaN)$", re.MULTILINE)
CACHE = re.compile(r"^vllm:cache_config_info\{(.*)\} 1", re.MULTILINE)
LABEL = re.compile(r'(\w+)="([^"]*)"')
NAMES = {
    "num_requests_running": "running",
    "num_requests_waiting": "waiting",
    "kv_cache_usage_perc": "cache",
    "num_preemptions_total": "preemptions",
}


@dataclass(frozen=True, slots=True)
class VllmMetrics:
    """One reading of the page, summed over the server's engines; `cache` is the share in use of the fullest cache.

    `capacity` is how many tokens the caches hold, infinite where that is not told or nothing is cached from one request
    to the next.
    """

    running: float = 0.0
    waiting: float = 0.0
    cache: float = 0.0
    preemptions: float = 0.0
    capacity: float = math.inf

    @classmethod
    def read(cls, page: str) -> VllmMetrics | None:
        """Parse a page; None where it is not vLLM's."""
        found: dict[str, float] = {}
        for metric, text in LINE.findall(page):
            if name := NAMES.get(metric):
                value, before = float(text), found.get(name, 0.0)
                found[name] = max(value, before) if name == "cache" else value + before
        return cls(**found, capacity=_capacity(page)) if "running" in found else None


def _capacity(page: str) -> float:
    """The tokens that the caches hold."""
    tokens = 0
    for labels in CACHE.findall(page):
        told = dict(LABEL.findall(labels))
        blocks, size = told.get("num_gpu_blocks", ""), told.get("block_size", "")
        if blocks.isdecimal() and size.isdecimal() and told.get("enable_prefix_caching") != "False":
            tokens += int(blocks) * int(size)
    return tokens or math.inf


async def steer(admission: Admission, transport: HttpTransport) -> None:
    """Adjust the admission limit for as long as the server has such a page."""
    before: VllmMetrics | None = None
    while True:
        pause = EVERY_SECONDS
        try:
            answer = await transport.get("/metrics", 10 * EVERY_SECONDS, beside=True)
        except HttpError:
            pass  # `Replica.failed` finds out whether it is down
        else:
            metrics = VllmMetrics.read(answer.content.decode("utf-8", "replace")) if answer.status == 200 else None
            if metrics is None and answer.status < 500:
                return
            if metrics is not None:
                admission.saturated, admission.cache.capacity = metrics.waiting > 0, metrics.capacity
                admission.look()
                if before is not None and metrics.preemptions > before.preemptions:
                    admission.crowded()
                elif not metrics.waiting and metrics.cache < ROOMY and admission.idle():
                    pause /= FASTER
                before = metrics
        await asyncio.sleep(pause)
