import unittest

from phrases import initials, is_palindrome, repeat, shorten, shout


class TestPhrases(unittest.TestCase):
    def test_shout(self):
        self.assertEqual(shout("Hello"), "HELLO!")

    def test_initials(self):
        self.assertEqual(initials("Ada Lovelace"), "AL")

    def test_initials_of_one_word(self):
        self.assertEqual(initials("Ada"), "A")

    def test_shorten(self):
        self.assertEqual(shorten("a long sentence", 9), "a long...")

    def test_what_is_short_stays(self):
        self.assertEqual(shorten("short", 5), "short")

    def test_a_palindrome(self):
        self.assertEqual(is_palindrome("level"), True)

    def test_no_palindrome(self):
        self.assertEqual(is_palindrome("lever"), False)

    def test_repeat(self):
        self.assertEqual(repeat("tick", 3), "tick tick tick")
