"""The patch of a container taken while it is in use: that of the end, and nobody inside can tell."""

from __future__ import annotations

from collections.abc import Iterator

import docker
import pytest

from envs import Command
from envs.in_passing import InPassing
from tests.envs.support.docker_image import DockerHarness, engine, full_image

NESTED = "nested repository"  # which is looked at again each time
CHANGES = {
    "edit": "echo x > a.txt; echo new > new; rm -rf deep",
    "ignored": "echo x > a.log; echo y > a.txt",
    "committed": "echo 2 > a.txt; git add -A; git commit -qm work; echo y > y",
    "large file": "head -c 34000000 /dev/zero > large; echo x > a.txt",
    "attributes": "printf '* text eol=crlf\\n' > .gitattributes; echo x > a.txt",
    NESTED: "git init -q n; echo z > n/z",
}
# Every file with its times, but for that of reading, and every process.
STATE = """
import os
for top in (".", "/tmp"):
    for place, folders, files in sorted(os.walk(top)):
        for name in sorted([*folders, *files]):
            path, found = os.path.join(place, name), os.lstat(os.path.join(place, name))
            print(path, found.st_ino, found.st_mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
print(os.lstat("/tmp").st_mtime_ns)
print(sum(b"sleep" in open(f"/proc/{one}/comm", "rb").read() for one in os.listdir("/proc") if one.isdigit()))
"""


@pytest.fixture(scope="module")
def client() -> Iterator[docker.DockerClient]:
    yield from engine()


@pytest.fixture(scope="module")
def harness(client: docker.DockerClient) -> Iterator[DockerHarness]:
    harness = DockerHarness(full_image(client))
    yield harness
    harness.close()


def test_each_patch_in_passing_is_that_of_the_end_and_nothing_inside_has_changed(harness: DockerHarness) -> None:
    async def story() -> None:
        sandbox = await harness.open()
        try:
            passing = InPassing(sandbox)
            assert await passing.diff() == b""
            for name, script in CHANGES.items():
                await sandbox.run(Command("(sleep 1000 & ) > /dev/null 2>&1; " + script))
                before = (await sandbox.run(Command(("python3", "-c", STATE)))).output
                patch = await passing.diff()
                assert (await sandbox.run(Command(("python3", "-c", STATE)))).output == before, name
                assert before.endswith(b"\n1\n")
                assert patch == await sandbox.diff(), name
                again = await sandbox.peek()  # type: ignore[attr-defined]
                assert again == (patch if name == NESTED else None), name
        finally:
            await sandbox.close()

    harness(story())
