"""The commands that read a configuration from a file and from the environment."""

from __future__ import annotations

from collections.abc import Mapping

from monkeys.spec.command_specs import BranchSpec, CalibrateSpec, ImagesSpec, PrefetchSpec, VerifyRunSpec
from monkeys.spec.run import RunSpec

__all__ = ["COMMANDS"]

COMMANDS: Mapping[type, str] = {
    RunSpec: "python -m agent.swe",
    VerifyRunSpec: "monkeys verify",
    BranchSpec: "monkeys branch",
    CalibrateSpec: "monkeys calibrate",
    PrefetchSpec: "monkeys images prefetch",
    ImagesSpec: "monkeys images",
}
