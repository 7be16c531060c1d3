"""The drawing in docs/architecture.md, compared with the imports of the code."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import grimp
import pytest

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs/architecture.md"
PACKAGES = ("agent", "envs", "monkeys", "tasks")
UNDRAWN = {"monkeys", "monkeys.__main__"}  # a package without code, and two lines that call `monkeys.commands`


@dataclass(frozen=True)
class Drawing:
    """Layers from the top down, each with its parts. `sections` holds, for each layer, the number of its title."""

    layers: tuple[tuple[str, ...], ...]
    sections: tuple[int, ...]

    @classmethod
    def read(cls, text: str) -> Drawing:
        layers: list[list[str]] = []
        sections: list[int] = []
        for line in text.split("```text\n")[1].split("```")[0].splitlines():
            if line.startswith(("┌", "├")):
                layers.append([])
                sections.append(sections[-1] + ("─ " in line) if sections else 0)
            elif line.startswith("│"):
                layers[-1].append(line[1:].split()[0])
        return cls(tuple(tuple(layer) for layer in layers), tuple(sections))

    @property
    def parts(self) -> set[str]:
        return {part for layer in self.layers for part in layer}

    def part_of(self, module: str) -> str | None:
        """Return the smallest part that holds the module."""
        return max((part for part in self.parts if f"{module}.".startswith(f"{part}.")), key=len, default=None)

    def layer_of(self, part: str) -> int:
        """Return the number of the layer of a part. Layer 0 is the top."""
        return next(number for number, layer in enumerate(self.layers) if part in layer)

    def is_lowest_of_section(self, number: int) -> bool:
        return number + 1 == len(self.layers) or self.sections[number + 1] != self.sections[number]


@pytest.fixture(scope="module")
def drawing() -> Drawing:
    return Drawing.read(PAGE.read_text("utf-8"))


@pytest.fixture(scope="module")
def contracts() -> list[dict[str, Any]]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    found: list[dict[str, Any]] = settings["tool"]["importlinter"]["contracts"]
    return found


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph(*PACKAGES, cache_dir=None)


@pytest.fixture(scope="module")
def imports(drawing: Drawing, contracts: list[dict[str, Any]], graph: grimp.ImportGraph) -> list[tuple[str, str]]:
    """Imports from one part to another, as importer and imported module, without those that a contract ignores."""
    ignored = [line.split(" -> ") for contract in contracts for line in contract.get("ignore_imports", ())]
    ignored = [pair for pair in ignored if pair[0] != "agent.swe"]  # at the top of the drawing
    return [
        (importer, imported)
        for importer in sorted(graph.modules - UNDRAWN)
        for imported in sorted(graph.find_modules_directly_imported_by(importer) - UNDRAWN)
        if drawing.part_of(importer) != drawing.part_of(imported)
        and not any(fnmatchcase(importer, left) and fnmatchcase(imported, right) for left, right in ignored)
    ]


def test_every_module_is_in_a_part_that_is_drawn(drawing: Drawing, graph: grimp.ImportGraph) -> None:
    assert [module for module in sorted(graph.modules - UNDRAWN) if drawing.part_of(module) is None] == []
    assert drawing.parts <= graph.modules


def test_every_import_goes_to_a_lower_layer(drawing: Drawing, imports: list[tuple[str, str]]) -> None:
    assert len(imports) > 100
    upward = []
    for importer, imported in imports:
        above, below = drawing.part_of(importer), drawing.part_of(imported)
        assert above is not None
        assert below is not None
        if drawing.layer_of(above) >= drawing.layer_of(below):
            upward.append(f"{importer} -> {imported}")
    assert upward == [], "the drawing does not allow these: draw them, or take the imports out"


def test_no_part_is_drawn_higher_than_its_imports_need(drawing: Drawing, imports: list[tuple[str, str]]) -> None:
    uses = {(drawing.part_of(importer), drawing.part_of(imported)) for importer, imported in imports}
    higher = [
        part
        for number, layer in enumerate(drawing.layers)
        if not drawing.is_lowest_of_section(number)
        for part in layer
        if not any((part, below) in uses for below in drawing.layers[number + 1])
    ]
    assert higher == [], "these import nothing of the next layer: draw them lower"


def test_the_contracts_are_the_drawing(drawing: Drawing, contracts: list[dict[str, Any]]) -> None:
    packages, inside = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    drawn = [sorted(part.partition(".")[2] for part in layer if "monkeys." in part) for layer in drawing.layers]
    assert [sorted(re.findall(r"\w+", layer)) for layer in inside] == [layer for layer in drawn if layer]
    assert packages == ["monkeys", *(part for layer in drawing.layers for part in layer if part in PACKAGES)]


def test_every_file_that_the_page_names_is_there() -> None:
    text = PAGE.read_text("utf-8")
    named = {*re.findall(r"`((?:agent|envs|monkeys|tasks|tests)/[\w/.]+)`", text)}
    linked = {f"docs/{path}" for path in re.findall(r"\]\(([\w./]+)\)", text)}
    assert len(named) > 8
    missing = [path for path in sorted(named | linked) if not (ROOT / path).exists()]
    assert missing == []
