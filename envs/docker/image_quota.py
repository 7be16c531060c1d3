"""The disk quota of images: those that this program pulled are removed, the least recently used first.

What was prepared from an image counts with it, and goes with it. Guarantees: an image that this program did not pull is
never removed; nor is one that a container or another image was made from, nor one that was used within the last ten
minutes, unless asked to.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import TYPE_CHECKING

from docker.errors import DockerException

from envs.base import IMAGE_LABEL
from envs.base import NAME as BASE
from envs.docker.client import brief
from envs.docker.engine_disk import GB
from envs.docker.image_index import ImageIndex, PulledImage
from envs.docker.image_locks import ImageLocks
from envs.docker.image_names import full_name, listed_names
from envs.docker.image_pulls import CONNECTION_ERRORS
from envs.docker.orphans import LABEL
from envs.docker.prepared_images import bytes_prepared
from envs.events import Sink, Status, Warned
from envs.sandbox import SandboxLost

if TYPE_CHECKING:
    import docker

__all__ = ["IDLE_SECONDS", "ImageQuota"]

IDLE_SECONDS = 600.0  # an image used since then may be about to be used again, by any process
RUN_LABEL = f"{LABEL}.run"  # of what belongs to a run


class ImageQuota:
    """Keeps the images that this program pulled to one `engine` within a limit. `clock` gives Unix seconds."""

    def __init__(
        self,
        client: docker.DockerClient,
        engine: str,
        index: ImageIndex,
        locks: ImageLocks,
        events: Sink,
        clock: Callable[[], float],
    ) -> None:
        self._client, self._engine, self._index, self._locks = client, engine, index, locks
        self._events, self._clock = events, clock

    def listed(self, *, prepared: bool = True) -> tuple[PulledImage, ...]:
        """The images that this program pulled and that are still on the engine, the least recently used first.

        With `prepared` their bytes include what was prepared from them, which goes with them.
        """
        try:
            entries = self._index.all(self._engine)
        except (sqlite3.Error, OSError) as error:
            self._events(
                Warned(f"{self._index.path} cannot be read ({error}), so no image counts as pulled by this program")
            )
            return ()
        try:
            ids = {name: image["Id"] for image in self._client.api.images() for name in listed_names(image)}
        except (DockerException, *CONNECTION_ERRORS) as error:
            raise SandboxLost(f"the Docker engine did not answer ({brief(error)})") from None
        here = [entry for entry in entries if self._still_ours(entry, ids.get(full_name(entry.image)))]
        beside = bytes_prepared(self._client, self._clock()) if prepared and here else {}
        return tuple(replace(entry, bytes=entry.bytes + beside.get(entry.id, 0)) for entry in here)

    def _still_ours(self, entry: PulledImage, identity: str | None) -> bool:
        if identity == entry.id:
            return True
        try:  # somebody else removed or replaced it
            self._index.forget(self._engine, entry.image)
        except (sqlite3.Error, OSError):
            pass  # it is forgotten the next time
        return False

    def evict(
        self,
        limit: float,
        keep: Collection[str] = (),
        *,
        idle_seconds: float = IDLE_SECONDS,
        dry_run: bool = False,
    ) -> tuple[PulledImage, ...]:
        """Remove the least recently used until all together take at most `limit` bytes. Returns those removed.

        Images in `keep`, in use, or used less than `idle_seconds` ago stay, so more than the limit may be left. With
        `dry_run` nothing is removed.
        """
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

    def _remove(self, entry: PulledImage, dry_run: bool) -> bool:
        """Remove an image with what `envs.base` made from it, unless something is in use. Returns whether it did."""
        api = self._client.api
        with self._locks.locked(entry.image, wait=False) as locked:
            if not locked:
                return False
            try:
                names = set(api.inspect_image(entry.id)["RepoTags"] or ()) - {full_name(entry.image)}
                bases = sorted(name for name in names if name.startswith(f"{BASE}:"))
                if names - set(bases):  # somebody gave it another name: then only our name goes
                    bases, derived = [], []
                else:
                    derived = api.images(filters={"label": f"{IMAGE_LABEL}={entry.id}"})
                family = {entry.id, *(image["Id"] for image in derived)}
                # A snapshot also has the labels of the image below it; in a prepared base the run's label is emptied.
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
            except (DockerException, *CONNECTION_ERRORS):
                return False  # it came into use meanwhile
            self._still_ours(entry, None)
        used = _ago(self._clock() - entry.used)
        self._events(Status(f"removed {entry.image}: {entry.bytes / GB:.2f} GB, last used {used}"))
        return True


def _ago(seconds: float) -> str:
    for unit, size in (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit} ago"
    return "just now"
