"""Choices from lists of words."""


def longest(words):
    """The word with the most letters, the first of several."""
    return min(words, key=len)


def in_order(words):
    """The words in alphabetical order."""
    return sorted(words)


def starting_with(words, letter):
    """The words that begin with a letter."""
    return [word for word in words if word.startswith(letter)]


def without_repeats(words):
    """Each word once, in the order of the list."""
    return list(dict.fromkeys(words))


def joined(words):
    """The words with commas between."""
    return ", ".join(words)
