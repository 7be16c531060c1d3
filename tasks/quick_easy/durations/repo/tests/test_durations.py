import unittest

from durations import clock, days_to_hours, hours_to_minutes, is_longer, minutes_to_seconds


class TestDurations(unittest.TestCase):
    def test_hours(self):
        self.assertEqual(hours_to_minutes(2), 120)

    def test_no_hours(self):
        self.assertEqual(hours_to_minutes(0), 0)

    def test_minutes(self):
        self.assertEqual(minutes_to_seconds(3), 180)

    def test_days(self):
        self.assertEqual(days_to_hours(2), 48)

    def test_clock(self):
        self.assertEqual(clock(75), "1:15")

    def test_a_full_hour(self):
        self.assertEqual(clock(60), "1:00")

    def test_longer(self):
        self.assertEqual(is_longer(61, 1), True)

    def test_shorter(self):
        self.assertEqual(is_longer(20, 1), False)
