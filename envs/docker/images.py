"""Images on an engine: there when they are needed, pulled once per machine, removed under a quota.

Guarantees: threads and processes that want the same image wait for one pull of it; a
pull that cannot fit on the disk is refused with what it needs and what there is; only
images that this program pulled are ever removed, least recently used first, never one
that a container or another image stands on, never one used within the last ten minutes
unless asked to.

Sizes are upper bounds: layers that several images share are counted with each of them.
All methods block; they may be called from many threads.
"""

from __future__ import annotations

import fcntl
import gc
import hashlib
import os
import shutil
import socket
import sqlite3
import threading
import time
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import docker
import requests
import tenacity
import urllib3
from docker.errors import APIError, DockerException, ImageNotFound

from envs.base import IMAGE_LABEL
from envs.base import NAME as BASE
from envs.docker.image_index import ImageIndex, Pulled
from envs.docker.image_registry import ImageRegistry
from envs.docker.orphans import LABEL
from envs.sandbox import SandboxLost, SandboxUnavailable

__all__ = ["Images", "PullPlan", "connect", "ledger_path"]

MB, GB = 1e6, 1e9
# gzip leaves 42 % of a SWE-bench image (measured on two); an engine holds both forms of a layer for a while.
UNPACKED = 2.5
FLOOR_GB = 2.0  # left free on the engine's disk, for containers to write to
# With more room than this over the floor nobody is asked for sizes: registries count it like a pull.
ROOMY_GB = 25.0
IDLE_SECONDS = 600.0  # an image used since then may be about to be used again, by any process
TOUCH_SECONDS = 60.0  # how exactly the last use is known
SAY_SECONDS = 2.0  # between two lines about one pull
TRIES = 5
ASKERS = 8
SAMPLE = 5  # images whose sizes stand for the others', where a registry counts the questions
RUN_LABEL = f"{LABEL}.run"  # of what belongs to a run
IN_THE_WAY = (requests.RequestException, urllib3.exceptions.HTTPError)

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


def connect(timeout: float = 120.0) -> docker.DockerClient:
    """The engine that DOCKER_HOST names, or the one on this machine. Raises `SandboxUnavailable`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # the SDK leaves a socket behind where there is no engine
        try:
            return docker.from_env(timeout=timeout)
        except DockerException as error:
            where, cause = os.environ.get("DOCKER_HOST", "the default socket"), brief(error)
        gc.collect()
    raise SandboxUnavailable(f"no Docker engine answers at {where} ({cause}); start it, or set DOCKER_HOST")


@dataclass(frozen=True, slots=True)
class PullPlan:
    """What pulling a list of images would come to. Bytes are estimates from above.

    `bytes` is None if no size is known, and scaled up if only `known` of the missing ones
    have told theirs; `free` is None if the engine's disk cannot be seen from here.
    """

    here: tuple[str, ...]
    missing: tuple[str, ...]
    bytes: int | None
    known: int
    free: int | None
    place: str


class Images:
    """The images of one engine.

    `mirror` is a prefix that images are looked for under first ("mirror.example/hub");
    `platform` is what they must be for ("linux/amd64"), the engine's own if empty;
    `quota_gb` is how much of our images may stay, nothing being removed without it;
    `progress` gets lines to show; `moved` gets (image, bytes so far, bytes in all), which
    are told in lines if it is not given.
    """

    def __init__(
        self,
        client: docker.DockerClient,
        *,
        mirror: str = "",
        platform: str = "",
        quota_gb: float | None = None,
        ledger: Path | None = None,
        progress: Callable[[str], None] = lambda line: None,
        moved: Callable[[str, int, int], None] | None = None,
        floor_gb: float = FLOOR_GB,
        patience: float = 1.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._client, self._clock, self._patience = client, clock, patience
        self._mirror = mirror.rstrip("/")
        self._asked = _platform(platform) if platform else ""
        self._quota = None if quota_gb is None else int(quota_gb * GB)
        self._floor = int(floor_gb * GB)
        self._progress, self._moved = progress, moved
        self._ledger = ImageIndex(ledger or ledger_path())
        self._touched: dict[str, float] = {}
        self._known: dict[str, str] = {}
        self._stopped = threading.Event()
        try:
            info, version = client.info(), client.version()
        except (DockerException, *IN_THE_WAY) as error:
            raise SandboxUnavailable(f"the Docker engine does not answer ({brief(error)}); start it again") from None
        self._engine = str(info.get("ID") or client.api.base_url)
        self._disk, self._place = _disk(client, info)
        self._registry = ImageRegistry(
            info.get("IndexServerAddress") or "", self._asked or _platform(f"{version['Os']}/{version['Arch']}")
        )

    # having them

    def have(self, image: str) -> str:
        """The id of an image that is on the engine now, pulled if it was not.

        Raises `SandboxUnavailable` if it cannot be had, `SandboxLost` if the engine is gone.
        """
        identity = self._known.get(image)
        if identity is None:
            identity = self._here(image)
            if identity is None:
                with self._alone(image):
                    identity = self._here(image) or self._pull(image)
            self._known[image] = identity
        self.touch(image)
        return identity

    def forget(self, image: str) -> None:
        """Look again next time: the engine has said that the image is not there any more."""
        self._known.pop(image, None)

    def touch(self, image: str) -> None:
        """Note that an image is in use, so that it is not the next to be removed. Cheap."""
        now = self._clock()
        if now - self._touched.get(image, float("-inf")) < TOUCH_SECONDS:
            return
        self._touched[image] = now
        try:
            self._ledger.touch(self._engine, image, now)
        except (sqlite3.Error, OSError):
            pass  # it may be removed too early, and is then pulled again

    def stop(self) -> None:
        """End the pulls under way; they raise `SandboxUnavailable`."""
        self._stopped.set()

    def _here(self, image: str) -> str | None:
        """The id of an image that is on the engine. Raises `SandboxUnavailable` if it is for another platform."""
        found = self._inspected(image)
        if found is None and self._mirror and "@" in image:
            found = self._inspected(f"{self._mirror}/{image}")  # a digest keeps the name that it came by
        if found is None:
            return None
        there = "/".join(filter(None, (found.get("Os"), found.get("Architecture"), found.get("Variant"))))
        # A variant counts only where both sides name one.
        if any(a != b for a, b in zip(there.split("/"), self._asked.split("/"), strict=False) if a and b):
            raise SandboxUnavailable(
                f"image {image} is here for {there}, and {self._asked} is asked for; remove it "
                f"(docker rmi {image}), or ask for its own platform with --platform {there}"
            )
        return str(found["Id"])

    def _inspected(self, name: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = self._client.api.inspect_image(name)
        except ImageNotFound:
            return None
        except (DockerException, *IN_THE_WAY) as error:
            if isinstance(error, APIError) and error.is_client_error():
                raise SandboxUnavailable(f"image {name}: {brief(error)}; mend its name") from None
            raise SandboxLost(f"the Docker engine did not answer when asked for {name} ({brief(error)})") from None
        return found

    @contextmanager
    def _alone(self, image: str, *, wait: bool = True) -> Iterator[bool]:
        """Nobody else on this machine pulls or removes this image meanwhile. False if one does and we do not wait."""
        key = hashlib.sha256(f"{self._engine} {image}".encode()).hexdigest()[:24]
        path = self._ledger.path.with_suffix(".locks") / key
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise SandboxUnavailable(
                f"cannot write {path} ({error.strerror}), without which two processes may pull {image} at once; "
                "set XDG_CACHE_HOME to a folder that can be written"
            ) from None
        try:
            yield self._locked(file, image, wait)
        finally:
            os.close(file)  # and with it the lock, as when we are killed

    def _locked(self, file: int, image: str, wait: bool) -> bool:
        said = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except BlockingIOError:
                if not wait:
                    return False
            if not said:
                self._progress(f"waiting for {image}, which is being pulled already")
                said = True
            if self._stopped.wait(0.1):
                raise _stopped(image)

    # pulling

    def _pull(self, image: str) -> str:
        causes = []
        for name in [f"{self._mirror}/{image}"] * bool(self._mirror) + [image]:
            try:
                self._pull_as(name, image)
            except _Failed as failed:
                causes.append(f"{name}: {failed.cause}" if self._mirror else failed.cause)
                if failed.fault is not PullFault.ABSENT:
                    break
                if name != image:
                    self._progress(f"{name} is not there ({failed.cause}); trying {image}")
                continue
            if name != image and "@" not in image:
                self._rename(name, image)
            return self._pulled(image, name)
        raise SandboxUnavailable(
            f"image {image} is not on this machine and cannot be pulled ({'; '.join(causes)}); {_remedy(causes[-1])}"
        )

    def _pull_as(self, name: str, image: str) -> None:
        """Pull under this name, again and again while the trouble may pass. Raises `_Failed`."""
        sizes = self._make_room(name, image)
        began = time.monotonic()

        def wait(state: tenacity.RetryCallState) -> None:
            failure = state.outcome.exception() if state.outcome else None
            pause = state.next_action.sleep if state.next_action else 0.0
            self._progress(f"pulling {image}: {failure}; once more in {pause:.0f} s")

        tries = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(TRIES),
            wait=tenacity.wait_random_exponential(multiplier=self._patience, min=self._patience, max=60),
            retry=tenacity.retry_if_exception(
                lambda error: isinstance(error, _Failed) and error.fault is PullFault.PASSING
            ),
            sleep=tenacity.sleep_using_event(self._stopped),
            before_sleep=wait,
            reraise=True,
        )
        done = tries(self._stream, name, image, sizes)
        self._progress(f"pulled {image}: {done / MB:,.1f} MB in {time.monotonic() - began:.1f} s")

    def _stream(self, name: str, image: str, sizes: dict[str, int]) -> int:
        """One pull from its first to its last event. The bytes that came. Raises `_Failed`."""
        room = self._room()
        pull = _Progress(sizes)
        said = float("-inf")
        self._progress(f"pulling {image}")
        try:
            for event in self._events(name, image):
                if "error" in event:
                    raise _Failed(str(event["error"]))
                pull.take(event)
                if room is not None and pull.surely > room:
                    raise self._too_large(image, pull.needs, room)
                if self._moved is not None:
                    self._moved(image, pull.done, pull.total)
                elif pull.news and (pull.done == pull.total or time.monotonic() - said > SAY_SECONDS):
                    said = time.monotonic()
                    self._progress(f"pulling {image}: {pull.done / MB:,.1f} of {pull.total / MB:,.1f} MB")
                    pull.shown = pull.done
        except APIError as error:
            raise _Failed(brief(error)) from None
        except (DockerException, *IN_THE_WAY) as error:
            raise _Failed(f"connection to the engine: {brief(error)}") from None
        return pull.done

    def _events(self, name: str, image: str) -> Iterator[dict[str, Any]]:
        """What the engine says about a pull. Once nobody listens any more it gives the pull up.

        Read in a thread of its own, for the engine may be silent for long and we may be stopped meanwhile.
        """
        said: SimpleQueue[dict[str, Any] | Exception | None] = SimpleQueue()
        over = threading.Event()

        def listen() -> None:
            try:
                for event in self._client.api.pull(name, stream=True, decode=True, platform=self._asked or None):
                    if over.is_set():
                        return
                    said.put(event)
                said.put(None)
            except Exception as error:  # raised again where it is waited for
                said.put(error)

        threading.Thread(target=listen, name=f"pull {name}", daemon=True).start()
        try:
            while not self._stopped.is_set():
                try:
                    event = said.get(timeout=0.1)
                except Empty:
                    continue
                if event is None:
                    return
                if isinstance(event, Exception):
                    raise event
                yield event
            raise _stopped(image)
        finally:
            over.set()

    def _rename(self, name: str, image: str) -> None:
        try:
            plain, _, tag = image.rpartition(":") if ":" in image.rpartition("/")[2] else (image, "", "latest")
            self._client.api.tag(name, plain, tag)
            self._client.api.remove_image(name)  # the name alone: the image has its plain one now
        except (DockerException, *IN_THE_WAY) as error:
            raise SandboxLost(f"image {name} could not be named {image} ({brief(error)})") from None

    def _pulled(self, image: str, name: str) -> str:
        """Note what came. The image's id."""
        kept = name if "@" in image else image  # what has a digest for a name cannot be given another one
        try:
            found = self._client.api.inspect_image(kept)
        except (DockerException, *IN_THE_WAY) as error:
            raise SandboxLost(f"image {image} is gone again just after it was pulled ({brief(error)})") from None
        now = self._clock()
        self._touched[image] = now
        try:
            self._ledger.record(self._engine, Pulled(kept, found["Id"], found["Size"], now, now))
        except (sqlite3.Error, OSError) as error:
            self._progress(f"{image} cannot be noted in {self._ledger.path} ({error}), so no quota will remove it")
        if self._quota is not None:
            self._shrink(self._quota, {image, kept})
        return self._here(kept) or str(found["Id"])  # for another platform, it may turn out only now

    # room for them

    def _room(self) -> int | None:
        """Bytes that a pull may take on the engine's disk; None if that cannot be seen from here."""
        try:
            return None if self._disk is None else shutil.disk_usage(self._disk).free - self._floor
        except OSError:
            return None

    def _make_room(self, name: str, image: str) -> dict[str, int]:
        """Remove what the quota lets us remove for this image. The sizes of its layers, as far as they matter."""
        room = self._room()
        if self._quota is None and (room is None or room > ROOMY_GB * GB):
            return {}
        sizes = self._registry.layers(name) or {}
        if self._quota is not None:
            unpacked = int(sum(sizes.values()) * UNPACKED)
            if unpacked > self._quota:
                raise SandboxUnavailable(
                    f"image {image} takes about {unpacked / GB:.1f} GB, more than the whole --image-quota of "
                    f"{self._quota / GB:.1f} GB; give a larger one"
                )
            short = 0 if room is None else max(0, int(_needs(sum(sizes.values()))) - room)
            ours = sum(entry.bytes for entry in self.listed())
            self._shrink(min(self._quota - unpacked, ours - short), {image})
        return sizes

    def _shrink(self, limit: int, keep: set[str]) -> None:
        self.evict(keep, quota_gb=limit / GB)
        left = sum(entry.bytes for entry in self.listed())
        if self._quota is not None and left > self._quota:
            self._progress(
                f"{(left - self._quota) / GB:.1f} GB over the image quota for now: all that is left was just in use"
            )

    def _too_large(self, image: str, needs: float, room: int) -> SandboxUnavailable:
        free, floor = (room + self._floor) / GB, self._floor / GB
        remedy = "give a smaller --image-quota" if self._quota is not None else "let --image-quota remove unused images"
        return SandboxUnavailable(
            f"image {image} needs about {needs / GB:.2g} GB while it is unpacked, and {free:.2g} GB are free at "
            f"{self._place}, of which {floor:.2g} GB are to stay free; free some, or {remedy}"
        )

    def plan(self, images: Iterable[str]) -> PullPlan:
        """What having all of these would take. Asks the registry for sizes; pulls nothing. Raises as `have` does."""
        wanted = list(dict.fromkeys(images))
        here = tuple(image for image in wanted if self._here(image) is not None)
        missing = tuple(image for image in wanted if image not in here)
        found = [self._layers(image) for image in missing[:1]]
        if any(found):  # else the registry is out of reach, and every other image would wait for it too
            with ThreadPoolExecutor(ASKERS) as askers:
                found += askers.map(self._layers, missing[1:SAMPLE])
                if not self._registry.metered:
                    found += askers.map(self._layers, missing[SAMPLE:])
        told = [layers for layers in found if layers is not None]
        once = {digest: size for layers in told for digest, size in layers.items()}  # shared ones are pulled once
        total = int(sum(once.values()) * UNPACKED * len(missing) / len(told)) if told else None
        room = self._room()
        return PullPlan(here, missing, total if missing else 0, len(told), room, self._place)

    def _layers(self, image: str) -> dict[str, int] | None:
        mirrored = self._registry.layers(f"{self._mirror}/{image}") if self._mirror else None
        return mirrored or self._registry.layers(image)

    # removing them

    def listed(self) -> tuple[Pulled, ...]:
        """What we pulled and is still here, the least recently used first."""
        try:
            entries = self._ledger.all(self._engine)
        except (sqlite3.Error, OSError) as error:
            self._progress(f"{self._ledger.path} cannot be read ({error}), so no image of ours is known")
            return ()
        try:
            there = {name: image["Id"] for image in self._client.api.images() for name in _names(image)}
        except (DockerException, *IN_THE_WAY) as error:
            raise SandboxLost(f"the Docker engine did not answer ({brief(error)})") from None
        return tuple(entry for entry in entries if self._still_ours(entry, there.get(_full(entry.image))))

    def _still_ours(self, entry: Pulled, there: str | None) -> bool:
        if there == entry.id:
            return True
        try:  # removed or replaced by somebody else
            self._ledger.forget(self._engine, entry.image)
        except (sqlite3.Error, OSError):
            pass  # at the next look
        return False

    def evict(
        self,
        keep: Collection[str] = (),
        *,
        quota_gb: float | None = None,
        idle_seconds: float = IDLE_SECONDS,
        dry_run: bool = False,
    ) -> tuple[Pulled, ...]:
        """Remove the least recently used of our images until all of them come to no more than the quota.

        What was made from one (see `envs.base`: images, volumes) goes with it. Those that are in
        use, in `keep`, or were used less than `idle_seconds` ago stay, so that more than the
        quota may be left. Returns what was removed, or would be.
        """
        limit = self._quota if quota_gb is None else int(quota_gb * GB)
        if limit is None:
            return ()
        entries = self.listed()
        total = sum(entry.bytes for entry in entries)
        removed = []
        for entry in entries:
            if total <= limit:
                break
            if entry.image in keep or self._clock() - entry.used < idle_seconds:
                continue
            if self._remove(entry, dry_run):
                removed.append(entry)
                total -= entry.bytes
        return tuple(removed)

    def _remove(self, entry: Pulled, dry_run: bool) -> bool:
        """Remove one and what was made from it, unless something stands on them."""
        api = self._client.api
        with self._alone(entry.image, wait=False) as alone:
            if not alone:
                return False
            try:
                names = set(api.inspect_image(entry.id)["RepoTags"] or ()) - {_full(entry.image)}
                bases = sorted(name for name in names if name.startswith(f"{BASE}:"))
                if names - set(bases):  # somebody else has it under another name: then only ours goes
                    bases, derived = [], []
                else:
                    derived = api.images(filters={"label": f"{IMAGE_LABEL}={entry.id}"})
                family = {entry.id, *(image["Id"] for image in derived)}
                # A snapshot has the labels of what it was taken from too; a base has that of its run emptied.
                if any((image["Labels"] or {}).get(RUN_LABEL) for image in derived):
                    return False
                if api.containers(all=True, filters={"ancestor": sorted(family)}):
                    return False
                if any(image["ParentId"] in family and image["Id"] not in family for image in api.images(all=True)):
                    return False
                if dry_run:
                    return True
                if derived or bases:
                    for volume in api.volumes(filters={"label": f"{IMAGE_LABEL}={entry.id}"})["Volumes"] or ():
                        api.remove_volume(volume["Name"])
                for name in (*bases, *(image["Id"] for image in derived), entry.image):
                    api.remove_image(name)
            except (DockerException, *IN_THE_WAY):
                return False  # it came into use meanwhile
            self._still_ours(entry, None)
        self.forget(entry.image)
        self._progress(
            f"removed {entry.image}: {entry.bytes / GB:.2f} GB, last used {_ago(self._clock() - entry.used)}"
        )
        return True


# what goes wrong


class PullFault(Enum):
    """What to do about a pull that failed."""

    ABSENT = "look elsewhere"
    HOPELESS = "give up"
    PASSING = "try again"


class _Failed(Exception):
    """A pull failed; the fault is told from the engine's words, for its status is 500 for nearly all of them."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause

    @property
    def fault(self) -> PullFault:
        said = self.cause.lower()
        if any(words in said for words in HOPELESS):
            return PullFault.HOPELESS
        return PullFault.ABSENT if any(words in said for words in ABSENT) else PullFault.PASSING


def _remedy(cause: str) -> str:
    said = cause.lower()
    if "no matching manifest" in said:
        return "name a platform that it is made for with --platform, or leave its task out with --ids"
    if any(words in said for words in ("toomanyrequests", "429", "denied", "unauthorized", "no basic auth")):
        return "log in to its registry (docker login), name another with --image-mirror, or build it under this name"
    return (
        "build or load it under this name, name another registry with --image-mirror, or leave its task out with --ids"
    )


def _stopped(image: str) -> SandboxUnavailable:
    return SandboxUnavailable(f"the pull of {image} was stopped; the same again goes on with it")


def brief(error: BaseException) -> str:
    """One line of what the engine said."""
    text = str(getattr(error, "explanation", None) or error)
    return " ".join(text.split())[:300]


# what the engine says


class _Progress:
    """How far a pull is, from the engine's events. `sizes` of layers by digest help, and may be empty."""

    def __init__(self, sizes: dict[str, int]) -> None:
        self._sizes = {digest.partition(":")[2][:12]: size for digest, size in sizes.items()}
        self._layers: dict[str, tuple[int, int]] = {}  # bytes that came and bytes in all, by short digest
        self._here: set[str] = set()
        self.shown = -1

    def take(self, event: dict[str, Any]) -> None:
        layer, status = event.get("id", ""), event.get("status", "")
        done, total = self._layers.get(layer, (0, 0))
        if status == "Pulling fs layer":
            self._layers[layer] = 0, self._sizes.get(layer, 0)
        elif status == "Already exists":
            self._here.add(layer)
        elif status == "Downloading":
            detail = event.get("progressDetail", {})
            self._layers[layer] = detail.get("current", done), max(total, detail.get("total", 0))
        elif status in ("Verifying Checksum", "Download complete", "Pull complete") and layer in self._layers:
            self._layers[layer] = total, total

    @property
    def news(self) -> bool:
        """Whether more came than was shown."""
        return self.done > self.shown

    @property
    def done(self) -> int:
        return sum(done for done, _ in self._layers.values())

    @property
    def total(self) -> int:
        return sum(total for _, total in self._layers.values())

    @property
    def surely(self) -> float:
        """Bytes on the disk that this pull needs at the least, by what the engine has said so far."""
        return _needs(self.total)

    @property
    def needs(self) -> float:
        """The same with the layers that it has not come to yet."""
        ahead = self._sizes.keys() - self._layers.keys() - self._here
        return _needs(self.total + sum(self._sizes[layer] for layer in ahead))


def _needs(compressed: float) -> float:
    return compressed * (1 + UNPACKED)


def _disk(client: docker.DockerClient, info: dict[str, Any]) -> tuple[str | None, str]:
    """The folder on this machine where the engine keeps its images, if it does, and how to call it."""
    folder = str(info.get("DockerRootDir") or "")
    local = client.api.base_url.startswith("http+docker") and info.get("Name") == socket.gethostname()
    if local and os.path.isdir(folder):
        return folder, folder
    return None, f"{folder or 'the disk'} of the engine's machine"


def _platform(text: str) -> str:
    """`linux/amd64` or `linux/arm64/v8`, as engines write it."""
    names = {"x86_64": "amd64", "aarch64": "arm64"}
    parts = [names.get(part, part) for part in text.strip().lower().split("/")]
    if len(parts) not in (2, 3) or not all(parts):
        raise SandboxUnavailable(f"there is no platform {text!r}; give the system and the machine, like linux/amd64")
    return "/".join(parts)


def _names(image: dict[str, Any]) -> list[str]:
    """What an image is called on the engine, in full."""
    return [*(image.get("RepoTags") or ()), *(image.get("RepoDigests") or ())]


def _full(image: str) -> str:
    """The name with its tag, and without what the engine leaves out."""
    named, _, digest = image.removeprefix("docker.io/").removeprefix("library/").partition("@")
    folder, slash, last = named.rpartition("/")
    plain, _, tag = last.partition(":")
    return f"{folder}{slash}{plain}@{digest}" if digest else f"{folder}{slash}{plain}:{tag or 'latest'}"


def _ago(seconds: float) -> str:
    for unit, size in (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit} ago"
    return "just now"


def ledger_path() -> Path:
    """Where what was pulled is noted: the user's cache."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "coding-monkeys" / "images.sqlite"
