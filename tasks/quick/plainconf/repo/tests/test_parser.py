import unittest

from plainconf import ConfigError, MissingKey, parse

TEXT = """
name = demo # before any section

[server]
host = example.org
port = 8080   # behind the proxy
debug = yes   # remove before the release
origins = a.example, b.example,
timeout = 15m
"""


class TestParser(unittest.TestCase):
    def setUp(self):
        self.config = parse(TEXT)

    def test_sections(self):
        self.assertEqual(self.config.sections(), ["server"])

    def test_value_before_any_section(self):
        self.assertEqual(self.config.get("", "name"), "demo")

    def test_number(self):
        self.assertEqual(self.config.get_int("server", "port"), 8080)

    def test_switch(self):
        self.assertIs(self.config.get_bool("server", "debug"), True)

    def test_list(self):
        self.assertEqual(self.config.get_list("server", "origins"), ["a.example", "b.example"])

    def test_duration(self):
        self.assertEqual(self.config.get_seconds("server", "timeout"), 900)

    def test_default(self):
        self.assertEqual(self.config.get("server", "user", "nobody"), "nobody")

    def test_missing_key(self):
        with self.assertRaises(MissingKey):
            self.config.get("server", "user")

    def test_key_that_is_set_twice(self):
        with self.assertRaises(ConfigError) as caught:
            parse("a = 1\na = 2\n")
        self.assertEqual(caught.exception.line, 2)

    def test_line_without_a_value(self):
        with self.assertRaises(ConfigError):
            parse("just words\n")


if __name__ == "__main__":
    unittest.main()
