import unittest

from ledger.amounts import format_cents, parse_cents


class TestAmounts(unittest.TestCase):
    def test_whole_amount(self):
        self.assertEqual(parse_cents("7"), 700)

    def test_negative_amount(self):
        self.assertEqual(parse_cents("-0.05"), -5)

    def test_thousands(self):
        self.assertEqual(parse_cents("1,234.00"), 123400)

    def test_one_digit_of_cents_is_refused(self):
        with self.assertRaises(ValueError):
            parse_cents("1.5")

    def test_format(self):
        self.assertEqual(format_cents(-123450), "-1,234.50")


if __name__ == "__main__":
    unittest.main()
