import unittest

from abacus import FormulaError, calculate


class TestCalculate(unittest.TestCase):
    def test_precedence(self):
        self.assertEqual(calculate("1 + 2 * 3"), 7)

    def test_parentheses(self):
        self.assertEqual(calculate("(1 + 2) * 3"), 9)

    def test_from_the_left(self):
        self.assertEqual(calculate("10 - 4 - 3"), 3)

    def test_powers_from_the_right(self):
        self.assertEqual(calculate("2 ** 3 ** 2"), 512)

    def test_minus_is_weaker_than_a_power(self):
        self.assertEqual(calculate("-2 ** 2"), -4)

    def test_negative_exponent(self):
        self.assertEqual(calculate("2 ** -1"), 0.5)

    def test_variables(self):
        self.assertEqual(calculate("2 * (width + 1)", width=3), 8)

    def test_unknown_variable(self):
        with self.assertRaises(FormulaError) as caught:
            calculate("2 * width")
        self.assertEqual(caught.exception.column, 5)

    def test_functions(self):
        self.assertEqual(calculate("max(1, min(5, 3)) + sqrt(16)"), 7.0)

    def test_scientific_notation(self):
        self.assertEqual(calculate("1.5e3 / 2"), 750.0)

    def test_whole_numbers_stay_exact(self):
        self.assertEqual(calculate("2 ** 64 + 1"), 18446744073709551617)

    def test_division_by_zero(self):
        with self.assertRaises(FormulaError):
            calculate("1 / (2 - 2)")

    def test_formula_ends_too_early(self):
        with self.assertRaises(FormulaError) as caught:
            calculate("1 +")
        self.assertEqual(str(caught.exception), "column 4: unexpected 'end'")


if __name__ == "__main__":
    unittest.main()
