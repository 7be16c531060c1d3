"""Prepared images for a person: which there are, what they take, and the removal of those that are not in use.

Guarantees: every function prints what it found and did; what a container or another image uses stays.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from envs.docker.prepared_images import PreparedImageFound, prepared_images, remove_prepared
from monkeys.report.terminal.console import columns, name, put
from monkeys.text import disk_size, plain, several

if TYPE_CHECKING:
    import docker

__all__ = ["remove_unused", "remove_useless", "show_prepared"]

REMEDY = "`monkeys images remove --prepared` removes those that are not in use, and a run makes them again"


def show_prepared(client: docker.DockerClient, console: Console, now: float) -> None:
    """Show what was prepared for attempts to start from, and what removing it would free."""
    if found := prepared_images(client, now):
        _show(found, console)
        put(console, [f"{_total(found)} beside their images; {REMEDY}"])


def remove_unused(client: docker.DockerClient, dry_run: bool, console: Console, now: float) -> int:
    """Remove all prepared images that nothing uses. Returns 0."""
    found = prepared_images(client, now)
    removed = list(_removed(client, found, dry_run))
    if removed:
        _show(removed, console, "would be removed" if dry_run else "removed")
        put(console, [_total(removed)])
    else:
        put(console, ["there is no prepared image to remove"])
    if left := len(found) - len(removed):
        put(console, [f"{several(left, 'prepared image')} {'stays' if left == 1 else 'stay'}, in use"])
    return 0


def remove_useless(client: docker.DockerClient, dry_run: bool, console: Console, now: float) -> None:
    """Remove the prepared images that no run can use any more, and tell of the others."""
    found = prepared_images(client, now)
    removed = list(_removed(client, [one for one in found if one.why_useless], dry_run))
    if removed:
        _show(removed, console, "would be removed" if dry_run else "removed")
    if kept := [one for one in found if one not in removed]:
        put(console, [f"{_total(kept)} beside their images, are kept for the next run; {REMEDY}"])


def _removed(
    client: docker.DockerClient, found: Collection[PreparedImageFound], dry_run: bool
) -> Iterator[PreparedImageFound]:
    for one in found:
        if not one.in_use and (dry_run or remove_prepared(client, one)):
            yield one


def _show(found: Collection[PreparedImageFound], console: Console, result: str = "") -> None:
    table = columns("<prepared image", "size", "<")
    for one in found:
        size = "–" if one.bytes is None else disk_size(one.bytes)
        state = ", ".join(filter(None, (one.why_useless, result or ("in use" if one.in_use else ""))))
        # Whole, for what tells the images of a set apart stands at the end of their names.
        table.add_row(Text(plain(one.image), overflow="fold"), size, name(state))
    put(console, [Padding(table, (1, 1, 1, 1))])


def _total(found: Collection[PreparedImageFound]) -> str:
    return f"{several(len(found), 'prepared image')}, {disk_size(sum(one.bytes or 0 for one in found))}"
