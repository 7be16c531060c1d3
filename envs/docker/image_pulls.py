"""Pulling one image through the engine: progress, failures, and when to try again.

Guarantees: a pull that cannot fit on the engine's disk is ended with what it needs and what is free; a pull that
failed for a reason that may pass is tried again, with growing pauses; `stopped` ends a pull within a moment, and the
engine then gives it up too.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from enum import Enum
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

import requests
import tenacity
import urllib3
from docker.errors import APIError, DockerException

from envs.docker.client import brief
from envs.docker.engine_disk import EngineDisk, peak_bytes
from envs.docker.image_locks import stopped_error
from envs.errors import MonkeysError
from envs.events import Sink, Status

if TYPE_CHECKING:
    import docker

__all__ = ["CONNECTION_ERRORS", "ImagePuller", "PullFailed", "PullFault"]

MB = 1e6
STATUS_SECONDS = 2.0  # between two lines about one pull
TRIES = 5
LONGEST_PAUSE_SECONDS = 60.0
CONNECTION_ERRORS = (requests.RequestException, urllib3.exceptions.HTTPError)  # beside the SDK's own

# Parts of the engine's messages. Nearly all of its errors have the status 500, so only the text tells them apart.
ABSENT = (
    "not found",
    "manifest unknown",
    "name unknown",
    "does not exist",
    "denied",
    "unauthorized",
    "invalid reference",
)
HOPELESS = (
    *("no matching manifest", "no such host", "no basic auth", "x509", "no space left"),
    *("server gave http response", "unsupported", "cannot be used on this platform"),
)
# 429 is a status here, and may also stand in the digest of an image or in a port.
NEEDS_LOGIN = re.compile(r"toomanyrequests|\b429\b|denied|unauthorized|no basic auth")


class PullFault(Enum):
    """What to do about a pull that failed."""

    ABSENT = "look elsewhere"
    HOPELESS = "give up"
    PASSING = "try again"


class PullFailed(MonkeysError):
    """One pull failed. `cause` is the engine's message."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause

    @property
    def fault(self) -> PullFault:
        text = self.cause.lower()
        if any(part in text for part in HOPELESS):
            return PullFault.HOPELESS
        return PullFault.ABSENT if any(part in text for part in ABSENT) else PullFault.PASSING

    @property
    def remedy(self) -> str:
        """What a person can do, as the end of a sentence."""
        text = self.cause.lower()
        if "no matching manifest" in text:
            return "name a platform that it is made for with --platform, or leave its task out with --ids"
        if NEEDS_LOGIN.search(text):
            return (
                "log in to its registry (docker login), name another with --image-mirror, or build it under this name"
            )
        return (
            "build or load it under this name, name another registry with --image-mirror, or leave its task out with "
            "--ids"
        )


class ImagePuller:
    """Pulls images for `platform`, the engine's own if empty. Methods block and may be called from many threads.

    `moved` gets (image, bytes so far, bytes in all); without it the bytes are in the text of `Status` events.
    `patience` scales the pauses between tries; `remedy` ends the message about a full disk.
    """

    def __init__(
        self,
        client: docker.DockerClient,
        *,
        platform: str,
        disk: EngineDisk,
        remedy: str,
        stopped: threading.Event,
        events: Sink,
        moved: Callable[[str, int, int], None] | None,
        patience: float,
    ) -> None:
        self._client, self._platform, self._disk, self._remedy = client, platform, disk, remedy
        self._stopped, self._events, self._moved, self._patience = stopped, events, moved, patience

    def pull(self, name: str, image: str, sizes: dict[str, int]) -> None:
        """Pull `name`, which stands for `image`, with several tries where the failure may pass.

        `sizes` are the compressed sizes of its layers by digest, as far as they are known. Raises `PullFailed`, and
        `SandboxUnavailable` if it does not fit on the disk or was stopped.
        """
        began = time.monotonic()

        def tell(state: tenacity.RetryCallState) -> None:
            failure = state.outcome.exception() if state.outcome else None
            pause = state.next_action.sleep if state.next_action else 0.0
            self._events(Status(f"pulling {image}: {failure}; once more in {pause:.0f} s"))

        tries = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(TRIES),
            wait=tenacity.wait_random_exponential(
                multiplier=self._patience, min=self._patience, max=LONGEST_PAUSE_SECONDS
            ),
            retry=tenacity.retry_if_exception(
                lambda error: isinstance(error, PullFailed) and error.fault is PullFault.PASSING
            ),
            sleep=tenacity.sleep_using_event(self._stopped),
            before_sleep=tell,
            reraise=True,
        )
        done = tries(self._pull_once, name, image, sizes)
        self._events(Status(f"pulled {image}: {done / MB:,.1f} MB in {time.monotonic() - began:.1f} s"))

    def _pull_once(self, name: str, image: str, sizes: dict[str, int]) -> int:
        """One try. Returns the bytes that came. Raises `PullFailed`."""
        free = self._disk.free()
        pull = PullProgress(sizes)
        told, shown = float("-inf"), -1
        self._events(Status(f"pulling {image}"))
        try:
            for event in self._engine_events(name, image):
                if "error" in event:
                    raise PullFailed(str(event["error"]))
                pull.take(event)
                if free is not None and peak_bytes(pull.total) > free:
                    raise self._disk.too_small(image, peak_bytes(pull.expected), free, self._remedy)
                if self._moved is not None:
                    self._moved(image, pull.done, pull.total)
                elif pull.done > shown and (pull.done == pull.total or time.monotonic() - told > STATUS_SECONDS):
                    told, shown = time.monotonic(), pull.done
                    self._events(Status(f"pulling {image}: {pull.done / MB:,.1f} of {pull.total / MB:,.1f} MB"))
        except APIError as error:
            raise PullFailed(brief(error)) from None
        except (DockerException, *CONNECTION_ERRORS) as error:
            raise PullFailed(f"connection to the engine: {brief(error)}") from None
        return pull.done

    def _engine_events(self, name: str, image: str) -> Iterator[dict[str, Any]]:
        """The engine's events of a pull. The engine gives the pull up once nobody reads them.

        A thread reads them, for the engine may be silent for long and the pull may be stopped meanwhile.
        """
        queue: SimpleQueue[dict[str, Any] | Exception | None] = SimpleQueue()
        over = threading.Event()

        def read() -> None:
            try:
                for event in self._client.api.pull(name, stream=True, decode=True, platform=self._platform or None):
                    if over.is_set():
                        return
                    queue.put(event)
                queue.put(None)
            except Exception as error:  # raised again below
                queue.put(error)

        threading.Thread(target=read, name=f"pull {name}", daemon=True).start()
        try:
            while not self._stopped.is_set():
                try:
                    event = queue.get(timeout=0.1)
                except Empty:
                    continue
                if event is None:
                    return
                if isinstance(event, Exception):
                    raise event
                yield event
            raise stopped_error(image)
        finally:
            over.set()


class PullProgress:
    """How far a pull is, in compressed bytes. `sizes` of layers by digest may be empty."""

    def __init__(self, sizes: dict[str, int]) -> None:
        self._sizes = {digest.partition(":")[2][:12]: size for digest, size in sizes.items()}
        self._layers: dict[str, tuple[int, int]] = {}  # bytes that came and bytes in all, by short digest
        self._present: set[str] = set()

    def take(self, event: dict[str, Any]) -> None:
        """Count one event of the engine."""
        layer, status = event.get("id", ""), event.get("status", "")
        done, total = self._layers.get(layer, (0, 0))
        if status == "Pulling fs layer":
            self._layers[layer] = 0, self._sizes.get(layer, 0)
        elif status == "Already exists":
            self._present.add(layer)
        elif status == "Downloading":
            detail = event.get("progressDetail", {})
            self._layers[layer] = detail.get("current", done), max(total, detail.get("total", 0))
        elif status in ("Verifying Checksum", "Download complete", "Pull complete") and layer in self._layers:
            self._layers[layer] = total, total

    @property
    def done(self) -> int:
        return sum(done for done, _ in self._layers.values())

    @property
    def total(self) -> int:
        """Bytes of all layers that the engine has named so far."""
        return sum(total for _, total in self._layers.values())

    @property
    def expected(self) -> int:
        """The same with the layers that the engine has not come to yet."""
        ahead = self._sizes.keys() - self._layers.keys() - self._present
        return self.total + sum(self._sizes[layer] for layer in ahead)
