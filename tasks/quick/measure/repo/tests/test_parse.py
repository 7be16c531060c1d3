import unittest

from measure import UnknownUnit, parse


class TestParse(unittest.TestCase):
    def test_with_a_space(self):
        self.assertEqual(str(parse("3.5 km")), "3.5 km")

    def test_without_a_space(self):
        self.assertEqual(str(parse("20min")), "20 min")

    def test_negative(self):
        self.assertEqual(parse("-40 degF").value, -40.0)

    def test_names_and_plurals(self):
        self.assertEqual(parse("2 miles").unit.symbol, "mi")

    def test_unit_is_missing(self):
        with self.assertRaises(ValueError):
            parse("12")

    def test_unknown_unit(self):
        with self.assertRaises(UnknownUnit):
            parse("3 parsecs")


if __name__ == "__main__":
    unittest.main()
