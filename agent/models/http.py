"""The connection to one server: a request goes out as JSON, an answer comes back as bytes.

The HTTP client is that of the `openai` package, with its addresses, headers and key. Requests go to it directly,
because the package's layer above it costs more CPU than everything else together. Guarantees: connections are kept and
reused; no request takes longer than its seconds, from the first byte sent to the last byte read, and no answer more
memory than `MOST_BYTES`; every failure of the connection is a `HttpError`. Nothing that comes back holds a secret
(`envs.secrets`): where a server or a proxy repeats the key, it is removed before anything reads the answer.

    HttpError
    ├── Unreachable   no connection could be made: nothing was sent
    ├── BrokenOff     the connection ended before the answer was complete
    ├── TooSlow       no answer began in time
    └── Endless       an answer began and did not end, in time or in size
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.request import proxy_bypass

from agent.models.address import Address
from agent.models.model import ModelRefused
from envs.errors import MonkeysError
from envs.secrets import keep_address, keep_environment, keep_secret, redact, redact_bytes, without_user

if TYPE_CHECKING:
    from openai import DefaultAsyncHttpxClient

__all__ = ["Answer", "BrokenOff", "Endless", "HttpError", "HttpTransport", "TooSlow", "Unreachable"]

MOST_BYTES = 64 * 2**20
# A connection that was idle for longer is not used again: servers close theirs after 5 s.
IDLE_SECONDS = 4.5
CONNECT_SECONDS = 15.0
SHOWN = 200  # characters of an address that is none
LOOP = 508  # the status for a loop, which a client notices before the server does
NO_KEY = "none"  # servers without authentication take any
PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")


class HttpError(MonkeysError):
    """No complete answer came back; the message says why in one line."""


class Unreachable(HttpError):
    """No connection could be made."""


class BrokenOff(HttpError):
    """The connection ended before the answer was complete."""


class TooSlow(HttpError):
    """No answer began in time."""


class Endless(HttpError):
    """An answer began and did not end."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer."""

    status: int
    content: bytes
    retry_after: str = ""


class HttpTransport:
    """One server. `url` is None for the address that `openai` would take."""

    def __init__(self, url: str | None, api_key: str | None) -> None:
        keep_environment()
        keep_address(url)
        keep_secret(api_key)
        self.name = without_user(url) if url else "the default OpenAI endpoint"
        self._url, self._key = url, (api_key or "").strip() or NO_KEY
        self._http: DefaultAsyncHttpxClient | None = None
        self._address = Address("", "")

    async def post(self, path: str, body: Mapping[str, Any], seconds: float, *, beside: bool = False) -> Answer:
        """Send a body; `beside` to a page that lies beside the API's `/v1`.

        Raises `HttpError`, and `ModelRefused` for an address or a key that cannot be valid.
        """
        return await self._ask("POST", path, json.dumps(body, separators=(",", ":")).encode(), seconds, beside)

    async def get(self, path: str, seconds: float, *, beside: bool = False) -> Answer:
        """Get a page. Arguments and errors as in `post`."""
        return await self._ask("GET", path, None, seconds, beside)

    async def close(self) -> None:
        if self._http is not None:
            http, self._http = self._http, None
            await http.aclose()

    async def _ask(self, method: str, path: str, content: bytes | None, seconds: float, beside: bool = False) -> Answer:
        http = self._http or self._connected()
        url = self._address.beside(path) if beside else self._address.at(path)
        began = False
        try:
            async with asyncio.timeout(seconds):
                request = http.build_request(method, url, content=content)
                response = await http.send(request, stream=True)
                began = True
                try:
                    if response.request.method != method:  # the body is lost on the way to another address
                        return _redirected(response)
                    return Answer(response.status_code, await _whole(response), response.headers.get("retry-after", ""))
                finally:
                    await response.aclose()
        except TimeoutError:
            if began:
                raise Endless(f"the answer had not ended after {seconds:g} s") from None
            raise TooSlow(f"no answer within {seconds:g} s") from None
        except self._errors.TooManyRedirects:
            return Answer(LOOP, b"it redirects requests without end")
        except (self._errors.ConnectError, self._errors.ConnectTimeout) as error:
            raise Unreachable(_cause(error)) from None
        # What a server or a proxy sends may also break the library in ways that it does not name as its own.
        except (
            self._errors.HTTPError,
            self._errors.StreamError,
            self._errors.InvalidURL,
            OSError,
            ValueError,
        ) as error:
            raise BrokenOff(_cause(error)) from None

    def _connected(self) -> DefaultAsyncHttpxClient:
        import openai  # half a second, and only served models need it

        if not (self._key.isascii() and self._key.isprintable()):
            raise ModelRefused(
                "the key holds characters that no key can have; set OPENAI_API_KEY, "
                "or name its variable with --api-key-env"
            )
        address = None if self._url is None else Address.of(self._url)
        if self._url is not None and address is None:
            raise _no_address(self._url)
        # The library that `openai` stands on, httpx or its successor.
        self._errors = import_module(openai.DefaultAsyncHttpxClient.__mro__[1].__module__.partition(".")[0])
        self._http = self._client(address)
        root = address.root if address else None
        try:
            sdk = openai.AsyncOpenAI(base_url=root, api_key=self._key, http_client=self._http)
        except self._errors.InvalidURL:  # a control character, or too long
            self._http = None
            raise _no_address(self._url or os.environ.get("OPENAI_BASE_URL", "")) from None
        self._address = address or Address(str(sdk.base_url).rstrip("/"), sdk.base_url.host)
        headers = {name: value for name, value in sdk.default_headers.items() if isinstance(value, str)}
        self._http.headers.update({**headers, **self._address.headers(self._key)})
        return self._http

    def _client(self, address: Address | None) -> DefaultAsyncHttpxClient:
        """The HTTP client. Raises `ModelRefused` for a proxy or certificates of the environment that it cannot use."""
        import openai

        def made(trust_env: bool) -> DefaultAsyncHttpxClient:
            return openai.DefaultAsyncHttpxClient(
                timeout=self._errors.Timeout(None, connect=CONNECT_SECONDS),
                limits=self._errors.Limits(keepalive_expiry=IDLE_SECONDS),
                # Certificates take 70 ms to load, and local servers speak plain HTTP.
                verify=address is None or not address.root.startswith("http://"),
                trust_env=trust_env,
            )

        local = address is not None and address.is_loopback  # no proxy leads to this machine
        try:
            return made(trust_env=not local)
        except OSError as error:
            raise ModelRefused(
                f"the certificates for {self.name} cannot be read ({_cause(error)}); correct SSL_CERT_FILE and "
                "SSL_CERT_DIR, or unset them"
            ) from None
        except (ImportError, ValueError, self._errors.InvalidURL) as error:
            if address is not None and proxy_bypass(address.host):
                return made(trust_env=False)
            named = [name for one in PROXIES for name in (one, one.lower()) if os.environ.get(name)]
            raise ModelRefused(
                f"the proxy that {' and '.join(named) or 'the environment'} names cannot be used "
                f"({_cause(error)}); write it as http://HOST:PORT, or as socks5://HOST:PORT after "
                f"`pip install socksio`; or unset it, or name the server's host in NO_PROXY"
            ) from None


def _no_address(url: str) -> ModelRefused:
    shown = url.rpartition("@")[2][:SHOWN]  # without a password, wherever that ends
    return ModelRefused(
        f"{shown!r} is not the address of a server; give --base-url one such as http://127.0.0.1:8000/v1"
    )


def _redirected(response: Any) -> Answer:
    """The answer in place of a page to which a request led without its body."""
    where = redact(without_user(str(response.url)))[:SHOWN]
    text = f"it redirects to {where}, where the request's body does not follow; give --base-url that address"
    return Answer(response.history[-1].status_code, text.encode())


async def _whole(response: Any) -> bytes:
    parts, size = [], 0
    async for part in response.aiter_bytes():
        size += len(part)
        if size > MOST_BYTES:
            raise Endless(f"the answer is longer than {MOST_BYTES:,} bytes")
        parts.append(part)
    return redact_bytes(b"".join(parts))


def _cause(error: BaseException) -> str:
    return " ".join(redact(f"{type(error).__name__}: {error}").split()).rstrip(": ")
