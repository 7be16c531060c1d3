"""Vowels in words."""

VOWELS = "aeiou"


def starts_with_vowel(word):
    """Whether the first letter is a vowel."""
    return word[0] not in VOWELS


def count_vowels(word):
    """How many letters of the word are vowels."""
    return sum(letter in VOWELS for letter in word)


def consonants(word):
    """The letters of the word that are no vowels."""
    return "".join(letter for letter in word if letter not in VOWELS)


def last_letter(word):
    """The last letter."""
    return word[-1]


def plural(word):
    """The plural of a simple word."""
    return word + ("es" if word.endswith("s") else "s")
