"""What killed runs left on an engine: containers, images and volumes that nobody owns any more.

Whatever a run makes there carries `marks`. An orphan carries them too, and its owner is
dead, or it cannot be told whether and the deadline has passed. Guarantees: nothing without
our marks is one, nor anything of a living owner on this host, whatever its age.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from envs.docker.owner import Owner

if TYPE_CHECKING:
    import docker

__all__ = ["LABEL", "Orphan", "marks", "orphans", "remove"]

LABEL = "coding-monkeys"  # what is ours carries LABEL.run, .for, .owner and .deadline
GOING = "is already in progress"  # how an engine refuses to remove what it is removing
Kind = Literal["container", "image", "volume"]


@dataclass(frozen=True, slots=True)
class Orphan:
    """One left thing. `what` names it for people, `why` says what makes it an orphan."""

    kind: Kind
    id: str
    what: str
    run: str
    owner: str
    why: str


def marks(run: str, label: str, seconds: float) -> dict[str, str]:
    """The labels of something that this process makes for `label` and that must be gone in `seconds`."""
    deadline = str(int(time.time() + seconds))
    values = {"run": run, "for": label, "owner": str(Owner.me()), "deadline": deadline}
    return {f"{LABEL}.{name}": value for name, value in values.items()}


def orphans(client: docker.DockerClient, now: float) -> list[Orphan]:
    """All orphans on the engine, in the order in which they can be removed. `now` in Unix seconds.

    Blocking. Raises the SDK's `DockerException` and requests' `RequestException`.
    """
    judged = ((kind, identity, what, labels, _why(labels, now)) for kind, identity, what, labels in _ours(client))
    return [
        Orphan(kind, identity, what, labels[f"{LABEL}.run"], labels[f"{LABEL}.owner"], why)
        for kind, identity, what, labels, why in judged
        if why
    ]


def _ours(client: docker.DockerClient) -> Iterator[tuple[Kind, str, str, dict[str, str]]]:
    api, ours = client.api, {"label": f"{LABEL}.run"}
    for each in api.containers(all=True, filters=ours):
        yield "container", each["Id"], f"{each['Names'][0].strip('/')} ({each['State']})", each["Labels"]
    for each in api.images(filters=ours):
        yield "image", each["Id"], (each["RepoTags"] or [each["Id"]])[0], each["Labels"]
    for each in api.volumes(filters=ours)["Volumes"] or ():
        yield "volume", each["Name"], each["Name"], each["Labels"]


def remove(client: docker.DockerClient, orphan: Orphan) -> None:
    """Remove it; what is gone or going is no error. Blocking. Raises as `orphans` does, also if it is in use."""
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
        if GOING not in str(error.explanation):
            raise


def _why(labels: Mapping[str, str], now: float) -> str:
    """What makes an orphan of the thing that carries these labels; empty if it is none."""
    try:
        owner = Owner.parse(labels[f"{LABEL}.owner"])
        deadline = float(labels[f"{LABEL}.deadline"])
    except (LookupError, ValueError):  # not written by `marks`
        return ""
    alive = owner.alive()
    if alive is None:
        return f"its deadline passed {now - deadline:.0f} s ago" if now > deadline else ""
    return "" if alive else f"its owner, process {owner.pid}, is dead"
