"""What can go wrong."""


class BadVersion(ValueError):
    """Text that is no semantic version."""


class BadRange(ValueError):
    """Text that is no range of versions."""


class NoMatch(LookupError):
    """No version satisfies the range."""
