"""The layers of an image and their compressed sizes, asked of its registry; the engine's API does not tell sizes.

Reads manifests over the registry's HTTP API (v2), anonymously, by http on this machine and by https elsewhere. No
caller depends on an answer: a registry that is out of reach, wants a login or answers something unexpected gives None.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.utils import parse_dict_header

__all__ = ["ImageRegistry"]

TIMEOUT = (3.0, 10.0)  # seconds to connect, and between two bytes
ACCEPT = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)
LOOPBACK = re.compile(r"(localhost|127(\.\d+){3}|\[::1\])(:\d+)?$")


class ImageRegistry:
    """Asks registries about images of one platform ("linux/amd64"). `index` is the engine's default registry.

    `metered` is true once a registry has said that it counts these requests: they use up the same allowance as pulls.
    """

    def __init__(self, index: str, platform: str) -> None:
        self._index = urlsplit(index).netloc or index
        self._platform = platform
        self.metered = False

    def layers(self, image: str) -> dict[str, int] | None:
        """The layers of an image by digest, with their compressed sizes in bytes; None if they are not known."""
        host, path, reference = self._address(image)
        local = LOOPBACK.match(host) is not None
        url = f"{'http' if local else 'https'}://{host}/v2/{path}/manifests/"
        with requests.Session() as session:
            session.trust_env = not local  # no proxy stands between a machine and itself
            try:
                manifest = self._manifest(session, url + reference)
                if "manifests" in manifest:
                    manifest = self._manifest(session, url + self._choose(manifest["manifests"]))
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
        if host == "docker.io":  # the name of the default registry, not its address
            host, path = self._index, path if "/" in path else f"library/{path}"
        return host, path, digest or tag or "latest"

    def _manifest(self, session: requests.Session, url: str) -> dict[str, Any]:
        answer = session.get(url, headers={"Accept": ACCEPT}, timeout=TIMEOUT)
        challenge = answer.headers.get("WWW-Authenticate", "")
        if answer.status_code == 401 and challenge.lower().startswith("bearer "):
            parameters = parse_dict_header(challenge[len("bearer ") :])
            reply = session.get(str(parameters.pop("realm")), params=parameters, timeout=TIMEOUT)
            reply.raise_for_status()
            token = reply.json()
            session.headers["Authorization"] = f"Bearer {token.get('token') or token['access_token']}"
            answer = session.get(url, headers={"Accept": ACCEPT}, timeout=TIMEOUT)
        self.metered = self.metered or "ratelimit-limit" in answer.headers
        answer.raise_for_status()
        manifest: dict[str, Any] = answer.json()
        return manifest

    def _choose(self, entries: list[dict[str, Any]]) -> str:
        """The digest of the entry for the platform."""
        system, machine, *variant = self._platform.split("/")
        for entry in entries:
            platform = entry.get("platform", {})
            if (platform.get("os"), platform.get("architecture")) == (system, machine) and (
                not variant or platform.get("variant", variant[0]) == variant[0]
            ):
                return str(entry["digest"])
        raise KeyError(self._platform)
