"""Images on an engine: present when they are needed, pulled once per machine, removed under a quota.

Guarantees: threads and processes that want the same image wait for one pull of it; a pull that cannot fit on the disk
is refused with what it needs and what is free; what may be removed is in `envs.docker.image_quota`.

Sizes are upper bounds: layers that several images share are counted with each of them. All methods block; they may be
called from many threads.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docker.errors import APIError, DockerException, ImageNotFound

from envs.cache_folder import cache_folder
from envs.docker.client import brief
from envs.docker.engine_disk import FLOOR_GB, GB, EngineDisk, peak_bytes, unpacked_bytes
from envs.docker.image_index import ImageIndex, PulledImage
from envs.docker.image_locks import ImageLocks
from envs.docker.image_names import canonical_platform
from envs.docker.image_pulls import CONNECTION_ERRORS, ImagePuller, PullFailed, PullFault
from envs.docker.image_quota import IDLE_SECONDS, ImageQuota
from envs.docker.image_registry import ImageRegistry
from envs.events import Sink, Status, Warned, ignore
from envs.sandbox import SandboxLost, SandboxUnavailable

if TYPE_CHECKING:
    import docker

__all__ = ["Images", "PullPlan", "image_index_path"]

# With more free space than this no sizes are asked for: registries count such a request like a pull.
ROOMY_GB = 25.0
TOUCH_SECONDS = 60.0  # how exactly the last use is recorded
SIZE_THREADS = 8
SAMPLE = 5  # images whose sizes stand for the others', where a registry counts requests


@dataclass(frozen=True, slots=True)
class PullPlan:
    """What it takes to have a list of images. Bytes are estimates from above.

    `bytes` is None if no size is known, and scaled up if the sizes of only `known` of the missing images are known.
    `free` is None if the engine's disk cannot be seen from here; `place` names that disk.
    """

    here: tuple[str, ...]
    missing: tuple[str, ...]
    bytes: int | None
    known: int
    free: int | None
    place: str


class Images:
    """The images of one engine.

    `mirror` is a prefix under which images are looked for first ("mirror.example/hub"); `platform` is the one that
    they must be for ("linux/amd64"), the engine's own if empty; `quota_gb` limits what the images that this program
    pulled may take, None for no limit; `index` is the file that records them; `moved` gets (image, bytes so far, bytes
    in all) of a pull, which are told as `Status` without it; `floor_gb` of the engine's disk stay free; `patience`
    scales the pauses between tries; `clock` gives Unix seconds.
    """

    def __init__(
        self,
        client: docker.DockerClient,
        *,
        mirror: str = "",
        platform: str = "",
        quota_gb: float | None = None,
        index: Path | None = None,
        events: Sink = ignore,
        moved: Callable[[str, int, int], None] | None = None,
        floor_gb: float = FLOOR_GB,
        patience: float = 1.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._client, self._events, self._clock = client, events, clock
        self._mirror = mirror.rstrip("/")
        self._wanted = canonical_platform(platform) if platform else ""
        self._limit = None if quota_gb is None else int(quota_gb * GB)
        self._touched: dict[str, float] = {}
        self._known: dict[str, str] = {}
        self._stopped = threading.Event()
        try:
            info, version = client.info(), client.version()
        except (DockerException, *CONNECTION_ERRORS) as error:
            raise SandboxUnavailable(f"the Docker engine does not answer ({brief(error)}); start it again") from None
        self._engine = str(info.get("ID") or client.api.base_url)
        self._disk = EngineDisk(client, info, floor_gb)
        self._registry = ImageRegistry(
            info.get("IndexServerAddress") or "",
            self._wanted or canonical_platform(f"{version['Os']}/{version['Arch']}"),
        )
        self._index = ImageIndex(index or image_index_path())
        self._locks = ImageLocks(self._index.path.with_suffix(".locks"), self._engine, self._stopped, events)
        self._quota = ImageQuota(client, self._engine, self._index, self._locks, events, clock)
        self._puller = ImagePuller(
            client,
            platform=self._wanted,
            disk=self._disk,
            remedy="let --image-quota remove unused images" if quota_gb is None else "give a smaller --image-quota",
            stopped=self._stopped,
            events=events,
            moved=moved,
            patience=patience,
        )

    # presence

    def have(self, image: str) -> str:
        """The id of an image that is on the engine now, pulled if it was not.

        Raises `SandboxUnavailable` if it cannot be had, `SandboxLost` if the engine is gone.
        """
        identity = self._known.get(image)
        if identity is None:
            identity = self._present(image)
            if identity is None:
                with self._locks.locked(image):
                    identity = self._present(image) or self._pull(image)
            self._known[image] = identity
        self.touch(image)
        return identity

    def forget(self, image: str) -> None:
        """Ask the engine again the next time, because it has said that the image is gone."""
        self._known.pop(image, None)

    def touch(self, image: str) -> None:
        """Record that an image is in use, so that it is not the next to be removed. Cheap."""
        now = self._clock()
        if now - self._touched.get(image, float("-inf")) < TOUCH_SECONDS:
            return
        self._touched[image] = now
        try:
            self._index.touch(self._engine, image, now)
        except (sqlite3.Error, OSError):
            pass  # it may be removed too early, and is then pulled again

    def stop(self) -> None:
        """End the pulls in progress; they raise `SandboxUnavailable`."""
        self._stopped.set()

    def _present(self, image: str) -> str | None:
        """The id of an image that is on the engine. Raises `SandboxUnavailable` if it is for another platform."""
        found = self._inspect(image)
        if found is None and self._mirror and "@" in image:
            found = self._inspect(f"{self._mirror}/{image}")  # an image with a digest keeps the mirror's name
        if found is None:
            return None
        platform = "/".join(filter(None, (found.get("Os"), found.get("Architecture"), found.get("Variant"))))
        # A variant counts only where both sides name one.
        if any(a != b for a, b in zip(platform.split("/"), self._wanted.split("/"), strict=False) if a and b):
            raise SandboxUnavailable(
                f"image {image} is here for {platform}, and {self._wanted} is asked for; remove it "
                f"(docker rmi {image}), or ask for its own platform with --platform {platform}"
            )
        return str(found["Id"])

    def _inspect(self, name: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = self._client.api.inspect_image(name)
        except ImageNotFound:
            return None
        except (DockerException, *CONNECTION_ERRORS) as error:
            if isinstance(error, APIError) and error.is_client_error():
                raise SandboxUnavailable(f"image {name}: {brief(error)}; correct its name") from None
            raise SandboxLost(f"the Docker engine did not answer when asked for {name} ({brief(error)})") from None
        return found

    # pulls

    def _pull(self, image: str) -> str:
        """Pull an image from the mirror or from its own registry. Returns its id."""
        causes, remedy = [], ""
        for name in [f"{self._mirror}/{image}"] * bool(self._mirror) + [image]:
            try:
                self._puller.pull(name, image, self._make_room(name, image))
            except PullFailed as failed:
                causes.append(f"{name}: {failed.cause}" if self._mirror else failed.cause)
                remedy = failed.remedy
                if failed.fault is not PullFault.ABSENT:
                    break
                if name != image:
                    self._events(Status(f"{name} is not there ({failed.cause}); trying {image}"))
                continue
            if name != image and "@" not in image:
                self._rename(name, image)
            return self._record(image, name)
        raise SandboxUnavailable(
            f"image {image} is not on this machine and cannot be pulled ({'; '.join(causes)}); {remedy}"
        )

    def _rename(self, name: str, image: str) -> None:
        try:
            plain, _, tag = image.rpartition(":") if ":" in image.rpartition("/")[2] else (image, "", "latest")
            self._client.api.tag(name, plain, tag)
            self._client.api.remove_image(name)  # removes the mirror's name only: the image now has its own
        except (DockerException, *CONNECTION_ERRORS) as error:
            raise SandboxLost(f"image {name} could not be named {image} ({brief(error)})") from None

    def _record(self, image: str, name: str) -> str:
        """Record an image that was pulled as `name`. Returns its id."""
        kept = name if "@" in image else image  # an image with a digest cannot be given another name
        try:
            found = self._client.api.inspect_image(kept)
        except (DockerException, *CONNECTION_ERRORS) as error:
            raise SandboxLost(f"image {image} is gone again just after it was pulled ({brief(error)})") from None
        now = self._clock()
        self._touched[image] = now
        try:
            self._index.record(self._engine, PulledImage(kept, found["Id"], found["Size"], now, now))
        except (sqlite3.Error, OSError) as error:
            self._events(
                Warned(f"{image} cannot be recorded in {self._index.path} ({error}), so no quota will remove it")
            )
        if self._limit is not None:
            self._shrink(self._limit, self._limit, {image, kept})
        return self._present(kept) or str(found["Id"])  # only now is it known for which platform it is

    # disk space

    def _make_room(self, name: str, image: str) -> dict[str, int]:
        """Remove other images as far as the quota allows it. Returns the sizes of this one's layers, if they matter."""
        free = self._disk.free()
        if self._limit is None and (free is None or free > ROOMY_GB * GB):
            return {}
        sizes = self._registry.layers(name) or {}
        if self._limit is not None:
            unpacked = int(unpacked_bytes(sum(sizes.values())))
            if unpacked > self._limit:
                raise SandboxUnavailable(
                    f"image {image} takes about {unpacked / GB:.1f} GB, more than the whole --image-quota of "
                    f"{self._limit / GB:.1f} GB; give a larger one"
                )
            short = 0 if free is None else max(0, int(peak_bytes(sum(sizes.values()))) - free)
            ours = sum(entry.bytes for entry in self.listed())
            self._shrink(min(self._limit - unpacked, ours - short), self._limit, {image})
        return sizes

    def _shrink(self, target: int, limit: int, keep: set[str]) -> None:
        """Remove images down to `target` bytes; tell if more than `limit` stay."""
        self.evict(keep, quota_gb=target / GB)
        left = sum(entry.bytes for entry in self.listed())
        if left > limit:
            over = (left - limit) / GB
            self._events(Status(f"{over:.1f} GB over the image quota for now: all images left were used just now"))

    def plan(self, images: Iterable[str]) -> PullPlan:
        """What having all of these would take. Asks the registry for sizes, pulls nothing. Raises as `have` does."""
        wanted = list(dict.fromkeys(images))
        here = tuple(image for image in wanted if self._present(image) is not None)
        missing = tuple(image for image in wanted if image not in here)
        found = [self._layers(image) for image in missing[:1]]
        if any(found):  # else the registry is out of reach, and each further image would wait for it too
            with ThreadPoolExecutor(SIZE_THREADS) as threads:
                found += threads.map(self._layers, missing[1:SAMPLE])
                if not self._registry.metered:
                    found += threads.map(self._layers, missing[SAMPLE:])
        known = [layers for layers in found if layers is not None]
        once = {digest: size for layers in known for digest, size in layers.items()}  # shared layers are pulled once
        total = int(unpacked_bytes(sum(once.values())) * len(missing) / len(known)) if known else None
        return PullPlan(here, missing, total if missing else 0, len(known), self._disk.free(), self._disk.place)

    def _layers(self, image: str) -> dict[str, int] | None:
        mirrored = self._registry.layers(f"{self._mirror}/{image}") if self._mirror else None
        return mirrored or self._registry.layers(image)

    def listed(self, *, prepared: bool = True) -> tuple[PulledImage, ...]:
        """The images that this program pulled and that are still here. See `ImageQuota.listed`."""
        return self._quota.listed(prepared=prepared)

    def evict(
        self,
        keep: Collection[str] = (),
        *,
        quota_gb: float | None = None,
        idle_seconds: float = IDLE_SECONDS,
        dry_run: bool = False,
    ) -> tuple[PulledImage, ...]:
        """Remove the least recently used images until all together are within the quota. See `ImageQuota.evict`."""
        limit = self._limit if quota_gb is None else int(quota_gb * GB)
        if limit is None:
            return ()
        removed = self._quota.evict(limit, keep, idle_seconds=idle_seconds, dry_run=dry_run)
        if not dry_run:
            for entry in removed:
                self.forget(entry.image)
        return removed


def image_index_path() -> Path:
    """The file that records which images were pulled, in the user's cache."""
    return cache_folder() / "images.sqlite"
