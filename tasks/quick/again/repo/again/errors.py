"""What can go wrong."""


class GaveUp(Exception):
    """Every attempt failed; the cause is the last failure."""

    def __init__(self, attempts: int) -> None:
        super().__init__(f"gave up after {attempts} attempts")
        self.attempts = attempts


class BreakerOpen(Exception):
    """Too many failures lately; nothing was tried."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"try again in {seconds:g} s")
        self.seconds = seconds
