"""A port on loopback that is reserved from before its server starts until the run has ended.

A free port that is looked up and released may be taken by another program a moment later, and so may the port of a
server that died before the server is back. So the port is held: bound, but not listened on. A server with the usual
options (address and port may be used again) can still listen on it, and the system gives it to no program that asks for
any free port.
"""

from __future__ import annotations

import socket

__all__ = ["LOOPBACK", "Port"]

LOOPBACK = "127.0.0.1"


class Port:
    """One port, held until `release`."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "SO_REUSEPORT"):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._socket.bind((LOOPBACK, 0))
        self.number: int = self._socket.getsockname()[1]

    def release(self) -> None:
        self._socket.close()
