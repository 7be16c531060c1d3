import unittest

from tally import Exchange, Money
from tally.rounding import half_even


class TestMoney(unittest.TestCase):
    def setUp(self):
        self.price = Money.parse("19.99 EUR")

    def test_writes_what_it_reads(self):
        for text in ("19.99 EUR", "-0.05 USD", "300 JPY"):
            self.assertEqual(str(Money.parse(text)), text)

    def test_too_many_digits(self):
        with self.assertRaises(ValueError):
            Money.parse("0.5 JPY")

    def test_unknown_currency(self):
        with self.assertRaises(ValueError):
            Money.parse("1 XXX")

    def test_sum(self):
        self.assertEqual(str(self.price + Money.parse("0.01 EUR")), "20.00 EUR")

    def test_currencies_do_not_mix(self):
        with self.assertRaises(ValueError):
            self.price - Money.parse("1 USD")

    def test_multiple(self):
        self.assertEqual(str(self.price * 3), "59.97 EUR")

    def test_percent(self):
        self.assertEqual(str(self.price.percent(19)), "3.80 EUR")

    def test_percent_by_another_rule(self):
        half = Money.parse("0.05 EUR")
        self.assertEqual(str(half.percent(50)), "0.03 EUR")
        self.assertEqual(str(half.percent(50, half_even)), "0.02 EUR")

    def test_split_loses_nothing(self):
        self.assertEqual([m.coins for m in self.price.split(3)], [667, 666, 666])


class TestExchange(unittest.TestCase):
    def setUp(self):
        self.exchange = Exchange({"USD": "1.25", "JPY": "160"})

    def test_to_more_digits(self):
        self.assertEqual(str(self.exchange.change(Money.parse("100 JPY"), "EUR")), "0.63 EUR")

    def test_to_fewer_digits(self):
        self.assertEqual(str(self.exchange.change(Money.parse("1.01 EUR"), "JPY")), "162 JPY")

    def test_through_the_euro(self):
        self.assertEqual(str(self.exchange.change(Money.parse("5.00 USD"), "JPY")), "640 JPY")


if __name__ == "__main__":
    unittest.main()
