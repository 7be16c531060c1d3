"""A table that is built row by row."""

from __future__ import annotations

from collections.abc import Sequence

from gridmark.align import RULES, pad, pad_point, point_widths, rule
from gridmark.cells import escape

NARROWEST = 3


class Table:
    def __init__(self, header: Sequence[str], align: Sequence[str] | None = None) -> None:
        self.header = [escape(name) for name in header]
        self.align = list(align or ["left"] * len(header))
        if len(self.align) != len(self.header):
            raise ValueError("every column needs one alignment")
        unknown = set(self.align) - set(RULES)
        if unknown:
            raise ValueError(f"unknown alignment: {', '.join(sorted(unknown))}")
        self.rows: list[list[str]] = []

    def add(self, *values: object) -> None:
        """Add a row; missing cells at its end stay empty."""
        if len(values) > len(self.header):
            raise ValueError(f"{len(values)} cells for {len(self.header)} columns")
        cells = [escape(value) for value in values]
        self.rows.append(cells + [""] * (len(self.header) - len(cells)))

    def render(self) -> str:
        columns = [self._column(place) for place in range(len(self.header))]
        return "\n".join(f"| {' | '.join(cells)} |" for cells in zip(*columns))

    def _column(self, place: int) -> list[str]:
        """Header, rule and cells of a column, all equally wide."""
        how = self.align[place]
        texts = [row[place] for row in self.rows]
        if how == "point":
            texts = [pad_point(text, *point_widths(texts)) for text in texts]
            how = "right"
        width = max(NARROWEST, *(len(text) for text in [self.header[place], *texts]))
        cells = [pad(text, how, width) for text in texts]
        return [pad(self.header[place], how, width), rule(self.align[place], width), *cells]
