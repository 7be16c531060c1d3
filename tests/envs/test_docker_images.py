"""Images: pulled once, from mirrors, with retries, onto disks that are too small, and removed under a quota.

On a real engine and a real registry, both on this machine. Images are uploaded to the registry over its HTTP API, so
that the engine has none of them before a test asks for one.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import docker
import pytest
import requests
from docker.errors import ImageNotFound

from envs import SandboxUnavailable
from envs.base import IMAGE_LABEL
from envs.base import NAME as BASE
from envs.docker.image_pulls import PullFailed
from envs.docker.images import Images
from envs.events import Event, Status, Warned
from tests.envs.support.image_registry import (
    LIST,
    MANIFEST,
    MINE,
    SIZE,
    LocalRegistry,
    engine,
    free_port,
    serving,
    soon,
)

PROJECT = Path(__file__).resolve().parents[2]
MB = 1e-3  # quotas are in GB
BUSY = b'{"errors": [{"code": "TOOMANYREQUESTS", "message": "You have reached your pull rate limit."}]}'


# an engine and a registry


@pytest.fixture(scope="module")
def client() -> Iterator[docker.DockerClient]:
    with engine() as client:
        yield client


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalRegistry]:
    with serving(tmp_path_factory.mktemp("registry")) as registry:
        yield registry


class Proxy:
    """Stands before the registry: refuses the first `refusals` questions for manifests, holds layers back.

    With `hub` it wants a token that anybody gets, and tells that it counts, as public registries do.
    """

    def __init__(self, behind: str) -> None:
        self.refusals: list[int] = []
        self.go_on = threading.Event()
        self.go_on.set()
        self.hub = False
        self.told = 0  # manifests
        self.holding = threading.Event()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if proxy.hub and self.hub():
                    return
                proxy.told += "/manifests/" in self.path
                if "/manifests/" in self.path and proxy.refusals:
                    self.send_response(proxy.refusals.pop())
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(BUSY)))
                    self.end_headers()
                    if self.command == "GET":
                        self.wfile.write(BUSY)
                    return
                there = http.client.HTTPConnection(behind, timeout=9)
                there.request(self.command, self.path, headers={"Accept": f"{MANIFEST}, {LIST}"})
                answer = there.getresponse()
                body = answer.read()
                there.close()
                self.send_response(answer.status)
                for key, value in answer.getheaders():
                    self.send_header(key, value)
                if proxy.hub:
                    self.send_header("ratelimit-limit", "100;w=21600")
                self.end_headers()
                if self.command == "HEAD":
                    return
                with contextlib.suppress(OSError):  # whoever asked may be gone
                    self.wfile.write(body[:1000])
                    self.wfile.flush()
                    if len(body) > SIZE // 2 and not proxy.go_on.is_set():
                        proxy.holding.set()
                        proxy.go_on.wait(20)
                    self.wfile.write(body[1000:])

            do_HEAD = do_GET

            def hub(self) -> bool:
                """Give a token, or ask for it."""
                scope = f"repository:{self.path.removeprefix('/v2/').partition('/manifests')[0]}:pull"
                if self.path.startswith("/token?") and "service=here" in self.path and "scope=repository" in self.path:
                    answer, status = b'{"token": "anybody"}', 200
                elif self.headers["Authorization"] == "Bearer anybody":
                    return False
                else:
                    answer, status = b"{}", 401
                self.send_response(status)
                realm = f"http://{proxy.host}/token"
                self.send_header("WWW-Authenticate", f'Bearer realm="{realm}",service="here",scope="{scope}"')
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)
                return True

            def log_message(self, *words: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self) -> None:
        self.go_on.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def proxy(registry: LocalRegistry) -> Iterator[Proxy]:
    proxy = Proxy(registry.host)
    yield proxy
    proxy.close()


class ImagesHarness:
    """Makes `Images` that share an index, a clock that stands still, and a list of the texts of events."""

    def __init__(self, client: docker.DockerClient, folder: Path) -> None:
        self._client, self.index = client, folder / "images.sqlite"
        self.said: list[str] = []
        self.now = 1_000_000.0

    def take(self, event: Event) -> None:
        assert isinstance(event, Status | Warned)
        self.said.append(event.text)

    def images(self, **settings: Any) -> Images:
        return Images(
            self._client,
            index=self.index,
            events=self.take,
            clock=lambda: self.now,
            patience=0.01,
            **{"floor_gb": 0.0, **settings},
        )


@pytest.fixture
def harness(client: docker.DockerClient, tmp_path: Path) -> ImagesHarness:
    return ImagesHarness(client, tmp_path)


@pytest.fixture
def is_here(client: docker.DockerClient) -> Callable[[str], bool]:
    def there(image: str) -> bool:
        try:
            client.api.inspect_image(image)
        except ImageNotFound:
            return False
        return True

    return there


Here = Callable[[str], bool]


# pulling


def test_an_image_is_pulled_with_progress_and_is_here_the_next_time(
    registry: LocalRegistry, harness: ImagesHarness, client: docker.DockerClient
) -> None:
    image = registry.push("progress", path=f"{MINE}-progress")
    identity = harness.images().have(image)
    assert identity == client.images.get(image).id
    assert harness.said[0] == f"pulling {image}"
    assert any(re.search(r": \d+\.\d of 1\.0 MB$", line) for line in harness.said)
    assert re.search(r"^pulled .*: 1\.0 MB in \d+\.\d s$", harness.said[-1])
    harness.said.clear()
    assert harness.images().have(image) == identity
    assert harness.said == []
    assert registry.asked(f"{MINE}-progress") == 2


def test_bytes_are_told_to_whoever_draws_them(registry: LocalRegistry, harness: ImagesHarness) -> None:
    moved: list[tuple[str, int, int]] = []
    image = registry.push("moved")
    harness.images(moved=lambda *step: moved.append(step)).have(image)
    name, done, total = moved[-1]
    assert (name, done) == (image, total)
    assert total == pytest.approx(SIZE, rel=0.01)
    assert not any(" of " in line for line in harness.said)


HAVE = """
import sys, docker, pathlib
from envs.docker.images import Images
client = docker.from_env()
images = Images(client, index=pathlib.Path(sys.argv[1]), floor_gb=0, events=lambda event: print(event.text, flush=True))
print(images.have(sys.argv[2]))
client.close()
"""


def test_threads_and_processes_that_want_the_same_image_pull_it_once(
    registry: LocalRegistry, harness: ImagesHarness
) -> None:
    image = registry.push("once", path=f"{MINE}-once", size=8 * SIZE)
    command = [sys.executable, "-c", HAVE, str(harness.index), image]
    processes = [subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    images = harness.images()
    with ThreadPoolExecutor(5) as threads:
        found = {*threads.map(images.have, [image] * 5)}
    found |= {process.communicate()[0].splitlines()[-1] for process in processes}
    assert len(found) == 1
    assert registry.asked(f"{MINE}-once") == 2


def test_a_mirror_is_asked_first_and_leaves_only_the_plain_name(
    registry: LocalRegistry, harness: ImagesHarness, is_here: Here
) -> None:
    plain = f"{MINE}/mirrored:v1"
    registry.push("v1", path=f"hub/{plain.partition(':')[0]}")
    identity = harness.images(mirror=f"{registry.host}/hub/").have(plain)
    assert identity.startswith("sha256:")
    assert is_here(plain)
    assert not is_here(f"{registry.host}/hub/{plain}")
    assert [entry.image for entry in harness.images().listed()] == [plain]


def test_what_a_mirror_has_not_got_is_pulled_under_its_plain_name(
    registry: LocalRegistry, harness: ImagesHarness, is_here: Here
) -> None:
    image = registry.push("plain")
    harness.images(mirror=f"{registry.host}/nothing").have(image)
    assert is_here(image)
    assert any("is not there" in line for line in harness.said)


def test_an_image_named_by_its_digest_comes_through_a_mirror_too(
    registry: LocalRegistry, harness: ImagesHarness
) -> None:
    path = f"{MINE}/digest"
    registry.push("v1", path=f"hub/{path}")
    there = requests.get(f"{registry.url(f'hub/{path}')}/manifests/v1", headers={"Accept": MANIFEST}, timeout=9)
    image = f"{path}@{there.headers['Docker-Content-Digest']}"
    mirror = f"{registry.host}/hub"
    identity = harness.images(mirror=mirror).have(image)
    harness.said.clear()
    assert harness.images(mirror=mirror).have(image) == identity
    assert harness.said == []
    harness.now += 3600
    assert [entry.id for entry in harness.images(quota_gb=0).evict()] == [identity]


def test_a_name_that_is_none_is_refused(harness: ImagesHarness) -> None:
    with pytest.raises(SandboxUnavailable, match="correct its name"):
        harness.images().have("Not:A:Name")


def test_an_image_that_nobody_has_is_refused_at_once_with_the_cause_and_a_remedy(
    registry: LocalRegistry, harness: ImagesHarness
) -> None:
    image = f"{registry.host}/{MINE}:nowhere"
    with pytest.raises(SandboxUnavailable, match=rf"{image} .*cannot be pulled .*not found.*; .*--ids"):
        harness.images().have(image)
    assert not any("once more" in line for line in harness.said)


def test_who_is_refused_is_told_to_log_in_and_a_number_in_a_name_tells_nothing() -> None:
    assert "docker login" in PullFailed("received unexpected HTTP status: 429 Too Many Requests").remedy
    assert "docker login" not in PullFailed(f"manifest for 127.0.0.1:43429/a@sha256:{'429' * 21}a not found").remedy


def test_an_image_is_pulled_for_the_platform_that_is_asked_for(
    registry: LocalRegistry, harness: ImagesHarness, client: docker.DockerClient
) -> None:
    image = registry.push("both", machine="both")
    harness.images(platform="linux/arm64").have(image)
    assert client.images.get(image).attrs["Architecture"] == "arm64"
    with pytest.raises(SandboxUnavailable, match=r"is here for linux/arm64, and linux/amd64 is asked for; remove it"):
        harness.images(platform="linux/x86_64").have(image)


def test_an_image_for_another_platform_only_is_refused(registry: LocalRegistry, harness: ImagesHarness) -> None:
    image = registry.push("arm", machine="arm64")
    with pytest.raises(SandboxUnavailable, match=r"for linux/arm64, and linux/amd64 is asked for.*--platform"):
        harness.images(platform="linux/amd64").have(image)
    with pytest.raises(SandboxUnavailable, match="like linux/amd64"):
        harness.images(platform="amd64")


@pytest.mark.parametrize("status", [429, 503])
def test_a_registry_that_is_busy_is_asked_again(
    registry: LocalRegistry, proxy: Proxy, harness: ImagesHarness, status: int
) -> None:
    registry.push(f"busy{status}")
    proxy.refusals = [status] * 4  # the engine asks twice, and so do we
    harness.images().have(f"{proxy.host}/{MINE}:busy{status}")
    assert any("once more in" in line for line in harness.said)


def test_a_registry_that_stays_busy_is_given_up_with_the_cause(
    registry: LocalRegistry, proxy: Proxy, harness: ImagesHarness
) -> None:
    registry.push("busy")
    proxy.refusals = [429] * 99
    with pytest.raises(SandboxUnavailable, match=r"pull rate limit.*docker login.*--image-mirror"):
        harness.images().have(f"{proxy.host}/{MINE}:busy")
    assert sum("once more in" in line for line in harness.said) == 4


def test_a_process_killed_in_the_middle_of_a_pull_leaves_nothing_in_the_way(
    registry: LocalRegistry, proxy: Proxy, harness: ImagesHarness, is_here: Here
) -> None:
    registry.push("killed", size=2 * SIZE)
    image = f"{proxy.host}/{MINE}:killed"
    proxy.go_on.clear()
    process = subprocess.Popen(
        [sys.executable, "-c", HAVE, str(harness.index), image], cwd=PROJECT, stdout=subprocess.PIPE
    )
    assert proxy.holding.wait(10)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    proxy.go_on.set()
    harness.images().have(image)
    assert is_here(image)


def test_a_pull_that_is_stopped_ends_and_can_be_taken_up_again(
    registry: LocalRegistry, proxy: Proxy, harness: ImagesHarness, is_here: Here
) -> None:
    registry.push("stopped", size=2 * SIZE)
    image = f"{proxy.host}/{MINE}:stopped"
    proxy.go_on.clear()
    images = harness.images()
    with ThreadPoolExecutor(2) as threads:
        pulling = threads.submit(images.have, image)
        assert proxy.holding.wait(10)
        waiting = threads.submit(images.have, image)
        assert soon(lambda: any("waiting for" in line for line in harness.said))
        images.stop()
        with pytest.raises(SandboxUnavailable, match="was stopped"):
            waiting.result(5)
        with pytest.raises(SandboxUnavailable, match="was stopped"):
            pulling.result(5)
    proxy.go_on.set()
    harness.images().have(image)
    assert is_here(image)


# the disk


def test_a_pull_that_cannot_fit_is_refused_with_what_it_needs_and_what_there_is(
    registry: LocalRegistry, harness: ImagesHarness, is_here: Here
) -> None:
    image = registry.push("large")
    with pytest.raises(
        SandboxUnavailable,
        match=rf"{image} needs about 0\.0035 GB .* GB are free at /.*; free some, or .*--image-quota",
    ):
        harness.images(floor_gb=1e6).have(image)
    assert not is_here(image)


def test_layers_that_are_here_already_need_no_space(
    registry: LocalRegistry, harness: ImagesHarness, is_here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = registry.push("shared")
    harness.images().have(image)
    second = f"{registry.host}/{MINE}:shared2"
    shared = requests.get(f"{registry.url(MINE)}/manifests/shared", headers={"Accept": MANIFEST}, timeout=9)
    registry.put(MINE, "shared2", MANIFEST, shared.json())
    disk = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: disk)  # whatever others write meanwhile
    harness.images(floor_gb=disk.free / 1e9 - 0.002).have(second)  # 2 MB, and it is 3.5 in all
    assert is_here(second)


def test_a_plan_tells_what_is_here_what_is_missing_and_what_it_takes(
    registry: LocalRegistry, harness: ImagesHarness
) -> None:
    here, missing, other = (registry.push(f"plan{number}") for number in range(3))
    images = harness.images()
    images.have(here)
    plan = images.plan([missing, here, other, missing])
    assert (plan.here, plan.missing, plan.known) == ((here,), (missing, other), 2)
    assert plan.bytes == pytest.approx(2 * SIZE * 2.5, rel=0.01)
    assert plan.free is not None
    assert plan.free > 0
    both = registry.push("planboth", machine="both")
    assert images.plan([both]).bytes == pytest.approx(SIZE * 2.5, rel=0.01)
    unknown = images.plan([f"127.0.0.1:{free_port()}/{MINE}:none"])
    assert (unknown.bytes, unknown.known) == (None, 0)


def test_a_registry_that_counts_questions_is_asked_for_a_few_sizes_that_stand_for_the_others(
    registry: LocalRegistry, proxy: Proxy, harness: ImagesHarness
) -> None:
    proxy.hub = True
    images = [registry.push(f"counted{number}").replace(registry.host, proxy.host) for number in range(8)]
    plan = harness.images().plan(images)
    assert (proxy.told, plan.known, len(plan.missing)) == (5, 5, 8)
    assert plan.bytes == pytest.approx(8 * SIZE * 2.5, rel=0.01)


# removing


def pulled(registry: LocalRegistry, harness: ImagesHarness, *tags: str) -> list[str]:
    """These images, pulled one after another with an hour between."""
    images = harness.images()
    names = []
    for tag in tags:
        names.append(registry.push(tag, path=f"{MINE}-{harness.index.parent.name.replace('_', '-')}"))
        harness.now += 3600
        images.have(names[-1])
    harness.now += 3600
    return names


def test_the_least_recently_used_go_first_and_only_down_to_the_quota(
    registry: LocalRegistry, harness: ImagesHarness, is_here: Here
) -> None:
    first, second, third = pulled(registry, harness, "first", "second", "third")
    images = harness.images()
    images.have(first)
    harness.now += 3600
    assert [entry.image for entry in images.evict(quota_gb=2.1 * MB, dry_run=True)] == [second]
    assert is_here(second)
    assert [entry.image for entry in images.evict(quota_gb=2.1 * MB)] == [second]
    assert [is_here(image) for image in (first, second, third)] == [True, False, True]
    assert [entry.image for entry in images.evict({third}, quota_gb=0)] == [first]
    assert [entry.image for entry in images.listed()] == [third]


def test_a_quota_makes_space_for_the_next_pull(registry: LocalRegistry, harness: ImagesHarness, is_here: Here) -> None:
    names = pulled(registry, harness, "one", "two", "three")
    last = registry.push("four")
    harness.images(quota_gb=5 * MB).have(last)  # which may take 2.5 of them
    assert [is_here(image) for image in (*names, last)] == [False, True, True, True]
    with pytest.raises(SandboxUnavailable, match="more than the whole --image-quota"):
        harness.images(quota_gb=1 * MB).have(registry.push("five"))


def test_an_image_that_was_just_used_stays_whatever_the_quota(
    registry: LocalRegistry, harness: ImagesHarness, is_here: Here
) -> None:
    [image] = pulled(registry, harness, "just")
    images = harness.images(quota_gb=0)
    images.touch(image)
    harness.now += 300
    assert images.evict() == ()
    assert [entry.image for entry in images.evict(idle_seconds=0)] == [image]
    assert not is_here(image)


def test_images_that_others_pulled_are_never_removed(
    registry: LocalRegistry, harness: ImagesHarness, client: docker.DockerClient, is_here: Here
) -> None:
    theirs = registry.push("theirs")
    client.api.pull(theirs)
    images = harness.images(quota_gb=0)
    images.have(theirs)
    harness.now += 3600
    assert images.evict() == ()
    [ours] = pulled(registry, harness, "ours")
    client.api.tag(ours, f"{MINE}-kept", "v1")
    assert [entry.image for entry in images.evict()] == [ours]
    assert not is_here(ours)
    assert is_here(f"{MINE}-kept:v1")  # under the name that somebody else gave it
    assert is_here(theirs)


def test_an_image_that_was_replaced_under_its_name_is_no_longer_ours(
    registry: LocalRegistry, harness: ImagesHarness, client: docker.DockerClient, is_here: Here
) -> None:
    [image] = pulled(registry, harness, "replaced")
    client.api.remove_image(image)
    client.api.tag(client_image(registry, client, "substitute"), *image.rsplit(":", 1))
    assert harness.images(quota_gb=0).evict(idle_seconds=0) == ()
    assert is_here(image)


def client_image(registry: LocalRegistry, client: docker.DockerClient, tag: str) -> str:
    image = registry.push(tag)
    client.api.pull(image)
    return image


def test_an_image_that_a_container_or_a_snapshot_stands_on_is_never_removed(
    registry: LocalRegistry, harness: ImagesHarness, client: docker.DockerClient, is_here: Here
) -> None:
    [image] = pulled(registry, harness, "used")
    images = harness.images(quota_gb=0)
    container = client.api.create_container(image, labels={MINE: ""})["Id"]
    assert images.evict() == ()
    client.api.commit(container, repository=f"{MINE}-snapshot", tag="v1")
    client.api.remove_container(container)
    assert images.evict() == ()
    client.api.remove_image(f"{MINE}-snapshot:v1")
    assert [entry.image for entry in images.evict()] == [image]
    assert not is_here(image)


def test_what_was_made_from_an_image_goes_with_it(
    registry: LocalRegistry, harness: ImagesHarness, client: docker.DockerClient, is_here: Here
) -> None:
    clean, scrubbed = pulled(registry, harness, "clean", "scrubbed")
    images = harness.images(quota_gb=0)
    bases, volumes = [f"{BASE}:{MINE}-clean", f"{BASE}:{MINE}-scrubbed"], [f"{MINE}-clean", f"{MINE}-scrubbed"]
    for image, volume in zip((clean, scrubbed), volumes, strict=True):
        client.api.create_volume(volume, labels={IMAGE_LABEL: images.have(image)})
    client.api.tag(clean, *bases[0].split(":"))
    made = client.api.create_container(scrubbed, labels={MINE: "", IMAGE_LABEL: images.have(scrubbed)})["Id"]
    client.api.commit(made, *bases[1].split(":"))
    client.api.remove_container(made)
    harness.now += 3600
    container = client.api.create_container(bases[1], labels={MINE: ""})["Id"]
    assert [entry.image for entry in images.evict()] == [clean]
    client.api.remove_container(container)
    assert [entry.image for entry in images.evict()] == [scrubbed]
    assert not any(map(is_here, (clean, scrubbed, *bases)))
    left = {volume["Name"] for volume in client.api.volumes()["Volumes"] or ()}
    assert not left & set(volumes)


def test_what_was_prepared_from_an_image_counts_for_the_quota(
    registry: LocalRegistry, harness: ImagesHarness, client: docker.DockerClient, is_here: Here
) -> None:
    [image] = pulled(registry, harness, "prepared")
    images, key = harness.images(), uuid.uuid4().hex[:16]
    volume = f"{BASE}-{key}"
    labels = {IMAGE_LABEL: images.have(image), f"{BASE}.key": key}
    client.api.create_volume(volume, labels=labels)
    filled = client.api.create_container(
        image, labels={MINE: ""}, host_config=client.api.create_host_config(binds=[f"{volume}:/filled"])
    )["Id"]
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        member = tarfile.TarInfo("large")
        member.size = 3_000_000
        tar.addfile(member, io.BytesIO(bytes(member.size)))
    client.api.put_archive(filled, "/filled", packed.getvalue())
    client.api.remove_container(filled)
    client.api.tag(image, BASE, f"{key}-start")
    [alone], [whole] = images.listed(prepared=False), images.listed()
    assert whole.bytes - alone.bytes == 3_000_000
    harness.now += 3600
    assert not images.evict(quota_gb=(whole.bytes + 1) / 1e9)
    assert [entry.image for entry in images.evict(quota_gb=(alone.bytes + 1) / 1e9)] == [image]
    assert not is_here(image)
    assert volume not in {found["Name"] for found in client.api.volumes()["Volumes"] or ()}


def test_a_cache_that_cannot_be_written_stops_pulls_only(
    registry: LocalRegistry, harness: ImagesHarness, tmp_path: Path
) -> None:
    image = registry.push("cache")
    (tmp_path / "file").write_text("in the way")
    harness.index = tmp_path / "file" / "images.sqlite"
    with pytest.raises(SandboxUnavailable, match="XDG_CACHE_HOME"):
        harness.images().have(image)
    harness.index = tmp_path / "images.sqlite"
    harness.images().have(image)
    harness.index = tmp_path / "file" / "images.sqlite"
    images = harness.images()
    images.have(image)
    assert images.listed() == ()


def test_the_index_lies_in_the_users_cache(
    registry: LocalRegistry, client: docker.DockerClient, tmp_path: Path
) -> None:
    image = registry.push("home")
    script = "import docker, sys; from envs.docker.images import Images; Images(docker.from_env()).have(sys.argv[1])"
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, image],
        cwd=PROJECT,
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)},
        check=True,
    )
    assert (tmp_path / "coding-monkeys" / "images.sqlite").is_file()
