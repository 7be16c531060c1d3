import unittest

from folio import align


class TestAlign(unittest.TestCase):
    def test_right(self):
        self.assertEqual(align("end", 6, "right"), "   end")

    def test_center(self):
        self.assertEqual(align("mid", 7, "center"), "  mid")

    def test_both_sides(self):
        self.assertEqual(align("a b c", 8, "both"), "a   b  c")

    def test_single_word_is_not_stretched(self):
        self.assertEqual(align("word", 8, "both"), "word")

    def test_unknown_alignment(self):
        with self.assertRaises(ValueError):
            align("line", 8, "up")


if __name__ == "__main__":
    unittest.main()
