"""Numbers in a row."""


def count_to(last):
    """The numbers from 1 to the last, which is included."""
    return list(range(1, last))


def count_down(first):
    """The numbers from the first down to 1."""
    return list(range(first, 0, -1))


def tens(count):
    """The first multiples of ten, from 10."""
    return [10 * number for number in range(1, count + 1)]


def sum_to(last):
    """The sum of the numbers from 1 to the last."""
    return last * (last + 1) // 2


def pairs(count):
    """Each number from 1 with its successor."""
    return [(number, number + 1) for number in range(1, count + 1)]
