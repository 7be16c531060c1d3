import unittest

from badges import badge, email, formal_name, full_name, is_long


class TestBadges(unittest.TestCase):
    def test_full_name_of_one_who_is_called_the_same_twice(self):
        self.assertEqual(full_name("Otto", "Otto"), "Otto Otto")

    def test_formal_name(self):
        self.assertEqual(formal_name("Ada", "Lovelace"), "Lovelace, Ada")

    def test_badge(self):
        self.assertEqual(badge("Ada", "Lovelace"), "[Ada L.]")

    def test_email(self):
        self.assertEqual(email("Ada", "Lovelace"), "ada.lovelace@example.org")

    def test_email_in_lower_case(self):
        self.assertEqual(email("BO", "Li"), "bo.li@example.org")

    def test_a_long_name(self):
        self.assertEqual(is_long("x" * 21), True)

    def test_a_short_name(self):
        self.assertEqual(is_long("Ada Lovelace"), False)

    def test_twenty_letters_are_short(self):
        self.assertEqual(is_long("x" * 20), False)
