import unittest

from integers import count_even, doubled, positive, product, without_last


class TestIntegers(unittest.TestCase):
    def test_count_even(self):
        self.assertEqual(count_even([1, 2, 4]), 2)

    def test_as_many_even_as_odd_numbers(self):
        self.assertEqual(count_even([1, 2, 3, 4]), 2)

    def test_positive(self):
        self.assertEqual(positive([-1, 0, 3]), [3])

    def test_doubled(self):
        self.assertEqual(doubled([1, 5]), [2, 10])

    def test_product(self):
        self.assertEqual(product([2, 3, 4]), 24)

    def test_product_of_nothing(self):
        self.assertEqual(product([]), 1)

    def test_without_last(self):
        self.assertEqual(without_last([1, 2, 3]), [1, 2])

    def test_nothing_without_last(self):
        self.assertEqual(without_last([]), [])
