"""What can go wrong."""


class UnknownItem(KeyError):
    """No item has that number."""


class OutOfStock(Exception):
    """More was asked for than there is."""

    def __init__(self, sku: str, wanted: int, there: int) -> None:
        super().__init__(f"{sku}: wanted {wanted}, there are {there}")
        self.sku = sku
        self.wanted = wanted
        self.there = there
