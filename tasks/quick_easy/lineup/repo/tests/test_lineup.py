import unittest

from lineup import join, leave, next_up, place, waiting


class TestLineup(unittest.TestCase):
    def test_the_first_is_next(self):
        self.assertEqual(next_up(["Ada", "Bo", "Cy"]), "Ada")

    def test_one_alone_is_next(self):
        self.assertEqual(next_up(["Ada"]), "Ada")

    def test_join(self):
        self.assertEqual(join(["Ada"], "Bo"), ["Ada", "Bo"])

    def test_join_nobody(self):
        self.assertEqual(join([], "Bo"), ["Bo"])

    def test_leave(self):
        self.assertEqual(leave(["Ada", "Bo"], "Ada"), ["Bo"])

    def test_waiting(self):
        self.assertEqual(waiting(["Ada", "Bo"]), 2)

    def test_place(self):
        self.assertEqual(place(["Ada", "Bo"], "Bo"), 2)

    def test_place_of_the_first(self):
        self.assertEqual(place(["Ada", "Bo"], "Ada"), 1)
