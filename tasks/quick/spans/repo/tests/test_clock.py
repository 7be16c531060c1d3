import unittest

from spans.clock import clock, minutes
from spans.errors import BadTime


class TestClock(unittest.TestCase):
    def test_reads_a_time_of_day(self):
        self.assertEqual(minutes("09:30"), 570)

    def test_reads_the_end_of_the_day(self):
        self.assertEqual(minutes("24:00"), 1440)

    def test_refuses_sixty_minutes(self):
        with self.assertRaises(BadTime):
            minutes("09:60")

    def test_refuses_words(self):
        with self.assertRaises(BadTime):
            minutes("noon")

    def test_writes_what_it_reads(self):
        self.assertEqual(clock(minutes("07:05")), "07:05")


if __name__ == "__main__":
    unittest.main()
