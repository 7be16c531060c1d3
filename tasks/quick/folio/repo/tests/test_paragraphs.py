import unittest

from folio import fill
from folio.paragraphs import split
from folio.wrap import wrap

FOX = "The quick brown fox jumps over the lazy dog."


class TestWrap(unittest.TestCase):
    def test_breaks_between_words(self):
        self.assertEqual(wrap(FOX, 20), ["The quick brown fox", "jumps over the lazy", "dog."])

    def test_line_may_be_full(self):
        self.assertEqual(wrap("one two", 7), ["one two"])

    def test_long_word_has_its_own_line(self):
        self.assertEqual(wrap("a bookkeeper b", 4), ["a", "bookkeeper", "b"])

    def test_same_indent_everywhere(self):
        self.assertEqual(wrap("one two", 5, "> ", "> "), ["> one", "> two"])

    def test_no_words_no_lines(self):
        self.assertEqual(wrap("  ", 10), [])

    def test_width_must_be_positive(self):
        with self.assertRaises(ValueError):
            wrap(FOX, 0)


class TestParagraphs(unittest.TestCase):
    def test_split(self):
        self.assertEqual(split("one\n  two\n\n\nthree\n"), ["one two", "three"])

    def test_fill(self):
        self.assertEqual(fill("one two\n\nthree", 5), "one\ntwo\n\nthree")

    def test_fill_with_an_indent(self):
        self.assertEqual(fill("one two", 5, "  "), "  one\n  two")


if __name__ == "__main__":
    unittest.main()
