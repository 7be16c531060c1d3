"""The tests of a task on its untouched base, where they are asked for."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from envs import Limits
from envs.local.backend import LocalBackend
from tasks import Outcome, Submission, Verdict
from tasks.suite import VerifierSetup
from tasks.swe.cached_verifier import make_verifier
from tasks.swe.task import SweTask
from tests.helpers import quick_task

TALLY = quick_task("tally")
EXPECTED = (*TALLY.fail_to_pass, *TALLY.pass_to_pass)


def verdict(task: SweTask, patch: bytes = b"", *, test_base: bool = True) -> Verdict:
    async def main() -> Verdict:
        backend = LocalBackend()
        verifier = make_verifier(VerifierSetup(backend, Limits(), cache=False, test_base=test_base))
        try:
            return await verifier.verify(task, Submission(patch, "patch"))
        finally:
            await verifier.close()
            await backend.close()

    return asyncio.run(main())


def test_without_being_asked_an_empty_patch_runs_no_test() -> None:
    found = verdict(TALLY, test_base=False)
    assert (found.outcome, found.tests, found.reason) == (Outcome.UNRESOLVED, {}, "empty patch")


def test_the_tests_are_run_on_the_untouched_base() -> None:
    found = verdict(TALLY)
    assert (found.outcome, found.official) == (Outcome.UNRESOLVED, False)
    assert {test: found.tests[test] for test in TALLY.fail_to_pass} == dict.fromkeys(TALLY.fail_to_pass, "failed")
    assert {found.tests[test] for test in TALLY.pass_to_pass} == {"passed"}
    assert found.reason == f"{len(TALLY.fail_to_pass)} of {len(EXPECTED)} expected tests do not pass on the base"
    assert b"Ran " in found.log


def test_other_patches_are_verified_as_ever() -> None:
    assert verdict(TALLY, TALLY.patch.encode()).outcome is Outcome.RESOLVED


def test_a_base_that_passes_without_a_patch_is_resolved_and_flagged() -> None:
    weak = replace(TALLY, fail_to_pass=TALLY.pass_to_pass[:1], pass_to_pass=TALLY.pass_to_pass[1:])
    found = verdict(weak)
    assert (found.outcome, found.official) == (Outcome.RESOLVED, True)
    assert found.flags == ("the base passes without a patch",)


def test_a_sandbox_that_cannot_be_opened_is_an_infra_error(tmp_path: Path) -> None:
    nowhere = replace(TALLY, origin=replace(TALLY.origin, repository=tmp_path / "nowhere"))
    assert verdict(nowhere).outcome is Outcome.INFRA_ERROR
