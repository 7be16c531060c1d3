"""Names of images and of platforms, in the form in which an engine lists them."""

from __future__ import annotations

from typing import Any

from envs.sandbox import SandboxUnavailable

__all__ = ["canonical_platform", "full_name", "listed_names"]

MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


def canonical_platform(text: str) -> str:
    """`linux/amd64` or `linux/arm64/v8`, also from `linux/x86_64`. Raises `SandboxUnavailable` for anything else."""
    parts = [MACHINES.get(part, part) for part in text.strip().lower().split("/")]
    if len(parts) not in (2, 3) or not all(parts):
        raise SandboxUnavailable(f"there is no platform {text!r}; give the system and the machine, like linux/amd64")
    return "/".join(parts)


def listed_names(image: dict[str, Any]) -> list[str]:
    """All names of one entry in the engine's list of images."""
    return [*(image.get("RepoTags") or ()), *(image.get("RepoDigests") or ())]


def full_name(image: str) -> str:
    """The name with its tag or digest, and without the default registry, which the engine leaves out."""
    named, _, digest = image.removeprefix("docker.io/").removeprefix("library/").partition("@")
    folder, slash, last = named.rpartition("/")
    plain, _, tag = last.partition(":")
    return f"{folder}{slash}{plain}@{digest}" if digest else f"{folder}{slash}{plain}:{tag or 'latest'}"
