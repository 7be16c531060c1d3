import unittest

from powers import cube, is_square, power, square, squares


class TestPowers(unittest.TestCase):
    def test_square(self):
        self.assertEqual(square(12), 144)

    def test_cube(self):
        self.assertEqual(cube(3), 27)

    def test_a_power_of_equal_numbers(self):
        self.assertEqual(power(3, 3), 27)

    def test_a_power_of_two(self):
        self.assertEqual(power(2, 5), 32)

    def test_nine_is_a_square(self):
        self.assertEqual(is_square(9), True)

    def test_ten_is_no_square(self):
        self.assertEqual(is_square(10), False)

    def test_squares(self):
        self.assertEqual(squares(4), [1, 4, 9, 16])

    def test_no_squares(self):
        self.assertEqual(squares(0), [])
