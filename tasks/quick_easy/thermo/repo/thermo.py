"""Temperatures in degrees Celsius and Fahrenheit."""


def to_fahrenheit(celsius):
    """Degrees Celsius as degrees Fahrenheit."""
    return celsius * 9 / 5 + 32


def to_celsius(fahrenheit):
    """Degrees Fahrenheit as degrees Celsius."""
    return (fahrenheit - 32) * 5 / 9


def is_freezing(celsius):
    """Whether water freezes: at 0 degrees and below."""
    return celsius > 0


def word(celsius):
    """The temperature in a word."""
    if celsius < 10:
        return "cold"
    return "mild" if celsius < 25 else "hot"


def warmest(readings):
    """The highest of the readings, None if there are none."""
    return max(readings, default=None)
