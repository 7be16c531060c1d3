"""What can go wrong."""


class BadTime(ValueError):
    """A time of day that cannot be read, or a span that ends before it starts."""


class Conflict(Exception):
    """Two bookings want the same minutes."""

    def __init__(self, wanted: str, taken: str) -> None:
        super().__init__(f"{wanted!r} conflicts with {taken!r}")
        self.wanted = wanted
        self.taken = taken
