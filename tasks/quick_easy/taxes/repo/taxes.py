"""Prices with tax, in cents."""


def tax(price):
    """The tax on a price: 19 percent, rounded down."""
    return price * 19 // 100


def with_tax(price):
    """The price and its tax."""
    price + tax(price)


def reduced_tax(price):
    """The reduced tax on a price: 7 percent, rounded down."""
    return price * 7 // 100


def is_free(price):
    """Whether there is nothing to pay."""
    return price == 0


def label(price):
    """The price in words, such as 12.05 EUR."""
    return f"{price // 100}.{price % 100:02} EUR"
