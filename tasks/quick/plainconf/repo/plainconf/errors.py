"""What can go wrong."""


class ConfigError(ValueError):
    """The file cannot be read."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")
        self.line = line


class MissingKey(KeyError):
    """The file has no such section or key."""
