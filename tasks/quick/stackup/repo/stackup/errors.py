"""What can go wrong."""


class UnknownPackage(LookupError):
    """The catalog has no package of that name."""


class Unsolvable(Exception):
    """No choice of versions satisfies every requirement."""


class Cycle(Exception):
    """Packages that need each other have no order."""
