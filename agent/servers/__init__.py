"""Model servers that a run starts itself, and that end with it."""

from __future__ import annotations

from agent.servers.spec import Serve, ServerLost, ServerSpec

__all__ = ["Serve", "ServerLost", "ServerSpec"]
