import unittest

from ledger import LedgerError, read

GOOD = """date,account,amount,memo
2024-01-05,fees,25.00,Ada

2024-01-09,rent,-310.00,"January, hall"
"""


class TestReader(unittest.TestCase):
    def test_reads_all_rows(self):
        self.assertEqual([entry.cents for entry in read(GOOD)], [2500, -31000])

    def test_quoted_comma(self):
        self.assertEqual(read(GOOD)[1].memo, "January, hall")

    def test_header_alone_is_an_empty_ledger(self):
        self.assertEqual(read("date,account,amount,memo\n"), [])

    def test_wrong_header(self):
        with self.assertRaises(LedgerError) as caught:
            read("day,what\n")
        self.assertEqual(caught.exception.line, 1)

    def test_bad_amount_names_its_line(self):
        with self.assertRaises(LedgerError) as caught:
            read(GOOD + "2024-01-10,fees,lots,Bo\n")
        self.assertEqual(str(caught.exception), "line 5: not an amount: 'lots'")

    def test_missing_field_gives_the_reason(self):
        with self.assertRaises(LedgerError) as caught:
            read(GOOD + "2024-01-10,fees,25.00\n")
        self.assertEqual(caught.exception.reason, "expected 4 fields, found 3")


if __name__ == "__main__":
    unittest.main()
