"""Keeping a machine in order: its images before and after a run, and what dead runs left.

Every command prints what it found and did. Nothing is removed that this program did not
make or pull, and nothing that belongs to a run that is still alive.
"""

from __future__ import annotations

import shutil
import sys
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

from envs.docker.images import Images, PullPlan, connect
from envs.docker.orphans import LABEL, Orphan, orphans, remove
from envs.sandbox import SandboxError, SandboxUnavailable
from monkeys.report.terminal.final_screen import columns, name
from monkeys.text import count, plain, put, several
from tasks.quick.repositories import cache_folder
from tasks.swe.rows import load_tasks

if TYPE_CHECKING:
    import docker

    from envs.docker.image_index import Pulled

__all__ = ["ImageSource", "clean", "prefetch", "remove_images", "show_images"]

GB = 1e9
HALF_BUILT_SECONDS = 3600.0  # building a repository takes a moment, so whoever began it is dead


@dataclass(frozen=True, slots=True)
class ImageSource:
    """Which images, from where, and how much of the disk they may take."""

    tasks: str | None = None
    ids: tuple[str, ...] = ()
    mirror: str = ""
    platform: str = ""
    quota_gb: float | None = None


# Images


def show_images(source: ImageSource, console: Console) -> int:
    """What this program pulled; for a task set, which of its images are here. Returns the exit code."""
    if source.tasks is None:
        with _engine() as client:
            _show_pulled(_images(client, source).listed(), console)
        return 0
    if not (wanted := _wanted(source)):
        return _nothing(console)
    with _engine() as client:
        plan = _images(client, source).plan(wanted)
    table = columns("<image", "<on this engine")
    for image in wanted:
        there = image in plan.here
        table.add_row(name(image), name("here" if there else "missing", "green" if there else "yellow"))
    put(console, [Padding(table, (1, 1, 1, 1)), *_told(plan)])
    return 0


def prefetch(source: ImageSource, parallel: int, console: Console) -> int:
    """Pull what is missing of a task set's images, `parallel` at a time. Returns 1 if some could not be had."""
    if not (wanted := _wanted(source)):
        return _nothing(console)
    with _engine() as client:
        plan = _images(client, source).plan(wanted)
        put(console, _told(plan))
        _check(plan, source)
        failed: list[tuple[str, str]] = []
        with _shown(console, len(wanted)) as (said, moved, done):
            images = _images(client, source, progress=said, moved=moved)
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
        print("error:", cause, file=sys.stderr)
    put(console, [f"{len(wanted) - len(failed):,} of {several(len(wanted), 'image')} {_are(wanted)} here"])
    return 1 if failed else 0


def remove_images(quota_gb: float, dry_run: bool, console: Console) -> int:
    """Remove the least recently used of the images that this program pulled, down to the quota."""
    with _engine() as client:
        images = _images(client, ImageSource())
        before = images.listed()
        removed = images.evict(quota_gb=quota_gb, idle_seconds=0, dry_run=dry_run)
    left = [entry for entry in before if entry not in removed]
    if removed:
        _show_pulled(removed, console, "would be removed" if dry_run else "removed")
    else:
        put(console, ["no image to be removed"])
    over = sum(entry.bytes for entry in left) - quota_gb * GB
    if left and over > 0:
        put(console, [f"{several(len(left), 'image')} stay, in use by containers or by other images:"])
        put(console, [f"  {plain(entry.image)}" for entry in left])
    return 0


def _wanted(source: ImageSource) -> list[str]:
    """The images of the tasks, each once. Raises `TaskError`."""
    assert source.tasks is not None
    tasks = load_tasks(source.tasks)
    if source.ids:
        tasks = tasks.select(list(source.ids))
    return list(dict.fromkeys(task.origin.image for task in tasks.tasks if task.origin.image is not None))


def _nothing(console: Console) -> int:
    put(console, ["these tasks need no image"])
    return 0


def _told(plan: PullPlan) -> Iterator[str]:
    every = (*plan.here, *plan.missing)
    yield f"{len(plan.here):,} of {several(len(every), 'image')} {_are(every)} here"
    if plan.missing:
        free = (
            f"{_size(plan.free)} may be used at {plan.place}" if plan.free is not None else f"{plan.place} is not seen"
        )
        if plan.bytes is None:
            yield f"how much the missing ones take cannot be told; {free}"
        else:
            judged = f", judged by {plan.known} of them" if plan.known < len(plan.missing) else ""
            yield f"the missing ones take about {_size(plan.bytes)} at the most{judged}; {free}"


def _check(plan: PullPlan, source: ImageSource) -> None:
    """Refuse what cannot end well before anything is pulled."""
    if plan.bytes is None:
        return
    if source.quota_gb is not None and plan.bytes > source.quota_gb * GB:
        raise SandboxUnavailable(
            f"the missing images take about {_size(plan.bytes)}, more than --image-quota {source.quota_gb:g} (GB) "
            "lets stay; give a larger one, or fewer tasks with --ids"
        )
    if source.quota_gb is None and plan.free is not None and plan.bytes > plan.free:
        raise SandboxUnavailable(
            f"the missing images take about {_size(plan.bytes)}, and {_size(plan.free)} may be used at {plan.place}; "
            "free some, give fewer tasks with --ids, or let --image-quota GB remove unused images"
        )


@contextmanager
def _shown(
    console: Console, images: int
) -> Iterator[tuple[Callable[[str], None], Callable[[str, int, int], None] | None, Callable[[str], None]]]:
    """Where to say a line, how far a pull is, and that an image is done: bars on a terminal, plain lines elsewhere."""
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
    """Remove what dead runs left on the engine and in the cache. Returns 1 if something could not be removed.

    Without an engine only the cache is seen to, which is said: where there is no Docker there is nothing else.
    """
    stuck = _clean_cache(dry_run, console, now())
    try:
        with _engine() as client:
            stuck += _clean_engine(client, dry_run, console, now())
    except SandboxUnavailable as error:
        print(f"warning: no containers were looked at: {error}", file=sys.stderr)
    for what in stuck:
        print("error:", " ".join(what.split()), file=sys.stderr)
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
            fate = "would be removed" if dry_run else "removed"
            if not dry_run:
                try:
                    remove(client, orphan)
                except (DockerException, RequestException) as error:
                    stuck.append(f"{orphan.kind} {orphan.what} cannot be removed: {error}")
                    fate = "still there"
            cells = (orphan.kind, orphan.what, orphan.run, orphan.owner, orphan.why, fate)
            table.add_row(*(name(str(cell)) for cell in cells))
    except (DockerException, RequestException) as error:
        return [*stuck, f"the Docker engine did not answer to the end: {error}"]
    if found:
        put(console, [Padding(table, (1, 1, 1, 1))])
    else:
        put(console, ["no run that is dead left anything on the Docker engine"])
    if alive.row_count:
        put(console, [Padding(alive, (1, 1, 1, 1))])
    return stuck


def _alive(client: docker.DockerClient, found: Sequence[Orphan]) -> Table:
    """What belongs to runs that go on, and is left alone."""
    table = columns("<of a run that goes on", "<what", "<run", "<owner")
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
    """Remove half-built repositories of dead processes. What could not be removed."""
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
            stuck.append(f"{folder} cannot be removed ({error.strerror}); see to its permissions")
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


def _show_pulled(entries: Sequence[Pulled], console: Console, fate: str = "") -> None:
    if not entries:
        put(console, ["no image that this program pulled is here"])
        return
    table = columns("<image", "size", "<pulled", "<last used", *(["<"] if fate else []))
    for entry in entries:
        cells: list[str | Text] = [name(entry.image), _size(entry.bytes), _moment(entry.pulled), _moment(entry.used)]
        table.add_row(*cells, *([name(fate)] if fate else []))
    put(console, [Padding(table, (1, 1, 1, 1))])
    size = _size(sum(entry.bytes for entry in entries))
    put(
        console,
        [f"{several(len(entries), 'image')}, {size} at the most: layers that several share are counted with each"],
    )


def _are(things: Sequence[str]) -> str:
    return "is" if len(things) == 1 else "are"


def _size(size: float) -> str:
    return f"{size / GB:,.1f} GB" if size >= GB else f"{count(size / 1e6)} MB"


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
