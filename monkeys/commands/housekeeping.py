"""Docker images before and after a run, and the removal of what dead runs left.

Guarantees: every function prints what it found and did; nothing is removed that this program did not make or pull, and
nothing that belongs to a run that is still alive.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from envs.cache_folder import cache_folder
from envs.docker.client import connect
from envs.docker.images import Images, PullPlan
from envs.docker.layer_sizes import bytes_together
from envs.docker.orphans import LABEL, Orphan, orphans, remove
from envs.events import Event, Status, Warned
from envs.messages import complain
from envs.sandbox import SandboxError, SandboxUnavailable
from monkeys.commands.prepared_images import remove_unused, remove_useless, show_prepared
from monkeys.report.terminal.console import columns, name, put
from monkeys.text import disk_size, plain, several
from tasks import load_tasks

if TYPE_CHECKING:
    import docker

    from envs.docker.image_index import PulledImage

__all__ = ["ImageSource", "clean", "prefetch", "remove_images", "remove_prepared", "show_images"]

GB = 1e9
HALF_BUILT_SECONDS = 3600.0  # building a repository takes a moment, so whoever began it is dead


@dataclass(frozen=True, slots=True)
class ImageSource:
    """Images of tasks: which ones, from where, and how much of the disk they may take."""

    tasks: str | None = None
    ids: tuple[str, ...] = ()
    mirror: str = ""
    platform: str = ""
    quota_gb: float | None = None


# Images


def show_images(source: ImageSource, console: Console) -> int:
    """Show the images that this program pulled and prepared or, for a task set, which are here. Returns 0."""
    if source.tasks is None:
        with _engine() as client:
            pulled = _images(client, source).listed(prepared=False)
            _show_pulled(pulled, console, total=_together(client, pulled))
            show_prepared(client, console, time.time())
        return 0
    if not (wanted := _wanted(source)):
        return _nothing(console)
    with _engine() as client:
        plan = _images(client, source).plan(wanted)
    table = columns("<image", "<on this engine")
    for image in wanted:
        there = image in plan.here
        table.add_row(name(image), name("here" if there else "missing", "green" if there else "yellow"))
    put(console, [Padding(table, (1, 1, 1, 1)), *_plan_lines(plan)])
    return 0


def prefetch(source: ImageSource, parallel: int, console: Console) -> int:
    """Pull the missing images of a task set, `parallel` at a time. Returns 1 if some could not be pulled, else 0."""
    if not (wanted := _wanted(source)):
        return _nothing(console)
    with _engine() as client:
        plan = _images(client, source).plan(wanted)
        put(console, _plan_lines(plan))
        _check(plan, source)
        failed: list[tuple[str, str]] = []
        with _progress(console, len(wanted)) as (show_line, moved, done):

            def tell(event: Event) -> None:
                if isinstance(event, Status | Warned):
                    show_line(event.text)

            images = _images(client, source, events=tell, moved=moved)
            with ThreadPoolExecutor(parallel, thread_name_prefix="prefetch") as threads:
                # Those that are here come first, so that the quota does not take them for the oldest.
                pulls = {threads.submit(images.have, image): image for image in (*plan.here, *plan.missing)}
                try:
                    for pull in as_completed(pulls):
                        if isinstance(error := pull.exception(), SandboxError):
                            failed.append((pulls[pull], str(error)))
                        else:
                            pull.result()
                        done(pulls[pull])
                except BaseException:
                    images.stop()
                    threads.shutdown(wait=False, cancel_futures=True)
                    raise
    for _, cause in sorted(failed):
        complain(cause)
    put(console, [f"{len(wanted) - len(failed):,} of {several(len(wanted), 'image')} {_are(wanted)} here"])
    return 1 if failed else 0


def remove_images(quota_gb: float, dry_run: bool, console: Console) -> int:
    """Remove images that this program pulled, the least recently used first, down to the quota. Returns 0."""
    with _engine() as client:
        images = _images(client, ImageSource())
        before = images.listed()
        removed = images.evict(quota_gb=quota_gb, idle_seconds=0, dry_run=dry_run)
    left = [entry for entry in before if entry not in removed]
    if removed:
        _show_pulled(removed, console, "would be removed" if dry_run else "removed")
    else:
        put(console, ["there is no image to remove"])
    over = sum(entry.bytes for entry in left) - quota_gb * GB
    if left and over > 0:
        put(console, [f"{several(len(left), 'image')} stay, in use by containers or by other images:"])
        put(console, [f"  {plain(entry.image)}" for entry in left])
    return 0


def remove_prepared(dry_run: bool, console: Console) -> int:
    """Remove the prepared images that nothing uses. Returns 0."""
    with _engine() as client:
        return remove_unused(client, dry_run, console, time.time())


def _wanted(source: ImageSource) -> list[str]:
    """The images of the tasks, each once. Raises `TaskError`."""
    assert source.tasks is not None
    tasks = load_tasks(source.tasks)
    if source.ids:
        tasks = tasks.select(list(source.ids))
    return list(dict.fromkeys(task.origin.image for task in tasks.tasks if task.origin and task.origin.image))


def _nothing(console: Console) -> int:
    put(console, ["these tasks need no image"])
    return 0


def _plan_lines(plan: PullPlan) -> Iterator[str]:
    every = (*plan.here, *plan.missing)
    yield f"{len(plan.here):,} of {several(len(every), 'image')} {_are(every)} here"
    if plan.missing:
        free = (
            f"{disk_size(plan.free)} are free at {plan.place}"
            if plan.free is not None
            else f"the free space at {plan.place} is not known"
        )
        if plan.bytes is None:
            yield f"the size of the missing images is not known; {free}"
        else:
            estimate = f", estimated from {plan.known} of them" if plan.known < len(plan.missing) else ""
            yield f"the missing images take about {disk_size(plan.bytes)} at most{estimate}; {free}"


def _check(plan: PullPlan, source: ImageSource) -> None:
    """Refuse a pull for which there is no room, before anything is pulled. Raises `SandboxUnavailable`."""
    if plan.bytes is None:
        return
    if source.quota_gb is not None and plan.bytes > source.quota_gb * GB:
        raise SandboxUnavailable(
            f"the missing images take about {disk_size(plan.bytes)}, more than --image-quota {source.quota_gb:g} (GB) "
            "allows; give a larger quota, or fewer tasks with --ids"
        )
    if source.quota_gb is None and plan.free is not None and plan.bytes > plan.free:
        raise SandboxUnavailable(
            f"the missing images take about {disk_size(plan.bytes)}, and {disk_size(plan.free)} are free at "
            f"{plan.place}; free some space, give fewer tasks with --ids, or let --image-quota GB remove unused images"
        )


@contextmanager
def _progress(
    console: Console, images: int
) -> Iterator[tuple[Callable[[str], None], Callable[[str, int, int], None] | None, Callable[[str], None]]]:
    """Functions that show a line, how far a pull is, and that an image is done: bars on a terminal, else lines."""
    # A console may call itself a terminal because colours are forced; control codes belong on a real one only.
    if not (console.is_interactive and console.file.isatty()):
        yield lambda line: put(console, [plain(line)]), None, lambda image: None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn

    text = TextColumn("{task.description}", markup=False)
    pulls = Progress(text, BarColumn(20), DownloadColumn(), TransferSpeedColumn(), console=console, transient=True)
    bars: dict[str, TaskID] = {}

    def moved(image: str, here: int, total: int) -> None:
        if image not in bars:
            bars[image] = pulls.add_task(plain(image), total=None)
        pulls.update(bars[image], completed=here, total=total or None)

    def done(image: str) -> None:
        if image in bars:
            pulls.remove_task(bars.pop(image))

    with pulls:
        console.show_cursor(True)  # so that a terminal is sane even after SIGKILL
        yield lambda line: put(pulls.console, [plain(line)]), moved, done


# What dead runs left


def clean(dry_run: bool, console: Console, now: Callable[[], float] = time.time) -> int:
    """Remove what dead runs left on the Docker engine and in the cache. Returns 1 if something could not be removed.

    Without an engine only the cache is cleaned, and a warning says so.
    """
    stuck = _clean_cache(dry_run, console, now())
    try:
        with _engine() as client:
            stuck += _clean_engine(client, dry_run, console, now())
    except SandboxUnavailable as error:
        complain(f"containers were not checked: {error}", "warning")
    for what in stuck:
        complain(what)
    return 1 if stuck else 0


def _clean_engine(client: docker.DockerClient, dry_run: bool, console: Console, now: float) -> list[str]:
    from docker.errors import DockerException
    from requests import RequestException

    stuck = []
    table = columns("<left by a dead run", "<what", "<run", "<owner", "<why", "<")
    try:
        found = orphans(client, now)
        alive = _alive(client, found)
        for orphan in found:
            result = "would be removed" if dry_run else "removed"
            if not dry_run:
                try:
                    remove(client, orphan)
                except (DockerException, RequestException) as error:
                    stuck.append(f"{orphan.kind} {orphan.what} cannot be removed: {error}")
                    result = "still there"
            cells = (orphan.kind, orphan.what, orphan.run, orphan.owner, orphan.why, result)
            table.add_row(*(name(str(cell)) for cell in cells))
    except (DockerException, RequestException) as error:
        return [*stuck, f"the Docker engine stopped answering: {error}"]
    if found:
        put(console, [Padding(table, (1, 1, 1, 1))])
    else:
        put(console, ["no run that is dead left anything on the Docker engine"])
    if alive.row_count:
        put(console, [Padding(alive, (1, 1, 1, 1))])
    try:
        remove_useless(client, dry_run, console, now)
    except SandboxError as error:
        stuck.append(f"prepared images were not checked: {error}")
    return stuck


def _alive(client: docker.DockerClient, found: Sequence[Orphan]) -> Table:
    """A table of what belongs to runs that are still alive, which is left alone."""
    table = columns("<of a run that is alive", "<what", "<run", "<owner")
    dead = {orphan.id for orphan in found}
    marked = {"label": f"{LABEL}.run"}
    things: list[tuple[str, str, dict[str, Any]]] = [
        *(("container", thing["Id"], thing) for thing in client.api.containers(all=True, filters=marked)),
        *(("image", thing["Id"], thing) for thing in client.api.images(filters=marked)),
        *(("volume", thing["Name"], thing) for thing in client.api.volumes(filters=marked)["Volumes"] or ()),
    ]
    for kind, identity, thing in things:
        labels = thing["Labels"] or {}
        if identity in dead or not labels.get(f"{LABEL}.run"):  # a base has the label of its run emptied
            continue
        what = labels.get(f"{LABEL}.for") or identity.removeprefix("sha256:")[:12]
        owner = labels.get(f"{LABEL}.owner", "")
        table.add_row(name(kind), name(what), name(labels[f"{LABEL}.run"]), name(owner))
    return table


def _clean_cache(dry_run: bool, console: Console, now: float) -> list[str]:
    """Remove half-built repositories of dead processes. Returns a line for each that could not be removed."""
    stuck = []
    for folder in sorted((cache_folder() / "repositories").glob(".building-*")):
        try:
            if now - folder.stat().st_mtime < HALF_BUILT_SECONDS:
                continue
            if not dry_run:
                shutil.rmtree(folder)
        except FileNotFoundError:
            continue  # it went by itself
        except OSError as error:
            stuck.append(f"{folder} cannot be removed ({error.strerror}); check its permissions")
            continue
        put(console, [f"{'would be removed' if dry_run else 'removed'}: half-built {plain(str(folder))}"])
    return stuck


# Helpers


@contextmanager
def _engine() -> Iterator[docker.DockerClient]:
    client = connect()
    try:
        yield client
    finally:
        client.close()


def _images(client: docker.DockerClient, source: ImageSource, **shown: Any) -> Images:
    return Images(client, mirror=source.mirror, platform=source.platform, quota_gb=source.quota_gb, **shown)


def _together(client: docker.DockerClient, entries: Sequence[PulledImage]) -> str:
    from docker.errors import DockerException
    from requests import RequestException

    try:
        total = bytes_together(client, [entry.id for entry in entries])
    except (DockerException, RequestException):  # one has gone meanwhile
        return ""
    return f"{disk_size(total)}: a layer that several images share is counted once"


def _show_pulled(entries: Sequence[PulledImage], console: Console, result: str = "", total: str = "") -> None:
    """Show a table of images. `total` says what they take together, where that was found out."""
    if not entries:
        put(console, ["there is no image that this program pulled"])
        return
    table = columns("<image", "size", "<pulled", "<last used", *(["<"] if result else []))
    for entry in entries:
        cells: list[str | Text] = [
            name(entry.image),
            disk_size(entry.bytes),
            _moment(entry.pulled),
            _moment(entry.used),
        ]
        table.add_row(*cells, *([name(result)] if result else []))
    put(console, [Padding(table, (1, 1, 1, 1))])
    size = disk_size(sum(entry.bytes for entry in entries))
    total = total or f"{size} at most, with what was prepared: a layer that several images share is counted with each"
    put(console, [f"{several(len(entries), 'image')}, {total}"])


def _are(things: Sequence[str]) -> str:
    return "is" if len(things) == 1 else "are"


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
