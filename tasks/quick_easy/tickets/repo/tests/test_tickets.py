import unittest

from tickets import family_price, is_child, is_senior, price, total


class TestTickets(unittest.TestCase):
    def test_a_child(self):
        self.assertEqual(price(8), 5)
        self.assertTrue(is_child(8))

    def test_twelve_years(self):
        self.assertEqual(is_child(12), False)

    def test_a_grown_up(self):
        self.assertEqual(price(40), 12)
        self.assertFalse(is_child(40))

    def test_a_senior(self):
        self.assertEqual(price(70), 9)

    def test_the_first_year_of_a_senior(self):
        self.assertEqual([is_senior(64), is_senior(65)], [False, True])

    def test_total(self):
        self.assertEqual(total([8, 40, 70]), 26)

    def test_no_ticket(self):
        self.assertEqual(total([]), 0)

    def test_a_small_family(self):
        self.assertEqual(family_price([40, 8]), 17)

    def test_a_large_family(self):
        self.assertEqual(family_price([40, 41, 8, 9]), 30)
