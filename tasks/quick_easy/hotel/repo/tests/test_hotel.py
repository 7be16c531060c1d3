import unittest

from hotel import all_guests, find_guest, free_beds, free_rooms, is_empty


def room(number, *guests):
    return {"number": number, "guests": list(guests), "beds": 3}


class TestHotel(unittest.TestCase):
    def test_a_room_with_a_guest(self):
        self.assertEqual(is_empty(room(1, "Ada")), False)

    def test_free_beds(self):
        self.assertEqual(free_beds(room(1, "Ada")), 2)

    def test_all_beds_are_free(self):
        self.assertEqual(free_beds(room(1)), 3)

    def test_no_rooms(self):
        self.assertEqual(free_rooms([]), [])

    def test_all_guests(self):
        self.assertEqual(all_guests([room(1, "Cy", "Ada"), room(2, "Bo")]), ["Ada", "Bo", "Cy"])

    def test_no_guests(self):
        self.assertEqual(all_guests([room(1)]), [])

    def test_find_a_guest(self):
        self.assertEqual(find_guest([room(1, "Ada"), room(2, "Bo")], "Bo"), 2)

    def test_find_nobody(self):
        self.assertEqual(find_guest([room(1, "Ada")], "Bo"), None)
