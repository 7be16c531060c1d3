"""The feedback of a run: its kinds and the model that reviews, checked before anything is sampled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from agent.feedback import Feedback, FeedbackSetup, make_feedback
from agent.models.source import FileSource, ModelRequest, ModelSource
from agent.models.sources import find_source
from agent.scaffolds import Scaffold, Unsuited
from agent.servers import Serve
from monkeys.spec import RunSpec
from tasks import TaskSet
from tasks.task import Submission, Task, Verdict

__all__ = ["CheckedFeedback", "check_feedback", "review_request", "used_feedback"]

OTHER_REVIEWER = "review a patch; name another model with --review-model"


@dataclass(frozen=True, slots=True)
class CheckedFeedback:
    """Kinds of feedback that can work. `review_file` is the file that the reviewing model plays, None if it plays none.

    With `extra_sandbox`, an attempt at times needs a sandbox beside its own. `texts` are the prompts by name.
    """

    kinds: tuple[Feedback, ...] = ()
    review_file: Path | None = None

    @property
    def extra_sandbox(self) -> bool:
        return any(kind.extra_sandbox for kind in self.kinds)

    @property
    def texts(self) -> dict[str, str]:
        return {f"feedback {name}": text for kind in self.kinds for name, text in kind.texts.items()}


def used_feedback(spec: RunSpec, scaffold: Scaffold | None) -> RunSpec:
    """The specification without feedback, or a review model, that has no effect: a file for many runs may name some.

    Raises `Unsuited` for a review model that was typed for this run.
    """
    agent = spec.agent
    if scaffold is None:
        agent = replace(agent, feedback=())
    if "review" not in agent.feedback:
        for option, path in (("--review-model", "agent.review_model"), ("--review-base-url", "agent.review_base_url")):
            if path in spec.typed:
                raise Unsuited(f"{option} is for --feedback review, which is not asked for; add it, or leave it out")
        agent = replace(agent, review_model=None, review_base_url=())
    return replace(spec, agent=agent)


def check_feedback(
    spec: RunSpec, scaffold: Scaffold | None, tasks: TaskSet, source: ModelSource | None, request: ModelRequest
) -> CheckedFeedback:
    """The feedback of a run, which can work. `source` is that of its model, None in a replay.

    Raises `UnknownName`, `Unsuited` and `ModelRefused`.
    """
    kinds = make_feedback(spec.agent.feedback, FeedbackSetup(verify=_not_yet if spec.verify.enabled else None))
    names = {kind.name for kind in kinds}
    if "reproduce" in names and scaffold and "bash" not in scaffold.tools:
        raise Unsuited(
            f"feedback reproduce has the model write a test, for which scaffold {scaffold.name} has no tool; "
            "use --scaffold tools"
        )
    if "tests" in names and (without := [task.id for task in tasks.tasks if not task.test_command]):
        raise Unsuited(f"feedback tests runs the visible tests, and {without[0]} has none; leave it out")
    if source is None:
        return CheckedFeedback(kinds)
    if spec.limits.context == "summarise":
        _check_writes(spec.model_name, source, "summarise its work; use --context elide")
    file = None
    if spec.agent.review_model:
        file = _check_reviewer(spec.agent.review_model, review_request(spec, request))
    elif "review" in names:
        if spec.agent.review_base_url:
            raise Unsuited("--review-base-url is a server of another model; name that with --review-model")
        _check_writes(spec.model_name, source, OTHER_REVIEWER)
    return CheckedFeedback(kinds, file)


def review_request(spec: RunSpec, request: ModelRequest, base_url: Sequence[str] = ()) -> ModelRequest:
    """The request for the model that reviews, with the run's sampling. `request` is that for the attempts' model.

    Its server is that of its own, or else that at `base_url`, or that of the attempts.
    """
    return replace(
        request,
        name=spec.agent.review_model or "",
        base_url=spec.agent.review_base_url or tuple(base_url) or spec.model.base_url,
        serve=Serve(),
        scheduled=False,
        first_turns=1,
    )


def _check_reviewer(name: str, request: ModelRequest) -> Path | None:
    """The file that the reviewing model plays, None if it plays none."""
    source = find_source(request)
    _check_writes(name, source, OTHER_REVIEWER)
    if source.server(request) is not None:
        raise Unsuited(f"model {name} needs a server of its own to review: start one, and give --review-base-url")
    return source.file(request) if isinstance(source, FileSource) else None


def _check_writes(name: str, source: ModelSource, what: str) -> None:
    """Check that a model answers in its own words; `what` says for what that is needed."""
    if not source.capabilities.answers or name.startswith("replay:"):
        raise Unsuited(f"model {name} writes no text of its own, so it cannot {what}")


async def _not_yet(task: Task, submission: Submission) -> Verdict:
    """Stands for the verifier while none is open."""
    raise NotImplementedError
