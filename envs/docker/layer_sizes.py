"""What several images take together: a layer that they share is on the disk once, and is counted once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import docker

__all__ = ["bytes_together"]


def bytes_together(client: docker.DockerClient, identities: Iterable[str]) -> int:
    """Bytes of these images, by their ids, with each layer once.

    Where the sizes of an image's layers are not known, all of it is counted. Raises the errors of the Docker SDK.
    """
    layers: dict[tuple[str, ...], int] = {}
    for identity in dict.fromkeys(identities):
        image = client.api.inspect_image(identity)
        names = tuple(image["RootFS"].get("Layers") or ())
        # The engine lists the steps of a build, the last one first; those that changed no file have no layer.
        sizes = [step["Size"] for step in reversed(client.api.history(identity)) if step["Size"]]
        if len(sizes) != len(names):
            names, sizes = (identity,), [image["Size"]]
        for depth, size in enumerate(sizes, 1):  # a layer is the same only on top of the same ones
            layers[names[:depth]] = size
    return sum(layers.values())
