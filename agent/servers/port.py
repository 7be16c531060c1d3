"""A port on loopback that stays ours, from before its server starts until the run has ended.

A free port that is looked up and let go may be another's a moment later, and the port of a
server that died may be taken before it is back. So it is held: bound, but not listened on,
in the way that lets a server with the usual options (address and port may be used again)
listen on it, and keeps the system from giving it to anybody who asks for just any.
"""

from __future__ import annotations

import socket

__all__ = ["LOOPBACK", "Port"]

LOOPBACK = "127.0.0.1"


class Port:
    """One port, held until `let_go`."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "SO_REUSEPORT"):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._socket.bind((LOOPBACK, 0))
        self.number: int = self._socket.getsockname()[1]

    def let_go(self) -> None:
        self._socket.close()
