import unittest

from basket import dearest, pieces, shipping, subtotal, total


class TestBasket(unittest.TestCase):
    def test_subtotal(self):
        self.assertEqual(subtotal([(250, 2), (99, 1)]), 599)

    def test_an_empty_basket(self):
        self.assertEqual(subtotal([]), 0)

    def test_pieces(self):
        self.assertEqual(pieces([(250, 2), (99, 1)]), 3)

    def test_total_without_discount(self):
        self.assertEqual(total([(250, 2)], 0), 500)

    def test_total_with_discount(self):
        self.assertEqual(total([(1000, 1)], 300), 700)

    def test_shipping(self):
        self.assertEqual(shipping([(4999, 1)]), 490)

    def test_free_shipping(self):
        self.assertEqual(shipping([(2500, 2)]), 0)

    def test_dearest(self):
        self.assertEqual(dearest([(250, 2), (99, 1)]), 250)
