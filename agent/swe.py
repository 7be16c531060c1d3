"""The front door of the main job: `python -m agent.swe --attempts 250`. Argument parsing only."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agent.arguments import at_least, json_object, positive, seconds, share, words

__all__ = ["main"]

# What goes into the body of each request by the same name.
FIELDS = ("temperature", "top_p", "top_k", "min_p", "stop", "max_completion_tokens", "logprobs", "return_token_ids")

# What a replay takes from its record where it is not told, and what that is called there.
RECORDED = {
    **{name: name for name in ("tasks", "ids", "attempts", "scaffold", "actions", "context")},
    "max_turns": "turns",
    "max_attempt_tokens": "tokens",
    "max_attempt_time": "seconds",
    "context_window": "window",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, then sample. Returns the exit code."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.allocate != "uniform" and arguments.no_verify:
        parser.error(f"--allocate {arguments.allocate} goes by verdicts: leave --no-verify out, or allocate uniformly")
    # Imported after parsing, so that --help and a mistyped option answer at once.
    from agent.loop import AttemptLimits
    from agent.scaffolds import TURNS, suited
    from agent.servers import Serve
    from monkeys.runner.sample_job import sample_run
    from monkeys.runner.settings import AllocationSpec, RunLimits, Settings

    def chosen(*names: str) -> dict[str, Any]:
        return {name: value for name in names if (value := getattr(arguments, name)) is not None}

    model = arguments.model or arguments.serve or "monkey"
    scaffold = arguments.scaffold or ("tools" if arguments.actions else suited(model))
    settings = Settings(
        tasks=arguments.tasks,
        ids=tuple(arguments.ids or ()),
        model=model,
        base_url=arguments.base_url,
        serve=Serve(
            arguments.serve,
            arguments.tensor_parallel,
            arguments.data_parallel,
            arguments.tool_parser,
            tuple(arguments.serve_args),
            arguments.serve_seconds,
        ),
        api_key_env=arguments.api_key_env,
        sampling={**chosen(*FIELDS), **arguments.extra_body},
        scheduled=arguments.scheduled,
        scaffold=scaffold,
        reasoning=arguments.reasoning,
        first_turns=arguments.first_turns,
        request_seconds=arguments.request_seconds,
        outage_seconds=arguments.outage_seconds,
        actions=arguments.actions or "native",
        as_recorded=frozenset(RECORDED[name] for name in _untold(parser, argv)),
        replay_strict=arguments.replay_strict,
        attempts=arguments.attempts,
        allocate=AllocationSpec(arguments.allocate, arguments.first, arguments.narrow),
        workers=arguments.workers,
        retries=arguments.retries,
        seed=arguments.seed,
        attempt=AttemptLimits(
            arguments.max_turns or TURNS[scaffold],
            arguments.max_attempt_tokens,
            arguments.max_attempt_time,
            arguments.context_window,
            arguments.context,
            arguments.max_attempt_cost,
        ),
        spend=RunLimits(arguments.max_cost, arguments.max_tokens, arguments.max_time),
        prices=arguments.prices,
        sandbox=arguments.sandbox,
        limits=chosen("memory_mb", "processes", "disk_mb", "cpus", "command_seconds", "network"),
        overcommit=arguments.overcommit,
        warm=arguments.warm,
        starts=arguments.starts,
        image_mirror=arguments.image_mirror,
        platform=arguments.platform,
        image_quota_gb=arguments.image_quota,
        verify=not arguments.no_verify,
        verify_seconds=arguments.verify_seconds,
        verify_workers=arguments.verify_workers,
        remember=not arguments.no_verdict_cache,
        recheck=arguments.recheck,
        calibration=arguments.calibration,
        unstable=arguments.unstable,
        run=arguments.run,
        runs=arguments.runs,
        quiet=arguments.quiet,
    )
    return sample_run(settings)


def _untold(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> list[str]:
    """Which of `RECORDED` were not given: a default that was typed is."""
    parser.set_defaults(**dict.fromkeys(RECORDED))
    arguments = parser.parse_args(argv)
    return [name for name in RECORDED if getattr(arguments, name) is None]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m agent.swe",
        description="Sample many agent trajectories per issue, verify them with its tests, and measure coverage.",
        epilog="Give the same command again to go on with a run; a larger --attempts tops it up.",
    )
    what = parser.add_argument_group("what is sampled")
    what.add_argument(
        "--tasks",
        default="quick",
        metavar="SET",
        help="quick, a .jsonl file in SWE-bench's format, or lite, verified, full (from the hub)",
    )
    what.add_argument("--ids", nargs="+", metavar="ID", help="only these instances")
    what.add_argument(
        "--attempts", type=at_least(1), default=250, metavar="N", help="attempts per issue (default %(default)s)"
    )
    what.add_argument(
        "--allocate",
        choices=("uniform", "stop", "fewest", "variance"),
        default="uniform",
        help="who gets the attempts: all alike (default); issues not solved yet, at most N; those with the fewest "
        "successes, or those where coverage is known least, N per issue in all",
    )
    what.add_argument(
        "--first",
        type=at_least(1),
        default=5,
        metavar="M",
        help="attempts on every issue before fewest and variance choose; their curve ends there (default %(default)s)",
    )
    what.add_argument(
        "--narrow",
        type=at_least(1),
        default=10,
        metavar="K",
        help="where variance narrows coverage: at K attempts (default %(default)s)",
    )
    what.add_argument("--seed", type=int, default=0, help="the run's seed; each attempt's is derived from it")
    model = parser.add_argument_group("the model")
    model.add_argument(
        "--model",
        metavar="NAME",
        help="monkey (default), smollm2, replay:gold, replay:empty, replay:PREDICTIONS, replay:RUN (the answers of a "
        "run, and its tasks, attempts, actions and limits where none are given), scripted:FILE, or a served model's "
        "name",
    )
    model.add_argument(
        "--replay-strict",
        action="store_true",
        help="with replay:RUN: an attempt ends at the first request that is not as recorded (default: it goes on, "
        "and the report counts it)",
    )
    model.add_argument(
        "--base-url",
        nargs="+",
        metavar="URL",
        help="an OpenAI-compatible server, such as http://127.0.0.1:8000/v1, or several with the same model",
    )
    model.add_argument(
        "--api-key-env",
        default="OPENAI_API_KEY",
        metavar="VAR",
        help="environment variable that holds the key (default %(default)s)",
    )
    model.add_argument("--temperature", type=float, metavar="T", help="left to the server if not given")
    model.add_argument("--top-p", type=float, metavar="P")
    model.add_argument("--top-k", type=int, metavar="K")
    model.add_argument("--min-p", type=float, metavar="P")
    model.add_argument("--stop", nargs="+", metavar="TEXT", help="where a reply ends")
    model.add_argument("--max-completion-tokens", type=at_least(1), metavar="N", help="of one reply")
    model.add_argument("--logprobs", action="store_true", default=None, help="ask for log-probabilities of tokens")
    model.add_argument("--return-token-ids", action="store_true", default=None, help="ask for token ids (vLLM)")
    model.add_argument(
        "--extra-body",
        type=json_object,
        default={},
        metavar="JSON",
        help="""further fields of each request, such as '{"reasoning_effort": "low"}'; null takes one away""",
    )
    model.add_argument(
        "--scheduled",
        action="store_true",
        help="the server schedules by priority (vLLM): later turns go first there too",
    )
    model.add_argument(
        "--reasoning",
        choices=("keep", "drop"),
        default="keep",
        help="what the model thought is sent back with the conversation where the server takes it (default), or never",
    )
    model.add_argument(
        "--first-turns",
        type=at_least(1),
        default=1,
        metavar="N",
        help="ask for the first turns of up to N attempts on an issue with one request, whose prompt is billed once "
        "(default: each by itself)",
    )
    model.add_argument(
        "--request-seconds", type=positive, default=600.0, metavar="S", help="one request (default %(default)s)"
    )
    model.add_argument(
        "--outage-seconds",
        type=positive,
        default=1800.0,
        metavar="S",
        help="how long a server that is down is waited for (default %(default)s)",
    )
    model.add_argument(
        "--scaffold",
        choices=("tools", "repair"),
        help="what an attempt starts with: the issue and tools (default), or one function to be corrected, for very "
        "small models (default for smollm2)",
    )
    model.add_argument(
        "--actions",
        choices=("native", "text", "structured"),
        help="tool calls (default), fenced blocks for servers without them, or JSON under a schema for weak models",
    )
    model.add_argument(
        "--prices",
        type=Path,
        metavar="FILE",
        help="JSON or TOML, dollars per million tokens by model (default: genai-prices, where it is installed)",
    )
    server = parser.add_argument_group("a server of the run's own, which ends with it")
    server.add_argument(
        "--serve", metavar="MODEL", help="start vLLM with this model, by its name on the hub or its folder"
    )
    server.add_argument("--tensor-parallel", type=at_least(1), default=1, metavar="N", help="GPUs that share a copy")
    server.add_argument("--data-parallel", type=at_least(1), default=1, metavar="N", help="copies of the model")
    server.add_argument(
        "--tool-parser", metavar="NAME", help="how the model writes tool calls, in vLLM's terms (default: by its name)"
    )
    server.add_argument(
        "--serve-args",
        type=words,
        default=(),
        metavar="'OPTIONS'",
        help="further options of the server, as in --serve-args='--max-model-len 32768'",
    )
    server.add_argument(
        "--serve-seconds",
        type=positive,
        metavar="S",
        help="until it answers, weights downloaded (default: 1800 for vLLM)",
    )
    attempt = parser.add_argument_group("limits of an attempt")
    attempt.add_argument("--max-turns", type=at_least(1), metavar="N", help="default 40; 4 with --scaffold repair")
    attempt.add_argument(
        "--max-attempt-tokens",
        type=at_least(1),
        default=2_000_000,
        metavar="N",
        help="prompt and completion, all turns (default %(default)s)",
    )
    attempt.add_argument("--max-attempt-cost", type=positive, metavar="USD", help="where prices are known")
    attempt.add_argument(
        "--max-attempt-time", type=seconds, default=3600.0, metavar="TIME", help="such as 90, 15m, 2h (default 1h)"
    )
    attempt.add_argument(
        "--max-attempt-seconds",
        dest="max_attempt_time",
        type=seconds,
        default=argparse.SUPPRESS,
        help=argparse.SUPPRESS,
    )
    attempt.add_argument(
        "--context-window",
        type=at_least(1),
        metavar="N",
        help="tokens of one request (default: what the server takes)",
    )
    attempt.add_argument(
        "--context",
        choices=("stop", "elide"),
        default="stop",
        help="a conversation that outgrows it: ends with its patch (default), or goes on without older results",
    )
    attempt.add_argument(
        "--command-seconds", type=positive, default=120.0, metavar="S", help="one command (default %(default)s)"
    )
    run = parser.add_argument_group("limits of the run", "at which it stops; with larger ones it goes on")
    inf = float("inf")
    run.add_argument(
        "--max-cost", type=positive, default=inf, metavar="USD", help="of all its sessions, where prices are known"
    )
    run.add_argument(
        "--max-tokens",
        type=at_least(1),
        default=inf,
        metavar="N",
        help="prompt and completion, of all attempts and sessions",
    )
    run.add_argument(
        "--max-time", type=seconds, default=inf, metavar="TIME", help="of this session's sampling: 90, 15m, 2h"
    )
    sandbox = parser.add_argument_group("limits of a sandbox")
    sandbox.add_argument(
        "--memory-mb",
        type=at_least(16),
        metavar="MB",
        help="of a container in docker (default 2048), of a process in local (default 512)",
    )
    sandbox.add_argument("--cpus", type=positive, default=2.0, metavar="N", help="docker (default %(default)s)")
    sandbox.add_argument("--processes", type=at_least(8), default=256, metavar="N", help="default %(default)s")
    sandbox.add_argument(
        "--disk-mb", type=at_least(1), default=1024, metavar="MB", help="written files (default %(default)s)"
    )
    sandbox.add_argument(
        "--network",
        default="none",
        metavar="NAME",
        help="let commands out: host for local, a network's name for docker (default %(default)s)",
    )
    images = parser.add_argument_group("images (docker)")
    images.add_argument(
        "--image-mirror", default="", metavar="PREFIX", help="look for PREFIX/IMAGE first, then for IMAGE"
    )
    images.add_argument(
        "--platform", default="", metavar="P", help="of images, such as linux/amd64 (default: the engine's own)"
    )
    images.add_argument(
        "--image-quota",
        type=positive,
        metavar="GB",
        help="remove the least recently used images that this program pulled to stay below (default: remove none)",
    )
    how = parser.add_argument_group("how it runs")
    how.add_argument(
        "--sandbox",
        metavar="NAME",
        help="local, docker, or one that an installed package offers (default: docker for issues that name an image, "
        "else local)",
    )
    how.add_argument(
        "--workers",
        type=at_least(1),
        metavar="N",
        help="attempts at once (default: 64 for a served model, as many as its server takes for smollm2, "
        "processors + 1 for a built-in one)",
    )
    how.add_argument(
        "--starts",
        type=at_least(1),
        default=8,
        metavar="N",
        help="sandboxes that may be starting at once; begins with 2 and adapts (default %(default)s)",
    )
    how.add_argument(
        "--warm",
        type=at_least(0),
        metavar="N",
        help="sandboxes started ahead (default: as many as workers, at most 4, for docker; none for local)",
    )
    how.add_argument(
        "--overcommit",
        action="store_true",
        help="let the memory limits of all sandboxes add up to more than the machine has",
    )
    how.add_argument(
        "--retries",
        type=at_least(0),
        default=3,
        metavar="N",
        help="how often a slot is filled again after an infra error (default %(default)s)",
    )
    how.add_argument("--no-verify", action="store_true", help="sample only; run again without this to verify")
    how.add_argument(
        "--verify-workers",
        type=at_least(1),
        default=os.cpu_count() or 2,
        metavar="N",
        help="verifications at once (default: the processors)",
    )
    how.add_argument(
        "--verify-seconds",
        type=positive,
        default=1800.0,
        metavar="S",
        help="one run of the hidden tests (default %(default)s)",
    )
    how.add_argument(
        "--no-verdict-cache", action="store_true", help="neither use nor keep the verdicts of this machine"
    )
    how.add_argument(
        "--recheck", type=share, default=0.0, metavar="RATE", help="share of kept verdicts that are made again"
    )
    how.add_argument("--calibration", type=Path, metavar="FILE", help="what monkeys calibrate found")
    how.add_argument(
        "--unstable",
        choices=("majority", "exclude", "keep"),
        default="majority",
        help="issues that it calls flaky: the majority of as many runs decides (default), left out, or as others",
    )
    how.add_argument("--run", metavar="NAME", help="the run's name (default: from tasks, model and configuration)")
    how.add_argument(
        "--runs", type=Path, default=Path("runs"), metavar="DIR", help="where runs lie (default %(default)s)"
    )
    how.add_argument("--quiet", action="store_true", help="say nothing but errors")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
