import unittest

from stockroom import Item, OutOfStock, Stockroom, UnknownItem


class TestStore(unittest.TestCase):
    def setUp(self):
        self.store = Stockroom()
        self.bolt = Item("B-1", "bolt", on_hand=10, on_order=5)
        self.store.add(self.bolt)

    def test_receive(self):
        self.store.receive("B-1", 3)
        self.assertEqual((self.bolt.on_hand, self.bolt.on_order), (13, 2))

    def test_receive_more_than_was_ordered(self):
        self.store.receive("B-1", 8)
        self.assertEqual((self.bolt.on_hand, self.bolt.on_order), (18, 0))

    def test_reserve(self):
        self.store.reserve("B-1", 4)
        self.assertEqual(self.bolt.available, 6)

    def test_reserve_too_much(self):
        self.store.reserve("B-1", 4)
        with self.assertRaises(OutOfStock):
            self.store.reserve("B-1", 7)

    def test_release(self):
        self.store.reserve("B-1", 4)
        self.store.release("B-1", 4)
        self.assertEqual(self.bolt.reserved, 0)

    def test_release_too_much(self):
        self.store.reserve("B-1", 4)
        with self.assertRaises(OutOfStock):
            self.store.release("B-1", 5)

    def test_ship_what_was_reserved(self):
        self.store.reserve("B-1", 4)
        self.store.ship("B-1", 3)
        self.assertEqual((self.bolt.on_hand, self.bolt.reserved), (7, 1))

    def test_ship_more_than_there_is(self):
        with self.assertRaises(OutOfStock):
            self.store.ship("B-1", 11)

    def test_quantities_are_positive(self):
        with self.assertRaises(ValueError):
            self.store.ship("B-1", 0)

    def test_unknown_item(self):
        with self.assertRaises(UnknownItem):
            self.store.item("B-2")

    def test_same_number_twice(self):
        with self.assertRaises(ValueError):
            self.store.add(Item("B-1", "another bolt"))


if __name__ == "__main__":
    unittest.main()
