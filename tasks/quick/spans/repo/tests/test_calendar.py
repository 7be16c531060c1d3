import unittest

from spans import Calendar, Conflict


class TestCalendar(unittest.TestCase):
    def setUp(self):
        self.room = Calendar()
        self.room.book("lunch", "12:00", "13:00")

    def test_agenda_is_in_order(self):
        self.room.book("standup", "09:00", "09:15")
        self.assertEqual(self.room.agenda(), ["09:00-09:15 standup", "12:00-13:00 lunch"])

    def test_overlapping_booking_is_refused(self):
        with self.assertRaises(Conflict) as caught:
            self.room.book("call", "12:30", "13:30")
        self.assertEqual(caught.exception.taken, "lunch")

    def test_booking_after_another_one(self):
        self.room.book("review", "13:00", "14:00")
        self.assertEqual(self.room.at("13:00").title, "review")

    def test_booking_right_before_another_one(self):
        self.room.book("call", "11:30", "12:00")
        self.assertEqual(self.room.at("11:59").title, "call")

    def test_cancel(self):
        self.assertEqual(self.room.cancel("lunch"), 1)
        self.assertEqual(self.room.agenda(), [])

    def test_nothing_is_on(self):
        self.assertIsNone(self.room.at("08:00"))

    def test_free_time(self):
        self.room.book("review", "14:00", "15:00")
        self.assertEqual(
            self.room.free("09:00", "17:00"),
            [("09:00", "12:00"), ("13:00", "14:00"), ("15:00", "17:00")],
        )


if __name__ == "__main__":
    unittest.main()
