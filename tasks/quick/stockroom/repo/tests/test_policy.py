import unittest

from stockroom import Item
from stockroom.policy import needs_reorder, order_quantity, shopping_list
from stockroom.report import stock_list


class TestPolicy(unittest.TestCase):
    def test_low_stock_is_reordered(self):
        self.assertTrue(needs_reorder(Item("N-1", "nut", on_hand=5, reorder_point=5)))

    def test_goods_on_order_count(self):
        nut = Item("N-1", "nut", on_hand=5, on_order=1, reorder_point=5)
        self.assertFalse(needs_reorder(nut))

    def test_discontinued_goods_are_not_reordered(self):
        self.assertFalse(needs_reorder(Item("N-1", "nut", reorder_point=5, discontinued=True)))

    def test_whole_packs(self):
        self.assertEqual(order_quantity(Item("N-1", "nut", on_hand=3, reorder_point=5), pack=6), 12)

    def test_shopping_list(self):
        items = [Item("N-1", "nut", reorder_point=2), Item("N-2", "nail", on_hand=9)]
        self.assertEqual(shopping_list(items), {"N-1": 4})

    def test_stock_list(self):
        nut = Item("N-1", "nut", on_hand=9, reserved=2)
        self.assertEqual(stock_list([nut]), "  N-1         7 of 9  nut")


if __name__ == "__main__":
    unittest.main()
