"""The address of a server: what requests go to, and who asks.

An address may hold a query (`?api-version=2024-10-21`), which stays behind every path, and a name with a password,
which go into a header. `envs.secrets` knows them, and leaves them out of what people are shown.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

__all__ = ["Address"]

AZURE = (".azure.com", ".azure-api.net")  # which take a key in a header of its own


@dataclass(frozen=True, slots=True)
class Address:
    """`root` is the address without query and without a slash at its end; `basic` is a header's value, or empty."""

    root: str
    host: str
    query: str = ""
    basic: str = ""

    @classmethod
    def of(cls, url: str) -> Address | None:
        """The parts of a URL; None for what is not the address of a server."""
        try:
            parts = urlsplit(url.strip())
            if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
                return None
            user, _, place = parts.netloc.rpartition("@")
        except ValueError:
            return None
        name, _, password = user.partition(":")
        credentials = f"{unquote(name)}:{unquote(password)}".encode()
        basic = f"Basic {base64.b64encode(credentials).decode()}" if user else ""
        root = f"{parts.scheme}://{place}{parts.path}".rstrip("/")
        return cls(root, parts.hostname, f"?{parts.query}" if parts.query else "", basic)

    def at(self, path: str) -> str:
        """The URL of a path of the API."""
        return self.root + path + self.query

    def beside(self, path: str) -> str:
        """The URL of a path that lies beside the API's `/v1`."""
        return self.root.removesuffix("/v1") + path + self.query

    def headers(self, key: str) -> dict[str, str]:
        """The headers that say who asks. A name and a password in the address come before the key."""
        if self.basic:
            return {"Authorization": self.basic}
        azure = {"api-key": key} if self.host.endswith(AZURE) else {}
        return {"Authorization": f"Bearer {key}", **azure}

    @property
    def is_loopback(self) -> bool:
        """Whether it is on this machine, to which no proxy leads."""
        return self.host in ("localhost", "::1") or self.host.startswith("127.")
