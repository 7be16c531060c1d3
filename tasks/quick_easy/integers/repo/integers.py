"""Lists of whole numbers."""


def count_even(numbers):
    """How many of the numbers are even."""
    return sum(number % 2 == 1 for number in numbers)


def positive(numbers):
    """The numbers above zero."""
    return [number for number in numbers if number > 0]


def doubled(numbers):
    """Each number times two."""
    return [2 * number for number in numbers]


def product(numbers):
    """All numbers multiplied."""
    result = 1
    for number in numbers:
        result *= number
    return result


def without_last(numbers):
    """All numbers but the last."""
    return numbers[:-1]
