import unittest

from abacus import FormulaError
from abacus.lexer import tokens


def texts(formula):
    return [token.text for token in tokens(formula)[:-1]]


class TestLexer(unittest.TestCase):
    def test_symbols_of_two_characters(self):
        self.assertEqual(texts("2**3//4"), ["2", "**", "3", "//", "4"])

    def test_names(self):
        self.assertEqual(texts("max(a_1, b)"), ["max", "(", "a_1", ",", "b", ")"])

    def test_numbers(self):
        self.assertEqual(texts("12 1.5 .5 2.5e6"), ["12", "1.5", ".5", "2.5e6"])

    def test_columns(self):
        self.assertEqual([token.column for token in tokens("1 + x")], [1, 3, 5, 6])

    def test_unknown_character(self):
        with self.assertRaises(FormulaError) as caught:
            tokens("1 ? 2")
        self.assertEqual(caught.exception.column, 3)


if __name__ == "__main__":
    unittest.main()
