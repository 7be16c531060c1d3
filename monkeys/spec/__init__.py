"""The configuration: one tree of frozen dataclasses for each command that samples, verifies or calibrates.

    option.py, kinds.py     how an option is documented at its field, and what its value may be
    sections.py             the sections, which commands share: tasks, agent, model, limits, sandbox and so on
    run.py                  `RunSpec`, the configuration of `python -m agent.swe`
    command_specs.py        those of the commands of `monkeys`, composed of the same sections
    commands.py             the command of each configuration
    build.py                from values by path to a tree
    command_line.py, environment.py, toml_file.py     the sources of values, and the file that is written
    identity.py             what is saved with a run, and how two saved configurations differ

Guarantees: each option is declared once; the command line is over the environment, and both are over the file; a wrong
value is refused with its place and with what would be right. To show `--help` needs none of the project's other parts.
"""

from monkeys.spec.command_specs import BranchSpec, CalibrateSpec, VerifyRunSpec
from monkeys.spec.errors import ConfigError
from monkeys.spec.identity import differences, identity, merged
from monkeys.spec.run import RunSpec
from monkeys.spec.sections import (
    ImageOptions,
    SandboxOptions,
    SessionOptions,
    StrategyOptions,
    TaskOptions,
    VerifyOptions,
)

__all__ = [
    "BranchSpec",
    "CalibrateSpec",
    "ConfigError",
    "ImageOptions",
    "RunSpec",
    "SandboxOptions",
    "SessionOptions",
    "StrategyOptions",
    "TaskOptions",
    "VerifyOptions",
    "VerifyRunSpec",
    "differences",
    "identity",
    "merged",
]
