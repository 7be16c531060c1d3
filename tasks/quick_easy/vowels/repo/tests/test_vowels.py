import unittest

from vowels import consonants, count_vowels, last_letter, plural, starts_with_vowel


class TestVowels(unittest.TestCase):
    def test_apple(self):
        self.assertEqual(starts_with_vowel("apple"), True)

    def test_count_vowels(self):
        self.assertEqual(count_vowels("banana"), 3)

    def test_no_vowels(self):
        self.assertEqual(count_vowels("rhythm"), 0)

    def test_consonants(self):
        self.assertEqual(consonants("banana"), "bnn")

    def test_last_letter(self):
        self.assertEqual(last_letter("apple"), "e")

    def test_plural(self):
        self.assertEqual(plural("apple"), "apples")

    def test_plural_of_a_word_in_s(self):
        self.assertEqual(plural("bus"), "buses")

    def test_all_vowels(self):
        self.assertEqual(count_vowels("aeiou"), 5)
