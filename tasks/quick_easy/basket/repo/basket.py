"""A basket: pairs of a price in cents and a number of pieces."""


def subtotal(items):
    """The price of all items."""
    return sum(price * count for price, count in items)


def pieces(items):
    """How many pieces there are in the basket."""
    return sum(count for _, count in items)


def total(items, discount):
    """The subtotal less the discount."""
    return subtotal(items) + discount


def shipping(items):
    """What shipping costs: nothing from 5000 cents on."""
    return 0 if subtotal(items) >= 5000 else 490


def dearest(items):
    """The highest price in the basket."""
    return max(price for price, _ in items)
