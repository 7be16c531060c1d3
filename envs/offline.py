"""Environment variables with which package managers give up at once where a sandbox has no network.

Scripts that run an issue's tests often begin with an installation. Without a network it fails, but only after the
program has tried again for some seconds, or for more than a minute. Each variable lets a program try once. What it can
do without a network it still does, and what it cannot do fails as before, so the tests and their results stay the same.
For this reason nothing here changes where packages come from, or how they are built.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["offline_environment"]

TRY_ONCE = {
    "PIP_RETRIES": "0",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "UV_HTTP_RETRIES": "0",
    "npm_config_fetch_retries": "0",  # pnpm reads it too
    "npm_config_update_notifier": "false",
    "YARN_HTTP_RETRY": "0",
    "CARGO_NET_RETRY": "0",
}


def offline_environment(network: str) -> Mapping[str, str]:
    """The variables for a sandbox with this `Limits.network`. Those that its image or its origin sets come first."""
    return TRY_ONCE if network == "none" else {}
