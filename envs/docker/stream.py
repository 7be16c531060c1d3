"""The stream to a container: one connection to the engine that carries nothing else.

The SDK is not used for it: it would keep a connection pool, with its memory, for every container that it is attached
to. The connection goes to DOCKER_HOST, a Unix socket or TCP, with TLS where the SDK would use it.
"""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from envs.errors import MonkeysError

if TYPE_CHECKING:
    from docker.tls import TLSConfig

__all__ = ["AttachRefused", "Demultiplexer", "attach", "attach_exec", "frames", "ping"]

FRAME = struct.Struct(">B3xI")
STDOUT = 1
STDERR_KEPT = 1000  # bytes


class AttachRefused(MonkeysError):
    """The engine answered a request for a stream with an error. `status` is the HTTP status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


async def attach(container: str, version: str, protocol: asyncio.Protocol) -> None:
    """Connect `protocol` to the stream of a container that is created and not yet started.

    `version` is that of the API. Raises `OSError` if the engine does not answer, `AttachRefused` if it answers with
    an error.
    """
    await _request(f"POST /v{version}/containers/{container}/attach?stream=1&stdin=1&stdout=1&stderr=1", protocol)


async def attach_exec(number: str, version: str, protocol: asyncio.Protocol) -> None:
    """Start an exec that was created, and connect `protocol` to its stream. Raises as `attach` does."""
    await _request(f"POST /v{version}/exec/{number}/start", protocol, b'{"Detach": false, "Tty": false}')


async def ping() -> None:
    """Return if the engine answers. Raises as `attach` does."""
    (await _request("GET /_ping", asyncio.Protocol())).close()


async def _request(request: str, protocol: asyncio.Protocol, body: bytes = b"") -> asyncio.BaseTransport:
    from docker.utils import kwargs_from_env, parse_host

    settings = kwargs_from_env()
    tls = settings.get("tls")
    address = urlsplit(parse_host(settings.get("base_url"), tls=bool(tls)))
    lines = [
        f"{request} HTTP/1.1",
        f"Host: {address.hostname or 'localhost'}",
        "Connection: Upgrade",
        "Upgrade: tcp",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    ]
    data = "\r\n".join([*lines, "", ""]).encode() + body
    loop = asyncio.get_running_loop()

    def handshake() -> _Handshake:
        return _Handshake(data, protocol)

    transport: asyncio.BaseTransport
    if address.scheme == "http+unix":
        transport, upgrade = await loop.create_unix_connection(handshake, unquote(address.path))
    else:
        secure = _context(tls) if tls else None
        transport, upgrade = await loop.create_connection(handshake, address.hostname, address.port, ssl=secure)
    try:
        await upgrade.done
    except BaseException:
        transport.close()
        raise
    return transport


def _context(tls: TLSConfig) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=tls.ca_cert or None)
    if not tls.verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if tls.cert:
        context.load_cert_chain(*tls.cert)
    return context


class _Handshake(asyncio.Protocol):
    """Speaks HTTP until the engine has accepted, then gives the connection to `protocol` without losing a byte."""

    def __init__(self, request: bytes, protocol: asyncio.Protocol) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._request, self._protocol = request, protocol
        self._head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._head += data
        head, end, rest = self._head.partition(b"\r\n\r\n")
        if not end or self.done.done():
            return
        status = int(head.split()[1])
        if status not in (101, 200):
            self.done.set_exception(AttachRefused((rest or head).decode(errors="replace"), status))
            return
        self.done.set_result(None)
        self._transport.set_protocol(self._protocol)
        self._protocol.connection_made(self._transport)
        if rest:
            self._protocol.data_received(rest)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(ConnectionError(f"the engine closed the connection ({exc or 'without an answer'})"))


class Demultiplexer:
    """Separates stdout and stderr in the engine's frames.

    `stderr` is the end of stderr; `found` is called once, when `marker` appears in it.
    """

    def __init__(self, marker: bytes, found: Callable[[], None]) -> None:
        self.stderr = b""
        self._buffer = bytearray()
        self._marker, self._found = marker, found

    def unwrap(self, data: bytes) -> bytes:
        """The bytes of stdout in the frames that are now complete."""
        self._buffer += data
        stdout = bytearray()
        for kind, payload in frames(self._buffer):
            if kind == STDOUT:
                stdout += payload
            else:
                self._take_stderr(payload)
        return bytes(stdout)

    def _take_stderr(self, payload: bytes) -> None:
        new = self._marker not in self.stderr
        self.stderr = (self.stderr + payload)[-STDERR_KEPT:]
        if new and self._marker in self.stderr:
            self._found()


def frames(buffer: bytearray) -> Iterator[tuple[int, bytes]]:
    """Take the complete frames (stream type, three zeros, length, payload) from the start of a buffer."""
    while len(buffer) >= FRAME.size:
        kind, length = FRAME.unpack_from(buffer)
        end = FRAME.size + length
        if len(buffer) < end:
            return
        payload = bytes(buffer[FRAME.size : end])
        del buffer[:end]
        yield kind, payload
