"""A back end of another package: found by its entry point, and the documented example in use."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from envs import SANDBOXES, Backend, Command, Limits, UnknownName, backend
from envs.local.backend import LocalBackend
from tests.helpers import git_repository

DOCS = Path(__file__).parents[2] / "docs"
EXAMPLE = DOCS / "examples" / "bubblewrap_backend.py"


def works_here() -> bool:
    bwrap = shutil.which("bwrap")
    if not bwrap or not os.path.exists("/usr/bin/python3"):
        return False
    return subprocess.run([bwrap, "--unshare-all", "--ro-bind", "/", "/", "true"], check=False).returncode == 0


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The example as an installed package: its module and the metadata that an installer writes."""
    site = tmp_path / "site"
    info = site / "bubblewrap_backend-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bubblewrap-backend\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[coding_monkeys.sandboxes]\nbubblewrap = bubblewrap_backend:BubblewrapBackend\n"
        "broken = not_there:Backend\nlocal = not_there:Backend\n"
    )
    shutil.copy(EXAMPLE, site)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.delitem(sys.modules, "bubblewrap_backend", raising=False)
    # A registry looks once for what is installed: it looks again here, and after this test.
    vars(SANDBOXES).pop("_offered", None)
    yield
    vars(SANDBOXES).pop("_offered", None)


def test_the_example_is_short() -> None:
    assert len(EXAMPLE.read_text().splitlines()) <= 100


@pytest.mark.usefixtures("installed")
def test_an_unknown_name_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(UnknownName, match="no sandbox 'nowhere'; choose one of local, docker, broken, bubblewrap"):
        backend("nowhere")
    with pytest.raises(UnknownName, match=r"no sandbox 'dockr'; did you mean docker\?"):
        backend("dockr")


@pytest.mark.usefixtures("installed")
def test_a_package_does_not_replace_a_built_in_one() -> None:
    assert SANDBOXES.names == ["local", "docker", "broken", "bubblewrap"]
    assert isinstance(backend("local"), LocalBackend)


@pytest.mark.usefixtures("installed")
def test_one_that_cannot_be_imported_is_told_with_its_cause() -> None:
    with pytest.raises(
        UnknownName, match=r"'broken' \(not_there:Backend\) cannot be imported: ModuleNotFoundError: No "
    ):
        backend("broken")


@pytest.mark.skipif(not works_here(), reason="bubblewrap is not installed or not allowed here")
@pytest.mark.usefixtures("installed")
def test_the_example_runs_reads_writes_diffs_and_forks(tmp_path: Path) -> None:
    origin = git_repository(tmp_path / "repository", {"a.txt": b"one\n", "p/b.txt": b"two\n"})

    async def work(sandboxes: Backend) -> None:
        await sandboxes.start()
        sandbox = await sandboxes.open(origin, Limits(), label="example")
        done = await sandbox.run(Command("cat a.txt; cat /etc/passwd; touch /usr/x; ls /home /root; exit 3"))
        assert done.returncode == 3
        assert done.output.startswith(b"one\n")
        assert b"root" not in done.output.replace(b"/root", b"")
        await sandbox.write("new.txt", b"new\n")
        patch = await sandbox.diff()
        assert b"+new" in patch
        snapshot = await sandbox.snapshot()
        await sandbox.run(Command("rm -r p"))
        fork = await snapshot.fork(label="fork")
        assert await fork.diff() == patch
        assert b"deleted file mode" in await sandbox.diff()
        for one in (sandbox, fork, snapshot):
            await one.close()

    async def whole() -> None:
        sandboxes = backend("bubblewrap")
        try:
            await work(sandboxes)
        finally:
            await sandboxes.close()

    asyncio.run(whole())
