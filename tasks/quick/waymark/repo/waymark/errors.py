"""What can go wrong."""


class BadPattern(ValueError):
    """A pattern that cannot be read."""


class NotFound(LookupError):
    """No route fits the path."""


class MethodNotAllowed(LookupError):
    """A route fits the path, but not the method."""

    def __init__(self, method: str, allowed: list[str]) -> None:
        super().__init__(f"{method} is not among {', '.join(allowed)}")
        self.allowed = allowed
