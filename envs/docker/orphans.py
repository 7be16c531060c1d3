"""Orphans on an engine: containers, images and volumes that killed runs left behind.

Everything that a run makes on an engine carries `owner_labels`. An orphan carries them too, and its owner is dead, or
its deadline has passed where it cannot be known whether the owner lives. Guarantees: a thing without these labels is
never an orphan, nor is one whose owner lives on this host, however old it is.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from envs.docker.owner import Owner

if TYPE_CHECKING:
    import docker

__all__ = ["LABEL", "Orphan", "orphans", "owner_labels", "remove"]

LABEL = "coding-monkeys"  # the labels are LABEL.run, LABEL.for, LABEL.owner and LABEL.deadline
REMOVING = "is already in progress"  # in the engine's message when the thing is already being removed
Kind = Literal["container", "image", "volume"]


@dataclass(frozen=True, slots=True)
class Orphan:
    """One orphan. `what` is its name for people, `why` the reason that it counts as an orphan."""

    kind: Kind
    id: str
    what: str
    run: str
    owner: str
    why: str


def owner_labels(run: str, label: str, seconds: float) -> dict[str, str]:
    """The labels of a thing that this process makes for `label` and that must be gone after `seconds`."""
    deadline = str(int(time.time() + seconds))
    values = {"run": run, "for": label, "owner": str(Owner.me()), "deadline": deadline}
    return {f"{LABEL}.{name}": value for name, value in values.items()}


def orphans(client: docker.DockerClient, now: float) -> list[Orphan]:
    """All orphans on the engine, in the order in which they can be removed. `now` in Unix seconds.

    Blocking. Raises the SDK's `DockerException` and requests' `RequestException`.
    """
    return [
        Orphan(kind, identity, what, labels[f"{LABEL}.run"], labels[f"{LABEL}.owner"], why)
        for kind, identity, what, labels in _labelled(client)
        if (why := _why(labels, now))
    ]


def _labelled(client: docker.DockerClient) -> Iterator[tuple[Kind, str, str, dict[str, str]]]:
    """Kind, id, name and labels of everything that a run made."""
    api, labelled = client.api, {"label": f"{LABEL}.run"}
    for each in api.containers(all=True, filters=labelled):
        yield "container", each["Id"], f"{each['Names'][0].strip('/')} ({each['State']})", each["Labels"]
    for each in api.images(filters=labelled):
        yield "image", each["Id"], (each["RepoTags"] or [each["Id"]])[0], each["Labels"]
    for each in api.volumes(filters=labelled)["Volumes"] or ():
        yield "volume", each["Name"], each["Name"], each["Labels"]


def remove(client: docker.DockerClient, orphan: Orphan) -> None:
    """Remove an orphan, unless it is already gone. Blocking. Raises as `orphans` does, also if it is in use."""
    from docker.errors import APIError, NotFound

    try:
        if orphan.kind == "container":
            client.api.remove_container(orphan.id, force=True)
        elif orphan.kind == "image":
            client.api.remove_image(orphan.id)
        else:
            client.api.remove_volume(orphan.id)
    except NotFound:
        pass
    except APIError as error:
        if REMOVING not in str(error.explanation):
            raise


def _why(labels: Mapping[str, str], now: float) -> str:
    """The reason that a thing with these labels is an orphan; empty if it is none."""
    try:
        owner = Owner.parse(labels[f"{LABEL}.owner"])
        deadline = float(labels[f"{LABEL}.deadline"])
    except (LookupError, ValueError):  # not written by `owner_labels`
        return ""
    alive = owner.alive()
    if alive is None:
        return f"its deadline passed {now - deadline:.0f} s ago" if now > deadline else ""
    return "" if alive else f"its owner, process {owner.pid}, is dead"
