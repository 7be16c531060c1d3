import unittest

from folio import bullets, numbered


class TestLists(unittest.TestCase):
    def test_bullets(self):
        self.assertEqual(bullets(["wash", "sleep"], 20), "- wash\n- sleep")

    def test_other_mark(self):
        self.assertEqual(bullets(["wash"], 20, mark="*"), "* wash")

    def test_numbers(self):
        self.assertEqual(numbered(["wash", "sleep"], 20), "1. wash\n2. sleep")

    def test_numbers_are_flush_right(self):
        self.assertEqual(numbered(["wash", "sleep"], 20, start=9), " 9. wash\n10. sleep")


if __name__ == "__main__":
    unittest.main()
