"""Finds the source of a model by its name.

Names are exact. A name `kind` or `kind:rest` belongs to the source that is registered as `kind`, if that source takes
it; with the address of a server, every name is that of a served model. So `monkey` is the built-in model, and
`monkey-7b` is a served model or none at all. A package registers its own source under the entry point
`coding_monkeys.models`:

    [project.entry-points."coding_monkeys.models"]
    parrot = "my_package:ParrotSource"
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from agent.models.built_in import HostedSource, ServedSource
from agent.models.model import Model, ModelRefused
from agent.models.source import ModelRequest, ModelSource
from agent.scaffolds import Scaffold, Unsuited
from agent.servers.spec import Serve
from envs.errors import MonkeysError
from envs.registry import Registry

if TYPE_CHECKING:
    from agent.servers.server import Server

__all__ = ["MODELS", "check_suited", "find_source", "make_model", "make_server", "model_names"]

MODELS = Registry(
    "models",
    "model",
    ModelSource,
    {
        "monkey": "agent.models.built_in:MonkeySource",
        "smollm2": "agent.models.built_in:SmolLM2Source",
        "replay": "agent.models.built_in:ReplaySource",
        "scripted": "agent.models.built_in:ScriptedSource",
    },
)


def find_source(request: ModelRequest) -> ModelSource:
    """The source of the model that is asked for. Raises `ModelRefused` with the nearest name if there is none."""
    if request.serve.weights is not None:
        if request.base_url:
            raise ModelRefused("--serve starts a server and --base-url names one that runs; give one of them")
        return HostedSource()
    if request.base_url:
        return ServedSource()
    if source := _registered(request.name):
        return source
    if request.api_key:
        return ServedSource()
    names = model_names()
    close = get_close_matches(request.name, names, 1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    raise ModelRefused(
        f"there is no model {request.name!r}{hint}; built in are {', '.join(names)}; "
        "for a served model give --base-url URL, or set OPENAI_API_KEY for the OpenAI endpoint"
    )


def _registered(name: str) -> ModelSource | None:
    kind = name.partition(":")[0]
    if kind not in MODELS.built_in and kind not in MODELS.names:
        return None
    source: ModelSource = MODELS.make(kind)
    return source if source.takes(name) else None


def model_names() -> list[str]:
    """The names of all registered models, for people."""
    names: list[str] = []
    for kind in MODELS.names:
        try:
            names += MODELS.make(kind).names
        except MonkeysError:  # of a package that is broken
            names.append(kind)
    return names


def make_server(source: ModelSource, request: ModelRequest) -> Server | None:
    """The server that a model needs, not yet started; None if it needs none. Its `url` is for `request.base_url`.

    Raises `ModelRefused` for what cannot work.
    """
    spec = source.server(request)
    if spec is None:
        if request.serve != Serve():
            raise ModelRefused(
                f"model {request.name} has no server of its own; leave out the options of a server, or give --serve"
            )
        return None
    from agent.servers.server import Server  # which takes a moment to import

    return Server(spec, request.events)


def make_model(request: ModelRequest) -> Model:
    """The model that is asked for, where it needs no server of the run's own. Raises `ModelRefused`."""
    return find_source(request).model(request)


def check_suited(name: str, source: ModelSource, scaffold: Scaffold | None) -> None:
    """Check that a model can be used with a scaffold, or without tools (None). Raises `Unsuited`."""
    forms = source.capabilities.forms
    if scaffold is None:
        if not source.capabilities.answers:
            raise Unsuited(f"model {name} works with tools alone; use --agent loop")
    elif forms == ():
        raise Unsuited(f"model {name} cannot call tools; use --agent oneshot")
    elif forms is not None and scaffold.form not in forms:
        if scaffold.name != "tools":
            raise Unsuited(f"model {name} works with the tools; leave out --scaffold {scaffold.name}")
        raise Unsuited(f"model {name} takes --actions {' or '.join(forms)}, not {scaffold.form}")
