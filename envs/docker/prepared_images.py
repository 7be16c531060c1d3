"""Prepared images on an engine: what `envs.base.prepare_image` made for attempts to start from, with its size.

Each is a tag and a volume. If the image held commits later than the base, the tag names a scrubbed copy of it, and
otherwise the image itself, which then stays on the engine even if its own name is removed. Guarantees: `remove` takes
nothing that a container or another image uses. A run that needs a removed one prepares its image again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from docker.errors import APIError, DockerException, NotFound

from envs.base import IMAGE_LABEL, VERSION, VERSION_LABEL
from envs.base import NAME as BASE
from envs.docker.client import brief
from envs.docker.image_pulls import CONNECTION_ERRORS
from envs.docker.orphans import LABEL
from envs.sandbox import SandboxLost

if TYPE_CHECKING:
    import docker

__all__ = ["PreparedImageFound", "bytes_prepared", "prepared_images", "remove_prepared"]

KEY_LABEL = f"{BASE}.key"
RUN_LABEL = f"{LABEL}.run"  # of what belongs to a run; in a prepared image it is emptied
PREPARING_SECONDS = 3600.0  # after which whoever prepares an image is dead


@dataclass(frozen=True, slots=True)
class PreparedImageFound:
    """A prepared image on an engine.

    `image` is the name of the image that it was made from, or the beginning of its id where it has no name any more;
    `source` is its id.
    `tag` is empty while it is being prepared, and for ever if the runner was killed then. `bytes` is what goes if it is
    removed: the volume, and the layers that no other image has; None if the engine does not tell. `why_useless` is why
    no run can use it; empty if one can.
    """

    image: str
    source: str
    tag: str
    volume: str
    bytes: int | None
    in_use: bool
    why_useless: str


def prepared_images(client: docker.DockerClient, now: float) -> list[PreparedImageFound]:
    """All prepared images on the engine, by the name of their image. `now` in Unix seconds.

    Blocking: the engine measures every volume, which takes seconds where there are many. Raises `SandboxLost` if the
    engine does not answer.
    """
    with _answers():
        return _found(client, now)


def bytes_prepared(client: docker.DockerClient, now: float) -> dict[str, int]:
    """Bytes of what was prepared from each image, by its id, beside the image itself. As `prepared_images`."""
    total: Counter[str] = Counter()
    for one in prepared_images(client, now):
        total[one.source] += one.bytes or 0
    return total


def _found(client: docker.DockerClient, now: float) -> list[PreparedImageFound]:
    images, sizes = client.api.images(), _Sizes.asked(client)
    names = {image["Id"]: _own_names(image) for image in images}
    tagged = {key: (tag, image) for image in images for tag in image["RepoTags"] or () if (key := _key(tag))}
    volumes = {
        volume["Labels"][KEY_LABEL]: volume
        for volume in client.api.volumes(filters={"label": KEY_LABEL})["Volumes"] or ()
    }
    used = _used(client.api.containers(all=True))
    # A snapshot has the label of its run, and no container where nothing was forked from it yet.
    snapped = {image.get("ParentId") for image in images if (image.get("Labels") or {}).get(RUN_LABEL)}
    found = []
    for key in tagged.keys() | volumes.keys():
        tag, image = tagged.get(key, ("", {}))
        volume = volumes.get(key, {})
        source = (volume.get("Labels") or image.get("Labels") or {}).get(IMAGE_LABEL) or image.get("Id", "")
        name = volume.get("Name", "")
        own = names.get(source, [])
        found.append(
            PreparedImageFound(
                image=own[0] if own else source.removeprefix("sha256:")[:12],
                source=source,
                tag=tag,
                volume=name,
                bytes=sizes.of(image, name),
                in_use=name in used or image.get("Id") in snapped or image.get("Id") in used - {source},
                why_useless=_why(own, bool(tag and name), volume, now),
            )
        )
    return sorted(found, key=lambda one: (one.image, one.tag, one.volume))


def remove_prepared(client: docker.DockerClient, found: PreparedImageFound) -> bool:
    """Remove a prepared image. Returns whether it did: not if something uses it. Raises as `prepared_images` does."""
    # The volume first: the engine refuses to remove it while a container has it, and the tag alone is not used.
    for remove, name in ((client.api.remove_volume, found.volume), (client.api.remove_image, found.tag)):
        try:
            with _answers():
                if name:
                    remove(name)
        except NotFound:
            continue
        except APIError:
            return False
    return True


@contextmanager
def _answers() -> Iterator[None]:
    """Raises `SandboxLost` if the engine fails; its refusals stay what they are."""
    try:
        yield
    except (DockerException, *CONNECTION_ERRORS) as error:
        if isinstance(error, APIError) and error.is_client_error():
            raise
        raise SandboxLost(f"the Docker engine did not answer ({brief(error)})") from None


@dataclass(frozen=True, slots=True)
class _Sizes:
    """Bytes of each image without the layers that others share, by id, and of each volume, by name."""

    images: Mapping[str, int]
    volumes: Mapping[str, int]

    @classmethod
    def asked(cls, client: docker.DockerClient) -> _Sizes:
        try:
            usage = client.api.df()
        except (DockerException, *CONNECTION_ERRORS):  # it takes too long, or the engine is only compatible
            usage = {}
        own = {image["Id"]: image["Size"] - max(0, image.get("SharedSize", 0)) for image in usage.get("Images") or ()}
        data = {volume["Name"]: volume.get("UsageData") or {} for volume in usage.get("Volumes") or ()}
        return cls(own, {name: of["Size"] for name, of in data.items() if of.get("Size", -1) >= 0})

    def of(self, image: Mapping[str, Any], volume: str) -> int | None:
        """What is freed if the volume is removed, and the image's tag with it."""
        alone = bool(image) and len(image["RepoTags"]) == 1  # its layers go with its last name only
        layers = self.images.get(image["Id"]) if alone else 0
        kept = self.volumes.get(volume) if volume else 0
        return None if layers is None or kept is None else layers + kept


def _why(own: list[str], complete: bool, volume: Mapping[str, Any], now: float) -> str:
    if not own:
        return "its image is gone"
    if complete:
        earlier = int((volume.get("Labels") or {}).get(VERSION_LABEL, 0)) < VERSION
        return "of an earlier version" if earlier else ""
    made = datetime.fromisoformat(volume["CreatedAt"]) if volume.get("CreatedAt") else datetime.min.replace(tzinfo=UTC)
    return "incomplete" if now - made.timestamp() > PREPARING_SECONDS else ""


def _key(tag: str) -> str:
    name, _, rest = tag.rpartition(":")
    return rest.partition("-")[0] if name.rpartition("/")[2] == BASE else ""


def _own_names(image: Mapping[str, Any]) -> list[str]:
    """The names of an image that are not those of prepared ones."""
    return [name for name in (*(image["RepoTags"] or ()), *(image["RepoDigests"] or ())) if _named(name)]


def _named(name: str) -> bool:
    return not _key(name) and "<none>" not in name and name.partition("@")[0].rpartition("/")[2] != BASE


def _used(containers: Iterable[Mapping[str, Any]]) -> set[str]:
    """The ids of the images and the names of the volumes that containers have."""
    return {
        name
        for container in containers
        for name in (container["ImageID"], *(mount.get("Name", "") for mount in container.get("Mounts") or ()))
        if name
    }
