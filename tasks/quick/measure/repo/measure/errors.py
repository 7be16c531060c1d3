"""What can go wrong."""


class UnknownUnit(KeyError):
    """No unit has that symbol."""

    def __str__(self) -> str:
        return f"unknown unit: {self.args[0]}"


class DimensionError(TypeError):
    """Metres do not become kilograms."""

    def __init__(self, one: str, other: str) -> None:
        super().__init__(f"cannot turn {one} into {other}")
