"""The disk on which an engine keeps its images: how much of it is free, and how much a pull takes.

The disk is visible only if the engine runs on this machine. Sizes are estimates from above.
"""

from __future__ import annotations

import os
import shutil
import socket
from typing import TYPE_CHECKING, Any

from envs.sandbox import SandboxUnavailable

if TYPE_CHECKING:
    import docker

__all__ = ["FLOOR_GB", "GB", "EngineDisk", "peak_bytes", "unpacked_bytes"]

GB = 1e9
# gzip leaves 42 % of a SWE-bench image (measured on two).
UNPACKED = 2.5
FLOOR_GB = 2.0  # stays free, for what containers write


def unpacked_bytes(compressed: float) -> float:
    """What layers of this compressed size take once they are unpacked."""
    return compressed * UNPACKED


def peak_bytes(compressed: float) -> float:
    """What a pull takes at its peak: for a while an engine holds both forms of a layer."""
    return compressed * (1 + UNPACKED)


class EngineDisk:
    """The disk of one engine. `place` names it in messages; `floor_gb` of it stay free."""

    def __init__(self, client: docker.DockerClient, info: dict[str, Any], floor_gb: float) -> None:
        folder = str(info.get("DockerRootDir") or "")
        local = client.api.base_url.startswith("http+docker") and info.get("Name") == socket.gethostname()
        self._visible = local and os.path.isdir(folder)
        self._folder, self._floor = folder, int(floor_gb * GB)
        self.place = folder if self._visible else f"{folder or 'the disk'} of the engine's machine"

    def free(self) -> int | None:
        """Bytes that a pull may take; None if the disk cannot be seen from here."""
        try:
            return shutil.disk_usage(self._folder).free - self._floor if self._visible else None
        except OSError:
            return None

    def too_small(self, image: str, needed: float, free: int, remedy: str) -> SandboxUnavailable:
        """The error for an image that needs more bytes than are free."""
        return SandboxUnavailable(
            f"image {image} needs about {needed / GB:.2g} GB while it is unpacked, and {(free + self._floor) / GB:.2g} "
            f"GB are free at {self.place}, of which {self._floor / GB:.2g} GB are to stay free; free some, or {remedy}"
        )
