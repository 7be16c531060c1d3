import unittest

from tally.rounding import down, half_even, half_up


class TestRounding(unittest.TestCase):
    def test_down(self):
        self.assertEqual([down(n, 2) for n in (5, -5, 4)], [2, -2, 2])

    def test_half_up(self):
        self.assertEqual([half_up(n, 10) for n in (24, 25, 26)], [2, 3, 3])

    def test_half_up_below_zero(self):
        self.assertEqual([half_up(n, 10) for n in (-24, -26)], [-2, -3])

    def test_half_even(self):
        self.assertEqual([half_even(n, 10) for n in (15, 25, 35)], [2, 2, 4])

    def test_half_even_below_zero(self):
        self.assertEqual([half_even(n, 10) for n in (-15, -25, -26)], [-2, -2, -3])

    def test_whole_numbers_stay(self):
        for rule in (down, half_up, half_even):
            self.assertEqual(rule(-30, 10), -3)


if __name__ == "__main__":
    unittest.main()
