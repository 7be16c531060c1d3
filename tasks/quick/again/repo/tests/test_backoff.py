import unittest

from again import Backoff


class TestBackoff(unittest.TestCase):
    def test_first(self):
        self.assertEqual(Backoff(0.5, factor=2).delay(1), 0.5)

    def test_grows(self):
        self.assertEqual([Backoff(1, factor=3).delay(n) for n in (1, 2, 3)], [1, 3, 9])

    def test_limit(self):
        self.assertEqual(Backoff(1, factor=10, limit=50).delay(3), 50)

    def test_stays_the_same_without_a_factor(self):
        self.assertEqual(Backoff(2).delay(7), 2)

    def test_counts_from_one(self):
        with self.assertRaises(ValueError):
            Backoff(1).delay(0)


if __name__ == "__main__":
    unittest.main()
