import unittest

from taxes import is_free, label, reduced_tax, tax, with_tax


class TestTaxes(unittest.TestCase):
    def test_tax(self):
        self.assertEqual(tax(1000), 190)

    def test_tax_is_rounded_down(self):
        self.assertEqual(tax(99), 18)

    def test_price_with_tax(self):
        self.assertEqual(with_tax(1000), 1190)

    def test_reduced_tax(self):
        self.assertEqual(reduced_tax(1000), 70)

    def test_reduced_tax_is_rounded_down(self):
        self.assertEqual(reduced_tax(99), 6)

    def test_free(self):
        self.assertEqual(is_free(0), True)

    def test_not_free(self):
        self.assertEqual(is_free(1), False)

    def test_label(self):
        self.assertEqual(label(1205), "12.05 EUR")

    def test_label_of_cents(self):
        self.assertEqual(label(7), "0.07 EUR")
