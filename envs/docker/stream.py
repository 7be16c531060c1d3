"""The stream to a container: one connection to the engine that carries nothing else.

Made by hand, for the SDK keeps a connection of its own, and the memory that goes with it,
for every container that it is attached to. It goes where DOCKER_HOST leads, a socket or
TCP, with TLS where the SDK would use it.
"""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from docker.tls import TLSConfig

__all__ = ["Demultiplexer", "Refusal", "attach", "attach_exec", "frames", "ping"]

FRAME = struct.Struct(">B3xI")
STDOUT = 1
SAID = 1000  # bytes of stderr kept


class Refusal(Exception):
    """The engine's answer was no. `status` is that of HTTP."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


async def attach(container: str, version: str, protocol: asyncio.Protocol) -> None:
    """Give `protocol` the stream of a container that is made and not yet started.

    `version` is the API's. Raises `OSError` if the engine does not answer, `Refusal` if it does not want to.
    """
    await _ask(f"POST /v{version}/containers/{container}/attach?stream=1&stdin=1&stdout=1&stderr=1", protocol)


async def attach_exec(number: str, version: str, protocol: asyncio.Protocol) -> None:
    """Start an exec that was created, and give `protocol` its stream. Raises as `attach` does."""
    await _ask(f"POST /v{version}/exec/{number}/start", protocol, b'{"Detach": false, "Tty": false}')


async def ping() -> None:
    """Return if the engine answers. Raises as `attach` does."""
    (await _ask("GET /_ping", asyncio.Protocol())).close()


async def _ask(request: str, protocol: asyncio.Protocol, body: bytes = b"") -> asyncio.BaseTransport:
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
    words = "\r\n".join([*lines, "", ""]).encode() + body
    loop = asyncio.get_running_loop()

    def handshake() -> _Handshake:
        return _Handshake(words, protocol)

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
    """Speaks HTTP until the engine has agreed, and hands the connection on in the same moment."""

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
            self.done.set_exception(Refusal((rest or head).decode(errors="replace"), status))
            return
        self.done.set_result(None)
        self._transport.set_protocol(self._protocol)
        self._protocol.connection_made(self._transport)
        if rest:
            self._protocol.data_received(rest)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(ConnectionError(f"the engine hung up ({exc or 'without a word'})"))


class Demultiplexer:
    """Takes the engine's frames apart.

    `said` is the end of stderr; `word` is called once, when `listen_for` turns up in it.
    """

    def __init__(self, listen_for: bytes, word: Callable[[], None]) -> None:
        self.said = b""
        self._buffer = bytearray()
        self._listen_for, self._word = listen_for, word

    def unwrap(self, data: bytes) -> bytes:
        """The payload of stdout in the frames that are now complete."""
        self._buffer += data
        payload = bytearray()
        for kind, words in frames(self._buffer):
            if kind == STDOUT:
                payload += words
            else:
                self._hear(words)
        return bytes(payload)

    def _hear(self, words: bytes) -> None:
        new = self._listen_for not in self.said
        self.said = (self.said + words)[-SAID:]
        if new and self._listen_for in self.said:
            self._word()


def frames(buffer: bytearray) -> Iterator[tuple[int, bytes]]:
    """Take the complete frames (stream type, three zeros, length, payload) off a buffer."""
    while len(buffer) >= FRAME.size:
        kind, length = FRAME.unpack_from(buffer)
        end = FRAME.size + length
        if len(buffer) < end:
            return
        payload = bytes(buffer[FRAME.size : end])
        del buffer[:end]
        yield kind, payload
