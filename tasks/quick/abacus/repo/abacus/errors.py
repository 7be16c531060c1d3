"""What can go wrong."""


class FormulaError(ValueError):
    """A formula that cannot be read or computed."""

    def __init__(self, column: int, reason: str) -> None:
        super().__init__(f"column {column}: {reason}")
        self.column = column
