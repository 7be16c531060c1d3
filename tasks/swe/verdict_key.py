"""The key of a verdict: a hash of all that a verdict on a patch depends on.

Guarantees: verdicts with equal keys may be used for one another, in any run of this machine. The key is stable: it does
not depend on how this program names or arranges things, so entries of earlier versions of the program stay valid as
long as the rules of verification (`VERSION` in `tasks.swe.patch_verifier`) stay the same. Two keys of fixed examples
are held by tests/tasks/test_verdict_key.py.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Protocol, runtime_checkable

from envs import Backend, Limits, Origin
from tasks.swe.graders import needs_harness
from tasks.swe.harness import has_blank_inside
from tasks.swe.patch_verifier import VERSION
from tasks.swe.patches import changes, is_canonical
from tasks.swe.task import as_swe
from tasks.task import Task

__all__ = ["Identifies", "can_identify", "contents_of", "normalised", "verdict_key"]

# The fields of a row that decide beside the patch. The known solution is one: with it falsified tests are checked.
SPEC = ("eval_script", "log_parser", "eval_type", "test_command", "test_patch", "patch", "FAIL_TO_PASS", "PASS_TO_PASS")
# The line of a header with the hashes of a file before and after, without the latter.
HASHES = re.compile(rb"^(index [0-9a-f]+)\.\.[0-9a-f]+", re.M)
BLANKS = "ids with blanks are read whole"  # only in the keys of tasks that have such ids, whose verdicts it changed
# The limits that do not bear on a run of the tests, which has its own time and its own cap of output.
WITHOUT_EFFECT = ("command_seconds", "lifetime_seconds", "output_bytes")


@runtime_checkable
class Identifies(Protocol):
    """A back end that can identify by content what its sandboxes of an origin hold."""

    async def identity(self, origin: Origin) -> str:
        """A text that is the same for the same content only, such as an image's id. Raises `SandboxError`."""
        ...


def can_identify(backend: Backend) -> bool:
    """Whether `contents_of` goes by content, so that verdicts may be kept."""
    return isinstance(_behind_pool(backend), Identifies)


async def contents_of(backend: Backend, task: Task) -> str:
    """What sandboxes of `backend` hold for a task, in a text; by name only where the back end cannot identify it.

    Raises `SandboxError`.
    """
    origin, source = as_swe(task).origin, _behind_pool(backend)
    if isinstance(source, Identifies):
        return f"{backend.name} {await source.identity(origin)}"
    return f"{backend.name} {origin.image or origin.repository}"


def normalised(patch: bytes) -> bytes:
    """The patch without the hashes that do not change what it does: those of the texts that it makes.

    The hash of what a file was before decides whether a patch that fits nowhere else is merged; both hashes of a binary
    file decide whether it applies at all.
    """
    if not is_canonical(patch):
        return patch
    return b"".join(part.text if part.binary else HASHES.sub(rb"\1", part.text, count=1) for part in changes(patch))


def verdict_key(task: Task, patch: bytes, *, contents: str, limits: Limits, seconds: float, repeats: int = 1) -> str:
    """All that a verdict depends on, as 32 hexadecimal digits. `contents` is the text that `contents_of` gives."""
    issue = as_swe(task)
    spec = {name: issue.instance.get(name) for name in SPEC}
    grader = _swebench() if needs_harness(issue) else ""
    within = {name: value for name, value in asdict(limits).items() if name not in WITHOUT_EFFECT}
    parts = [VERSION, grader, contents, issue.origin.commit, issue.id, spec, within, seconds, repeats]
    if grader and any(map(has_blank_inside, (*issue.fail_to_pass, *issue.pass_to_pass))):
        parts.append(BLANKS)
    text = json.dumps(parts, sort_keys=True, default=str).encode() + b"\0" + normalised(patch)
    return hashlib.sha256(text).hexdigest()[:32]


def _behind_pool(backend: Backend) -> Backend:
    """The back end itself, where `backend` is a pool of its sandboxes."""
    return getattr(backend, "backend", backend)


@cache
def _swebench() -> str:
    """The version of the log parsers."""
    try:
        return version("swebench")
    except PackageNotFoundError:
        return ""
