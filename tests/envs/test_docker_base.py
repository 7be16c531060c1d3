"""The base in a container: nothing later can be read, and the starting tree cannot be changed."""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import docker
import pytest

from envs import Command, Limits, Origin, SandboxError, SandboxUnavailable
from envs.base import IMAGE_LABEL, NAME
from envs.docker.layer_sizes import bytes_together
from envs.docker.prepared_images import PreparedImageFound, prepared_images, remove_prepared
from envs.events import Status
from tests.envs.support.docker_image import DockerHarness, containers, engine, full_image, soon

# Each kind of later work that a clone may hold, all in one repository.
DIRT = """
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b HOME=/tmp
cd /testbed && git remote add origin https://example.org/r.git && git tag v1
printf secret-fix > a.txt && git commit -qam 'later: the secret-fix' && git tag v2
git update-ref refs/remotes/origin/main HEAD && git repack -adq
printf secret-stash > a.txt && git stash -q && git reset -q --hard v1
printf secret-blob > /tmp/blob && git hash-object -w /tmp/blob && rm /tmp/blob
git rev-parse v2 > .git/FETCH_HEAD && printf 'built\\n' > built.log
"""
READ_ALL = (
    "git cat-file --batch-all-objects --batch --buffer 2>&1; grep -r secret .git 2>&1; git log --all --format=%s%n%D"
)


@pytest.fixture(scope="module")
def client() -> Iterator[docker.DockerClient]:
    yield from engine()


@pytest.fixture
def made(client: docker.DockerClient) -> Iterator[Any]:
    """Makes an image by running a script in a container of the test image; the image goes afterwards."""
    names: list[str] = []

    def make(script: str, **config: str) -> Origin:
        origin = full_image(client)
        container = client.containers.run(
            origin.image, ["/bin/sh", "-ec", script], detach=True, network_mode="none", entrypoint=[]
        )
        assert container.wait()["StatusCode"] == 0, container.logs()
        names.append(f"coding-monkeys-test-dirty-{uuid.uuid4().hex[:8]}")
        container.commit(names[-1], changes=[f"{key} {value}" for key, value in config.items()])
        container.remove()
        return replace(origin, image=names[-1])

    yield make
    for name in names:
        identity = client.images.get(name).id
        for image in client.images.list(name=NAME):
            source = image.labels.get(IMAGE_LABEL) if image.labels else None
            if source == identity or image.id == identity:
                for tag in [tag for tag in image.tags if tag.startswith(f"{NAME}:")]:
                    client.images.remove(tag, force=True)
        for volume in client.volumes.list(filters={"label": f"{IMAGE_LABEL}={identity}"}):
            volume.remove(force=True)
        client.images.remove(name, force=True)


@pytest.fixture
def harness(client: docker.DockerClient) -> Iterator[DockerHarness]:
    found = DockerHarness(full_image(client))
    yield found
    found.close()


def test_an_image_that_holds_later_work_is_scrubbed_of_it(made: Any, harness: DockerHarness) -> None:
    origin = made(DIRT, USER="0", LABEL="mine=kept")

    async def story() -> None:
        sandbox = await harness.open(image=origin.image)
        read = await sandbox.run(Command(READ_ALL, output_cap=8 << 20))
        assert b"secret" not in read.output
        assert b"base" in read.output
        status = await sandbox.run(Command("git status --short; git remote; git tag; cat a.txt"))
        assert status.output == b"?? built.log\nv1\none\ntwo\nthree\n"
        assert await sandbox.diff() == b""  # what the image's build left is none of the attempt's
        await sandbox.run(Command("printf more >> built.log"))
        assert b"+more" in await sandbox.diff()
        await sandbox.close()

    harness(story())
    told = [event.text for event in harness.events if isinstance(event, Status) and event.about == origin.image]
    steps = ["looking for what is later than the base", "removing what is later than the base", "recording the start"]
    assert [text for text in told if any(step in text for step in steps)] == [told[0], told[1], told[3]]
    assert all(text.startswith(f"preparing {origin.image}: ") for text in told[:-1])
    assert told[-1] == ""


def test_a_prepared_image_is_listed_with_its_size_and_removed_once_nothing_uses_it(
    made: Any, harness: DockerHarness, client: docker.DockerClient
) -> None:
    origin = made(f"{DIRT}head -c 3000000 /dev/urandom > large.bin")

    def listed() -> list[PreparedImageFound]:
        return [one for one in prepared_images(client, time.time()) if one.image == f"{origin.image}:latest"]

    def ended() -> bool:
        harness(asyncio.sleep(0.01))  # only then does its loop run
        return not containers(client, harness.label)

    assert listed() == []
    sandbox = harness(harness.open(image=origin.image))
    (one,) = listed()
    assert one.in_use
    assert one.why_useless == ""
    assert one.bytes is not None
    assert one.bytes > 3_000_000
    assert not remove_prepared(client, one)
    snapshot = harness(sandbox.snapshot())
    harness(sandbox.close())
    assert soon(ended, 20)
    assert listed()[0].in_use, "a sandbox may be forked from the snapshot"
    harness(snapshot.close())
    assert not listed()[0].in_use
    assert remove_prepared(client, listed()[0])
    assert listed() == []
    again = DockerHarness(origin)
    again(again.open())
    again.close()
    assert len(listed()) == 1


def test_a_layer_that_images_share_is_counted_once(made: Any, client: docker.DockerClient) -> None:
    below = full_image(client).image or ""
    above = made("head -c 3000000 /dev/urandom > /testbed/large.bin").image
    sizes = [client.images.get(name).attrs["Size"] for name in (below, above)]
    assert bytes_together(client, [below, above, above]) == bytes_together(client, [above]) == sizes[1]
    assert sizes[1] > sizes[0] > 3_000_000


def test_a_prepared_image_whose_image_is_gone_is_of_no_use(
    made: Any, harness: DockerHarness, client: docker.DockerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin = made("cd /testbed && printf more > later.txt")
    identity = client.images.get(origin.image).id.removeprefix("sha256:")[:12]

    async def story() -> None:
        await (await harness.open(image=origin.image)).close()

    harness(story())
    client.images.get(origin.image).tag("coding-monkeys-test-kept", identity)
    client.api.remove_image(f"{origin.image}:latest")
    try:
        assert not any(one.why_useless for one in prepared_images(client, 0) if one.image.endswith(identity))
        client.api.remove_image(f"coding-monkeys-test-kept:{identity}")
        (one,) = [one for one in prepared_images(client, 0) if one.image == identity]
        assert one.why_useless == "its image is gone"
    finally:
        client.images.get(f"sha256:{identity}").tag(origin.image)
    monkeypatch.setattr("envs.docker.prepared_images.VERSION", 1000)
    (one,) = [one for one in prepared_images(client, 0) if one.image == f"{origin.image}:latest"]
    assert one.why_useless == "of an earlier version"


# What root in a container can do to the programs that would take its patch.
FORGERIES = {
    "git": "g=$(command -v git) && mv $g $g.real && printf '#!/bin/sh\\necho forged\\n' > $g && chmod +x $g",
    "programs removed": "rm -f /bin/git /usr/bin/git /bin/cp /bin/mkdir /bin/cat",
    "shell": "printf '#!/bin/git version\\n' > /tmp/s && chmod +x /tmp/s && mv -f /tmp/s /bin/sh",
    "preloaded library": "printf /lib/forged.so > /etc/ld.so.preload",
    "preloaded library that cannot be renamed": "mkdir -p /etc/ld.so.preload.set-aside/x;"
    " printf /lib/forged.so > /etc/ld.so.preload; chmod 555 /etc",
    "no null device": "rm /dev/null",
    "pipe for the null device": "rm /dev/null; python3 -c 'import os; os.mkfifo(\"/dev/null\")'",
    "configuration for the null device": "rm /dev/null; printf '[core]\n\tfsmonitor = false\n"
    "\texcludesFile = /tmp/all\n' > /dev/null; printf '*\n' > /tmp/all",
    "folders closed": "chmod 000 /run /tmp /dev /",
    "home for nobody": "mkdir -p /nonexistent/git; printf '*\n' > /nonexistent/git/ignore",
    "configuration of the system": "printf '[core]\\n\\texcludesFile = /tmp/all\\n' > /etc/gitconfig;"
    " printf '*\\n' > /tmp/all; printf '* -diff\\n' > /etc/gitattributes",
    "configuration of the user": "for d in /tmp/.config/git ~/.config/git; do mkdir -p $d;"
    " printf '*\\n' > $d/ignore; printf '* -diff\\n' > $d/attributes; done",
}


def test_the_patch_is_taken_by_programs_that_no_command_can_change(harness: DockerHarness) -> None:
    async def story(harm: str) -> None:
        sandbox = await harness.open()
        await sandbox.run(Command("printf changed > a.txt; printf new > new.txt"))
        patch = await sandbox.diff()
        assert patch.count(b"diff --git") == 2
        await sandbox.run(Command(harm))
        assert await sandbox.diff() == patch, harm
        await sandbox.close()

    async def stories() -> None:
        await asyncio.gather(*map(story, FORGERIES.values()))

    harness(stories())


def test_the_patch_is_right_whatever_the_agent_does_to_git(made: Any, harness: DockerHarness) -> None:
    async def story() -> None:
        sandbox = await harness.open()
        await sandbox.run(Command("printf changed > a.txt"))
        patch = await sandbox.diff()
        assert b"+changed" in patch
        for harm in (
            "git add -A && git -c user.name=a -c user.email=a@b commit -qm mine",
            "git update-ref refs/replace/$(git rev-parse HEAD^) HEAD; printf 'a.txt binary\\n' > .git/info/attributes",
            "git config core.fileMode false; git config core.worktree /tmp; printf a.txt > .git/info/exclude",
            "for f in .git/objects/*/*; do chmod 644 $f; printf broken > $f; done",
            "rm -rf .git",
            "printf nothing > .git",
            "git init -q /tmp/x && rm .git && mkdir .git",
        ):
            await sandbox.run(Command(harm))
            assert (await sandbox.diff()).startswith(patch[: patch.index(b"@@")]), harm
        refused = await sandbox.run(Command("printf x > /run/base.git/HEAD || rm -rf /run/base.git/objects"))
        assert refused.returncode != 0
        assert await sandbox.diff() == patch
        await sandbox.close()

    harness(story())


INNER = """
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b HOME=/tmp
make() { mkdir -p "$1"; cd "$1"; git init -q; printf 'one\\n' > f; printf log > k.log; printf '*.log\\n' > .gitignore; }
keep() { git add -f .; git commit -qm inner; }
(make /testbed/lib/deep; keep)
link() { mkdir $1; git update-index --add --cacheinfo 160000,$(git rev-parse HEAD),$1; }
(make /testbed/lib; keep; printf left > left; link gone)
cd /testbed; git add lib; link absent; git commit -qm set-up
(make /testbed/p/clone; keep)
(make '/testbed/no commit')
"""
WORK = {
    """
    printf 'two\\n' >> lib/f; printf x > lib/new; printf x >> lib/left; printf x >> lib/deep/f
    printf x >> lib/k.log; printf x > lib/new.log; rm lib/deep/k.log
    printf x >> p/clone/f; printf x >> 'no commit/f'; printf x > absent/f; printf x > lib/gone/f
    cd lib; git add -A; git -c user.name=a -c user.email=a@b commit -qm x; git init -q n; printf x > n/f
    """: """
    absent/f lib/deep/f lib/deep/k.log lib/f lib/gone/f lib/k.log lib/left lib/n/f lib/new no commit/f p/clone/f
    """,
    "rm -rf lib/.git lib/f; printf 'lib/* text\\n' > .gitattributes": ".gitattributes lib/f",
}


def test_the_files_of_submodules_and_other_repositories_in_an_image_are_compared_as_files(
    made: Any, harness: DockerHarness
) -> None:
    origin = made(INNER)

    async def story(script: str, names: str) -> None:
        sandbox = await harness.open(image=origin.image)
        assert await sandbox.diff() == b""
        done = await sandbox.run(Command(f"set -e; {script}"))
        assert done.returncode == 0, done.output
        patch = await sandbox.diff()
        await sandbox.close()
        assert re.findall(r"^diff --git a/(.+) b/\1$", patch.decode(), re.M) == re.findall(r"no commit/f|\S+", names)
        fresh = await harness.open(image=origin.image)
        applied = await fresh.run(Command("git apply --whitespace=nowarn -", stdin=patch))
        assert applied.returncode == 0, applied.output
        assert await fresh.diff() == patch
        await fresh.close()

    async def stories() -> None:
        await asyncio.gather(*(story(script, names) for script, names in WORK.items()))

    harness(stories())


def test_a_later_sandbox_finds_the_image_seen_to(
    made: Any, harness: DockerHarness, client: docker.DockerClient
) -> None:
    origin = made("cd /testbed && printf more > later.txt")

    async def story() -> None:
        await (await harness.open(image=origin.image)).close()

    harness(story())
    tags = {tag for image in client.images.list(name=NAME) for tag in image.tags}
    again = DockerHarness(origin)
    again(again.open())
    again.close()
    assert {tag for image in client.images.list(name=NAME) for tag in image.tags} == tags


@pytest.mark.parametrize(
    ("script", "changed", "why"),
    [
        ("rm -rf /testbed/.git", {}, "not a git repository"),
        ("cd /testbed", {"commit": "1" * 40}, "does not hold the base commit 1111"),
        (
            "cd /testbed; for i in 1 2; do git -c user.name=a -c user.email=a@b commit -q --allow-empty -m $i; done",
            {},
            "its HEAD is 2 commits ahead",
        ),
        ("cd /testbed", {"workdir": "/empty"}, "not a git repository"),
    ],
)
def test_an_image_at_another_base_is_refused(
    script: str, changed: dict[str, str], why: str, made: Any, harness: DockerHarness
) -> None:
    origin = replace(made(script), **changed)
    with pytest.raises(SandboxUnavailable, match=why):
        harness(harness.backend.open(origin, Limits(), label="refused"))


def test_a_sandbox_without_a_base_has_no_patch(harness: DockerHarness) -> None:
    async def story() -> None:
        sandbox = await harness.open(commit="", workdir="/tmp")
        assert (await sandbox.run(Command("pwd"))).output == b"/tmp\n"
        with pytest.raises(SandboxError, match="without a base commit"):
            await sandbox.diff()
        await sandbox.close()

    harness(story())
