"""Prices of tickets by age."""


def is_child(age):
    """Whether a person is under 12 years old."""
    return age <= 12


def is_senior(age):
    """Whether a person is 65 years old or older."""
    return age >= 65


def price(age):
    """The price of one ticket."""
    if is_child(age):
        return 5
    return 9 if is_senior(age) else 12


def total(ages):
    """The price of a ticket for each of these ages."""
    return sum(price(age) for age in ages)


def family_price(ages):
    """The price for a family: never more than 30."""
    return min(total(ages), 30)
