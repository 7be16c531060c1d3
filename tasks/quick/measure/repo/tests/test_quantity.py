import unittest

from measure import DimensionError, Quantity, parse


class TestQuantity(unittest.TestCase):
    def test_to_a_smaller_unit(self):
        self.assertAlmostEqual(parse("2 km").to("m").value, 2000.0)

    def test_to_a_larger_unit(self):
        self.assertAlmostEqual(parse("1 mi").to("km").value, 1.609344)

    def test_celsius_to_kelvin(self):
        self.assertAlmostEqual(parse("21 degC").to("K").value, 294.15)

    def test_fahrenheit_to_kelvin(self):
        self.assertAlmostEqual(parse("32 degF").to("K").value, 273.15)

    def test_sum(self):
        self.assertAlmostEqual((parse("5 kg") + parse("300 g")).value, 5.3)

    def test_difference(self):
        self.assertAlmostEqual((parse("1 h") - parse("15 min")).value, 0.75)

    def test_multiple(self):
        self.assertEqual(str(Quantity(2, "m") * 3), "6 m")

    def test_order_across_units(self):
        self.assertLess(parse("99 cm"), parse("1 m"))
        self.assertLess(parse("20 degC"), parse("300 K"))

    def test_dimensions_do_not_mix(self):
        with self.assertRaises(DimensionError):
            parse("1 m").to("kg")


if __name__ == "__main__":
    unittest.main()
