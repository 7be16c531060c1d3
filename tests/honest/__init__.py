"""Honest but odd patches: each solves its task, has odd extras or an odd form, and must be resolved.

`python -m tests.honest` prints the table. A patch is what a script leaves in a repository, written as after an attempt
or as `git diff` writes it with options of its own, and then passed through a function, as mail and editors do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from envs import Backend, Command, Limits, Sandbox
from tasks.swe.grading import Grader
from tasks.swe.patch_verifier import PatchVerifier
from tasks.swe.task import SweTask
from tests.cheats import AFRESH, Cheat, Verified, verify_patches

__all__ = ["Honest", "append", "files", "python", "verify_all"]

LARGEST = 64 << 20
LIMITS = Limits(memory_mb=1024)


@dataclass(frozen=True, slots=True)
class Honest:
    """A script that runs in the repository, with the known solution in place where it is `solved` already.

    `diff` holds the options of `git diff`; then ignored files are taken too. Without it, the patch is taken as after
    an attempt. `then` changes it afterwards.
    """

    name: str
    script: str = ""
    solved: bool = True
    diff: str | None = None
    then: Callable[[bytes], bytes] = bytes


def append(path: str, text: str) -> str:
    """Shell words that add `text` at the end of a file."""
    return f"cat >> {path} <<'END_OF_FILE'\n{text}\nEND_OF_FILE\n"


def python(text: str) -> str:
    """Shell words that run `text`, in which `put(name, data)` writes a file and `add(name, data)` adds to it."""
    return f"python3 -S - <<'END_OF_PYTHON'\n{HELPERS}{text}\nEND_OF_PYTHON\n"


def files(contents: Mapping[str, str | bytes]) -> str:
    """Shell words that write each file."""
    return python("".join(f"put({name!r}, {data!r})\n" for name, data in contents.items()))


HELPERS = """
import os
def put(name, data="", mode="wb"):
    os.makedirs(os.path.dirname(name) or (b"." if isinstance(name, bytes) else "."), exist_ok=True)
    with open(name, mode) as file:
        file.write(data.encode() if isinstance(data, str) else data)
def add(name, data):
    put(name, data, "ab")
"""


async def verify_all(
    task: SweTask, backend: Backend, grader: Grader, honest: Sequence[Honest], *, seconds: float, workers: int = 3
) -> list[Verified]:
    """The verdict on each, all by one verifier."""
    patches = await _patches(task, backend, honest)
    verifier = PatchVerifier(backend, grader, LIMITS, seconds=seconds, workers=workers)
    return await verify_patches(task, verifier, [Cheat(each.name, each.script) for each in honest], patches)


async def _patches(task: SweTask, backend: Backend, honest: Sequence[Honest]) -> list[bytes]:
    sandbox = await backend.open(task.origin, LIMITS, label="honest")
    try:
        return [each.then(await _patch(task, sandbox, each)) for each in honest]
    finally:
        await sandbox.close()


async def _patch(task: SweTask, sandbox: Sandbox, each: Honest) -> bytes:
    solve = f"git apply <<'E'\n{task.patch}E\n" if each.solved else ""
    done = await sandbox.run(Command(("bash", "-ec", f"{AFRESH}\n{solve}{each.script}"), timeout=60.0))
    assert done.returncode == 0, (each.name, done.output)
    if each.diff is None:
        return await sandbox.diff()
    take = f"git add -Af . && git -c core.safecrlf=false diff --cached --binary {each.diff} HEAD"
    taken = await sandbox.run(Command(("bash", "-ec", take), timeout=60.0, output_cap=LARGEST))
    assert taken.returncode == 0, (each.name, taken.output[-300:])
    return taken.output
