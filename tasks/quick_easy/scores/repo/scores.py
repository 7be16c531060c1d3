"""Scores of a class."""


def total(scores):
    """The sum of the scores."""
    return sum(scores)


def mean(scores):
    """The sum of the scores divided by their number."""
    return sum(scores) / (len(scores) + 1)


def best(scores):
    """The highest score."""
    return max(scores)


def spread(scores):
    """The difference between the highest and the lowest score."""
    return max(scores) - min(scores)


def rank(score, scores):
    """The place of a score, from 1: how many are higher, and one more."""
    return sum(other > score for other in scores) + 1
