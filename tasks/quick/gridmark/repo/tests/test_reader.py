import unittest

from gridmark import Table, read
from gridmark.cells import escape, split_row


class TestReader(unittest.TestCase):
    def test_reads_what_a_table_renders(self):
        table = Table(["name", "what"], ["left", "right"])
        table.add("a|b", "a bar")
        self.assertEqual(read(table.render()), [{"name": "a|b", "what": "a bar"}])

    def test_skips_text_around_the_table(self):
        self.assertEqual(read("Prices:\n\n| a |\n|---|\n| 1 |\n\nThat is all."), [{"a": "1"}])

    def test_no_table(self):
        with self.assertRaises(ValueError):
            read("no table here")

    def test_escape(self):
        self.assertEqual(escape("one\ntwo | three"), "one two \\| three")

    def test_nothing_is_an_empty_cell(self):
        self.assertEqual(escape(None), "")

    def test_escaped_bar_is_no_bar(self):
        self.assertEqual(split_row("| a \\| b | c |"), ["a \\| b", "c"])


if __name__ == "__main__":
    unittest.main()
