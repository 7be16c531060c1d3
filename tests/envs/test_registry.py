"""Packages that register something broken: each mistake is one line that names the package, for every seam."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from agent.agents import AGENTS
from agent.models.sources import MODELS
from envs import SANDBOXES
from envs.errors import MonkeysError
from envs.registry import BrokenPackage, Registry
from monkeys.executors import EXECUTORS
from monkeys.strategies import STRATEGIES
from tasks.suites import SUITES

ROOT = Path(__file__).parents[2]
REGISTRIES = (SANDBOXES, SUITES, AGENTS, MODELS, STRATEGIES, EXECUTORS)
SOURCE = """
from envs.errors import MonkeysError

class Empty:
    def __init__(self, *arguments, **options):
        pass

class Raises:
    def __init__(self, *arguments, **options):
        raise RuntimeError("two\\nlines")

class Refuses:
    def __init__(self, *arguments, **options):
        raise MonkeysError("give me more")

number = 3
"""
ENTRIES = """
broken = bad_module:Anything
absent = bad_package:Absent
empty = bad_package:Empty
raises = bad_package:Raises
refuses = bad_package:Refuses
number = bad_package:number
"""
OF = "; it is of package bad 1.0: mend or uninstall it"
SAID = {
    "broken": "(bad_module:Anything) cannot be imported: SyntaxError: invalid syntax (bad_module.py, line 1)",
    "absent": "(bad_package:Absent) cannot be imported: AttributeError: module 'bad_package' has no attribute 'Absent'",
    "raises": "(bad_package:Raises) cannot be made: RuntimeError: two lines",
    "number": "(bad_package:number) cannot be made: TypeError: 'int' object is not callable",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package that registers its mistakes for every seam, and the first built-in name of each."""
    site = tmp_path_factory.mktemp("site")
    info = site / "bad-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bad\nVersion: 1.0\n")
    groups = [f"[{each.group}]{ENTRIES}{next(iter(each.built_in))} = bad_package:Empty\n" for each in REGISTRIES]
    (info / "entry_points.txt").write_text("".join(groups))
    (site / "bad_package.py").write_text(SOURCE)
    (site / "bad_module.py").write_text("def (\n")
    return site


@pytest.fixture(params=REGISTRIES, ids=lambda registry: registry.what)
def registry(request: pytest.FixtureRequest, site: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.syspath_prepend(str(site))
    known = request.param
    return Registry(known.group.partition(".")[2], known.what, known.protocol, known.built_in)


@pytest.mark.parametrize("name", SAID)
def test_what_cannot_be_imported_or_made_is_one_line_with_its_cause(registry: Registry, name: str) -> None:
    with pytest.raises(BrokenPackage) as refused:
        registry.make(name)
    assert str(refused.value) == f"{registry.what} {name!r} {SAID[name]}{OF}"
    assert str(refused.value.__cause__).split()[-1] in str(refused.value)


def test_what_lacks_members_of_the_contract_is_refused_with_their_names(registry: Registry) -> None:
    with pytest.raises(BrokenPackage, match=rf"^{registry.what} 'empty' \(bad_package:Empty\) lacks ") as refused:
        registry.make("empty")
    lacking, _, contract = str(refused.value).partition(" lacks ")[2].removesuffix(OF).partition("; see ")
    assert len(lacking.split(", ")) > 2
    assert f"class {registry.protocol.__name__}(Protocol):" in (ROOT / contract).read_text()


def test_a_refusal_of_the_package_s_own_is_told_as_it_is(registry: Registry) -> None:
    with pytest.raises(MonkeysError, match=r"^give me more$"):
        registry.make("refuses")


def test_a_built_in_name_stays_what_it_is_and_the_package_is_told(registry: Registry) -> None:
    name = next(iter(registry.built_in))
    assert registry.get(name).__module__ != "bad_package"
    (told,) = registry.replaced
    assert told == (
        f"{registry.what} {name!r} (bad_package:Empty) is not used, for this name is built in; it is of "
        "package bad 1.0: register it under another name"
    )


MODEL = ("--model", "replay:gold")


def program(site: Path, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "agent.swe", "--attempts", "1", "--ids", "quick__ledger-1", *MODEL, *options],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "PYTHONPATH": f"{site}:{ROOT}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


OPTIONS = ("--sandbox", "--suite", "--agent", "--model", "--strategy", "--executor")


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("name", ["broken", "empty", "raises", "number"])
def test_the_program_says_so_in_one_line(site: Path, tmp_path: Path, option: str, name: str) -> None:
    done = program(site, tmp_path, option, name)
    assert done.stderr.startswith("error: ")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert f"{name!r} (bad_" in done.stderr
    assert done.stderr.endswith(f"{OF}\n")


def test_a_broken_package_hides_no_mistake_of_one_s_own_and_is_named_beside_it(site: Path, tmp_path: Path) -> None:
    done = program(site, tmp_path, "--tasks", "quik")
    assert done.stderr.startswith("error: no task set 'quik' (did you mean quick?): suite swe reads quick")
    assert f"; suite 'raises' (bad_package:Raises) cannot be made: RuntimeError: two lines{OF}" in done.stderr
    done = program(site, tmp_path, "--model", "monky")
    assert done.stderr.startswith("error: there is no model 'monky' (did you mean monkey?)")


def test_a_run_warns_once_of_a_package_that_registers_a_built_in_name(site: Path, tmp_path: Path) -> None:
    done = program(site, tmp_path, "--run", "run")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("sandbox 'local' (bad_package:Empty) is not used") == 1
    assert done.stderr.count("for this name is built in") == len(REGISTRIES)
