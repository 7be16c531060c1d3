import unittest

from gridmark import Table


class TestTable(unittest.TestCase):
    def test_columns_are_equally_wide(self):
        table = Table(["fruit", "n"])
        table.add("apple", 3)
        table.add("durian", 12)
        self.assertEqual(
            table.render(),
            "| fruit  | n   |\n| ------ | --- |\n| apple  | 3   |\n| durian | 12  |",
        )

    def test_right(self):
        table = Table(["number"], ["right"])
        table.add(7)
        self.assertEqual(table.render(), "| number |\n| -----: |\n|      7 |")

    def test_center(self):
        table = Table(["title"], ["center"])
        table.add("x")
        self.assertEqual(table.render(), "| title |\n| :---: |\n|   x   |")

    def test_decimal_points_stand_below_each_other(self):
        table = Table(["price"], ["point"])
        table.add("1.5")
        table.add("12.25")
        self.assertEqual(table.render(), "| price |\n| ----: |\n|  1.5  |\n| 12.25 |")

    def test_whole_numbers_in_a_point_column(self):
        table = Table(["price"], ["point"])
        table.add("7")
        table.add("120")
        self.assertEqual(table.render(), "| price |\n| ----: |\n|     7 |\n|   120 |")

    def test_missing_cells_are_empty(self):
        table = Table(["one", "two"])
        table.add("a")
        self.assertEqual(table.rows, [["a", ""]])

    def test_too_many_cells(self):
        with self.assertRaises(ValueError):
            Table(["one"]).add(1, 2)

    def test_unknown_alignment(self):
        with self.assertRaises(ValueError):
            Table(["one"], ["up"])


if __name__ == "__main__":
    unittest.main()
