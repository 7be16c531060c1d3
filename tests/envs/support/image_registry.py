"""An image registry on this machine, filled over its HTTP API, and an engine that pulls from it.

The engine has none of these images before a test asks for them. All names hold `MINE`.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import random
import re
import shutil
import socket
import subprocess
import tarfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker
import pytest
import requests

from envs import SandboxUnavailable
from envs.docker.client import connect

__all__ = ["LIST", "MANIFEST", "MINE", "SIZE", "LocalRegistry", "engine", "free_port", "serving", "soon"]

MINE = f"coding-monkeys-test-{uuid.uuid4().hex[:12]}"
SIZE = 1_000_000  # of an image, of noise, so of its one layer too
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
LIST = "application/vnd.docker.distribution.manifest.list.v2+json"


@contextmanager
def engine() -> Iterator[docker.DockerClient]:
    """The engine here; at the end it has nothing of ours any more. Skips where there is none."""
    try:
        client = connect(60)
    except SandboxUnavailable as error:
        pytest.skip(str(error))
    yield client
    for container in client.api.containers(all=True, filters={"label": MINE}):
        client.api.remove_container(container["Id"], force=True)
    for image in client.api.images(all=True):
        for name in image["RepoTags"] or ():
            if MINE in name:
                client.api.remove_image(name, force=True)
    for volume in client.api.volumes()["Volumes"] or ():
        if MINE in volume["Name"]:
            client.api.remove_volume(volume["Name"])
    client.close()


class LocalRegistry:
    """The registry at `host`, its access log in a file."""

    def __init__(self, host: str, log: Path) -> None:
        self.host, self._log = host, log

    def push(self, tag: str, *, path: str = MINE, machine: str = "amd64", size: int = SIZE) -> str:
        """Put an image there: one file of noise, or with machine "both" a list of two. Its name."""
        if machine == "both":
            entries = []
            for each in ("amd64", "arm64"):
                self.push(f"{tag}-{each}", path=path, machine=each)
                there = requests.get(
                    f"{self.url(path)}/manifests/{tag}-{each}", headers={"Accept": MANIFEST}, timeout=9
                )
                digest = there.headers["Docker-Content-Digest"]
                platform = {"os": "linux", "architecture": each}
                entries.append(
                    {"mediaType": MANIFEST, "digest": digest, "size": len(there.content), "platform": platform}
                )
            self.put(path, tag, LIST, {"schemaVersion": 2, "mediaType": LIST, "manifests": entries})
        else:
            packed = io.BytesIO()
            with tarfile.open(fileobj=packed, mode="w") as tar:
                member = tarfile.TarInfo("noise")
                member.size = size
                tar.addfile(member, io.BytesIO(random.Random(tag + path + machine).randbytes(size)))
            layer = gzip.compress(packed.getvalue(), 1)
            whole = f"sha256:{hashlib.sha256(packed.getvalue()).hexdigest()}"
            config = json.dumps(
                {
                    "architecture": machine,
                    "os": "linux",
                    "config": {"Cmd": ["/noise"], "Labels": {"tag": tag}},
                    "rootfs": {"type": "layers", "diff_ids": [whole]},
                }
            ).encode()
            manifest = {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": self._blob(path, "application/vnd.docker.container.image.v1+json", config),
                "layers": [self._blob(path, "application/vnd.docker.image.rootfs.diff.tar.gzip", layer)],
            }
            self.put(path, tag, MANIFEST, manifest)
        return f"{self.host}/{path}:{tag}"

    def url(self, path: str) -> str:
        return f"http://{self.host}/v2/{path}"

    def _blob(self, path: str, kind: str, data: bytes) -> dict[str, Any]:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        place = requests.post(f"{self.url(path)}/blobs/uploads/", timeout=9).headers["Location"]
        requests.put(place, params={"digest": digest}, data=data, timeout=9).raise_for_status()
        return {"mediaType": kind, "size": len(data), "digest": digest}

    def put(self, path: str, tag: str, kind: str, manifest: dict[str, Any]) -> None:
        url = f"{self.url(path)}/manifests/{tag}"
        requests.put(url, data=json.dumps(manifest), headers={"Content-Type": kind}, timeout=9).raise_for_status()

    def asked(self, path: str) -> int:
        """How often blobs of this repository were fetched: twice for one pull, for a configuration and a layer."""
        return len(re.findall(f'"GET /v2/{path}/blobs/', self._log.read_text()))


@contextmanager
def serving(folder: Path) -> Iterator[LocalRegistry]:
    """A registry that keeps its data in `folder`. Skips where the program is not installed."""
    program = shutil.which("docker-registry") or shutil.which("registry")
    if program is None:
        pytest.skip("no docker-registry is installed here")
    host = f"127.0.0.1:{free_port()}"
    (folder / "config.yml").write_text(
        f"version: 0.1\nlog: {{level: error}}\nhttp: {{addr: '{host}'}}\n"
        f"storage: {{filesystem: {{rootdirectory: '{folder}/data'}}, delete: {{enabled: true}}}}\n"
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, "serve", str(folder / "config.yml")], stdout=log, stderr=log)
        try:
            assert soon(lambda: answers(host), 10), (folder / "log").read_text()
            yield LocalRegistry(host, folder / "log")
        finally:
            process.terminate()
            process.wait(10)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answers(host: str) -> bool:
    try:
        return requests.get(f"http://{host}/v2/", timeout=1).ok
    except requests.RequestException:
        return False


def soon(true: Callable[[], bool], seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
