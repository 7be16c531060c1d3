"""Names on badges."""


def full_name(first, last):
    """The first name, a space and the last name."""
    return last + " " + first


def formal_name(first, last):
    """The last name, a comma and the first name."""
    return last + ", " + first


def badge(first, last):
    """What is printed on a badge, such as [Ada L.]."""
    return f"[{first} {last[0]}.]"


def email(first, last):
    """The address of a person."""
    return f"{first}.{last}@example.org".lower()


def is_long(name):
    """Whether a name needs a wider badge."""
    return len(name) > 20
