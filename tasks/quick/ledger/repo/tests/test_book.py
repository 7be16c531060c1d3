import unittest
from datetime import date

from ledger import Book, Entry

ENTRIES = [
    Entry(date(2024, 2, 1), "rent", -30000),
    Entry(date(2024, 1, 5), "fees", 2500),
    Entry(date(2024, 1, 7), "fees", 2500),
]


class TestBook(unittest.TestCase):
    def setUp(self):
        self.book = Book(ENTRIES)

    def test_balance_of_an_account(self):
        self.assertEqual(self.book.balance("fees"), 5000)

    def test_balance_of_everything(self):
        self.assertEqual(self.book.balance(), -25000)

    def test_months(self):
        self.assertEqual(self.book.months(), {"2024-01": 5000, "2024-02": -30000})

    def test_running_balance_follows_the_dates(self):
        self.assertEqual(self.book.running(), [2500, 5000, -25000])

    def test_statement(self):
        self.assertEqual(self.book.statement().splitlines()[-1], "total            -250.00")


if __name__ == "__main__":
    unittest.main()
