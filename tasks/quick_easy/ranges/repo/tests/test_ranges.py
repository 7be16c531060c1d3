import unittest

from ranges import count_down, count_to, pairs, sum_to, tens


class TestRanges(unittest.TestCase):
    def test_count_to_nothing(self):
        self.assertEqual(count_to(0), [])

    def test_count_to_begins_with_one(self):
        self.assertEqual(count_to(9)[0], 1)

    def test_count_down(self):
        self.assertEqual(count_down(3), [3, 2, 1])

    def test_count_down_from_nothing(self):
        self.assertEqual(count_down(0), [])

    def test_tens(self):
        self.assertEqual(tens(3), [10, 20, 30])

    def test_sum(self):
        self.assertEqual(sum_to(100), 5050)

    def test_sum_of_nothing(self):
        self.assertEqual(sum_to(0), 0)

    def test_pairs(self):
        self.assertEqual(pairs(2), [(1, 2), (2, 3)])
