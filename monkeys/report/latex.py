"""The tables of a result for a LaTeX document: `tabular` with the rules of the package booktabs."""

from __future__ import annotations

from monkeys.report.result import Result, Section, Table
from monkeys.text import plain

__all__ = ["to_latex"]

ESCAPED = str.maketrans(
    {
        **{character: f"\\{character}" for character in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "–": "--",
        "±": r"$\pm$",
        "×": r"$\times$",
        "█": "",
    }
)


def to_latex(result: Result) -> str:
    """Every table of the result, each after a comment with the title of its section."""
    tables = [_table(section, table) for section in result.sections for table in section.tables]
    return "\n".join(tables) or "% no table\n"


def _table(section: Section, table: Table) -> str:
    aligned = "".join("l" if heading.startswith("<") else "r" for heading in table.headings)
    lines = [
        f"% {' '.join(plain(section.title).split())}",
        f"\\begin{{tabular}}{{{aligned}}}",
        r"\toprule",
        _row([heading.removeprefix("<") for heading in table.headings]),
        r"\midrule",
        *(_row(row) for row in table.rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def _row(cells: list[str] | tuple[str, ...]) -> str:
    return " & ".join(" ".join(plain(cell).split()).translate(ESCAPED) for cell in cells) + r" \\"
