import unittest

from plainconf.lines import is_blank, section_name, split_pair


class TestLines(unittest.TestCase):
    def test_comments_are_blank(self):
        self.assertTrue(is_blank("   # nothing here"))

    def test_values_are_not_blank(self):
        self.assertFalse(is_blank("a = 1"))

    def test_section(self):
        self.assertEqual(section_name(" [ server ] "), "server")

    def test_no_section(self):
        self.assertIsNone(section_name("server = [a]b"))

    def test_pair(self):
        self.assertEqual(split_pair("  host =  example.org  "), ("host", "example.org"))

    def test_value_with_an_equals_sign(self):
        self.assertEqual(split_pair("query = a=b"), ("query", "a=b"))

    def test_value_that_starts_with_a_hash(self):
        self.assertEqual(split_pair("colour = #ff8800"), ("colour", "#ff8800"))

    def test_no_pair(self):
        self.assertIsNone(split_pair("just words"))


if __name__ == "__main__":
    unittest.main()
