"""Amounts of money as whole cents."""


def parse_cents(text: str) -> int:
    """Read `-12.50`, `7` or `1,234.00`."""
    cleaned = text.strip().replace(",", "")
    sign = -1 if cleaned.startswith("-") else 1
    whole, point, cents = cleaned.lstrip("+-").partition(".")
    if not whole.isdigit():
        raise ValueError(f"not an amount: {text!r}")
    if point and (len(cents) != 2 or not cents.isdigit()):
        raise ValueError(f"cents need two digits: {text!r}")
    return sign * (int(whole) * 100 + int(cents or 0))


def format_cents(cents: int) -> str:
    """Write cents as `-1,234.50`."""
    sign = "-" if cents < 0 else ""
    whole, rest = divmod(abs(cents), 100)
    return f"{sign}{whole:,}.{rest:02d}"
