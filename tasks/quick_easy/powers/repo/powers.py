"""Powers of numbers."""


def square(number):
    """The number times itself."""
    return number * number


def cube(number):
    """The third power."""
    return number * number * number


def power(base, exponent):
    """The base to the power of the exponent."""
    return exponent**base


def is_square(number):
    """Whether a whole number is the square of another one."""
    return any(root * root == number for root in range(number + 1))


def squares(count):
    """The first squares, from 1."""
    return [number * number for number in range(1, count + 1)]
