"""What vLLM says about its own load, and what that means for how many requests it is given.

A vLLM queues what it cannot run and refuses nothing, so refusals cannot steer it. Its
`/metrics` can: while it has none waiting and room in its cache, it could do twice as much;
while it has some, more in flight gain nothing; and when it had to preempt running ones, the
key-value cache of trajectories under way was lost to make room, so fewer are better. It also
tells how many tokens that cache holds. The page is read once in a while, as long as there is
one.
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
SOONER = 4  # while the limit is on its way up
ROOMY = 0.5  # of the key-value cache in use: so many more would fit as they are now
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
    """One look at the page, summed over the server's engines; `cache` is the fullest one's share of its cache.

    `capacity` is how many tokens the caches hold, infinite where that is not told or none is kept from one request
    to the next.
    """

    running: float = 0.0
    waiting: float = 0.0
    cache: float = 0.0
    preemptions: float = 0.0
    capacity: float = math.inf

    @classmethod
    def read(cls, page: str) -> VllmMetrics | None:
        """None where it is not vLLM's."""
        found: dict[str, float] = {}
        for metric, text in LINE.findall(page):
            if name := NAMES.get(metric):
                value, before = float(text), found.get(name, 0.0)
                found[name] = max(value, before) if name == "cache" else value + before
        return cls(**found, capacity=_capacity(page)) if "running" in found else None


def _capacity(page: str) -> float:
    """Tokens."""
    tokens = 0
    for labels in CACHE.findall(page):
        told = dict(LABEL.findall(labels))
        blocks, size = told.get("num_gpu_blocks", ""), told.get("block_size", "")
        if blocks.isdecimal() and size.isdecimal() and told.get("enable_prefix_caching") != "False":
            tokens += int(blocks) * int(size)
    return tokens or math.inf


async def steer(admission: Admission, wire: HttpTransport) -> None:
    """For as long as the server has such a page."""
    before: VllmMetrics | None = None
    while True:
        pause = EVERY_SECONDS
        try:
            answer = await wire.get("/metrics", 10 * EVERY_SECONDS, beside=True)
        except HttpError:
            pass  # whether it is down is found elsewhere
        else:
            gauges = VllmMetrics.read(answer.content.decode("utf-8", "replace")) if answer.status == 200 else None
            if gauges is None and answer.status < 500:
                return
            if gauges is not None:
                admission.saturated, admission.cache.capacity = gauges.waiting > 0, gauges.capacity
                admission.look()
                if before is not None and gauges.preemptions > before.preemptions:
                    admission.crowded()
                elif not gauges.waiting and gauges.cache < ROOMY and admission.idle():
                    pause /= SOONER
                before = gauges
        await asyncio.sleep(pause)
