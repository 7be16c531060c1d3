"""What a registry says about an image: its layers and their compressed sizes, for the engine's API tells no sizes.

Reads manifests over the registry's HTTP API (v2), anonymously, by http on this machine
and by https elsewhere. An answer is a help, never a condition: a registry that is out of
reach, wants a name and password or says something strange gives None.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.utils import parse_dict_header

__all__ = ["ImageRegistry"]

TIMEOUT = (3.0, 10.0)  # seconds to connect, and without a byte
ACCEPT = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)
HERE = re.compile(r"(localhost|127(\.\d+){3}|\[::1\])(:\d+)?$")


class ImageRegistry:
    """Asks for images of one platform ("linux/amd64"). `index` is the address of the engine's default registry.

    `metered` is true once a registry has said that it counts these questions: they use up
    the same allowance as pulls.
    """

    def __init__(self, index: str, platform: str) -> None:
        self._index = urlsplit(index).netloc or index
        self._platform = platform
        self.metered = False

    def layers(self, image: str) -> dict[str, int] | None:
        """The layers of an image by digest, with their compressed sizes in bytes; None if it cannot be told."""
        host, path, reference = self._address(image)
        local = HERE.match(host) is not None
        url = f"{'http' if local else 'https'}://{host}/v2/{path}/manifests/"
        with requests.Session() as session:
            session.trust_env = not local  # no proxy stands between a machine and itself
            try:
                manifest = self._manifest(session, url + reference)
                if "manifests" in manifest:
                    manifest = self._manifest(session, url + self._chosen(manifest["manifests"]))
                return {str(layer["digest"]): int(layer["size"]) for layer in manifest["layers"]}
            except (requests.RequestException, ValueError, KeyError, TypeError):
                return None

    def _address(self, image: str) -> tuple[str, str, str]:
        """Host, path and reference of an image, as an engine reads its name."""
        name, _, digest = image.partition("@")
        host, slash, path = name.partition("/")
        if not slash or (host != "localhost" and not set(".:") & set(host)):
            host, path = "docker.io", name
        path, _, tag = path.partition(":")
        if host == "docker.io":  # the name of the default registry, not where it is
            host, path = self._index, path if "/" in path else f"library/{path}"
        return host, path, digest or tag or "latest"

    def _manifest(self, session: requests.Session, url: str) -> dict[str, Any]:
        answer = session.get(url, headers={"Accept": ACCEPT}, timeout=TIMEOUT)
        wanted = answer.headers.get("WWW-Authenticate", "")
        if answer.status_code == 401 and wanted.lower().startswith("bearer "):
            asked = parse_dict_header(wanted[len("bearer ") :])
            token = session.get(str(asked.pop("realm")), params=asked, timeout=TIMEOUT)
            token.raise_for_status()
            given = token.json()
            session.headers["Authorization"] = f"Bearer {given.get('token') or given['access_token']}"
            answer = session.get(url, headers={"Accept": ACCEPT}, timeout=TIMEOUT)
        self.metered = self.metered or "ratelimit-limit" in answer.headers
        answer.raise_for_status()
        manifest: dict[str, Any] = answer.json()
        return manifest

    def _chosen(self, entries: list[dict[str, Any]]) -> str:
        """The digest of the entry for our platform."""
        system, machine, *variant = self._platform.split("/")
        for entry in entries:
            there = entry.get("platform", {})
            if (there.get("os"), there.get("architecture")) == (system, machine) and (
                not variant or there.get("variant", variant[0]) == variant[0]
            ):
                return str(entry["digest"])
        raise KeyError(self._platform)
