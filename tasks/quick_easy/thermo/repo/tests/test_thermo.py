import unittest

from thermo import is_freezing, to_celsius, to_fahrenheit, warmest, word


class TestThermo(unittest.TestCase):
    def test_to_fahrenheit(self):
        self.assertEqual(to_fahrenheit(100), 212.0)
        self.assertEqual(to_fahrenheit(0), 32.0)

    def test_to_celsius(self):
        self.assertEqual(to_celsius(212), 100.0)

    def test_there_and_back(self):
        self.assertEqual(to_celsius(to_fahrenheit(25)), 25.0)

    def test_frost(self):
        self.assertEqual(is_freezing(-5), True)

    def test_cold(self):
        self.assertEqual(word(9), "cold")

    def test_mild(self):
        self.assertEqual([word(10), word(24)], ["mild", "mild"])

    def test_hot(self):
        self.assertEqual(word(25), "hot")

    def test_warmest(self):
        self.assertEqual(warmest([11, 19, 14]), 19)

    def test_warmest_of_none(self):
        self.assertEqual(warmest([]), None)
