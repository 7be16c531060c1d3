import unittest

from pickers import in_order, joined, longest, starting_with, without_repeats


class TestPickers(unittest.TestCase):
    def test_the_longest_of_one(self):
        self.assertEqual(longest(["fig"]), "fig")

    def test_the_first_of_equal_length(self):
        self.assertEqual(longest(["fig", "ham"]), "fig")

    def test_in_order(self):
        self.assertEqual(in_order(["pear", "fig"]), ["fig", "pear"])

    def test_starting_with(self):
        self.assertEqual(starting_with(["fig", "pear", "plum"], "p"), ["pear", "plum"])

    def test_none_starts_with(self):
        self.assertEqual(starting_with(["fig"], "p"), [])

    def test_without_repeats(self):
        self.assertEqual(without_repeats(["fig", "pear", "fig"]), ["fig", "pear"])

    def test_joined(self):
        self.assertEqual(joined(["fig", "pear"]), "fig, pear")

    def test_nothing_joined(self):
        self.assertEqual(joined([]), "")
