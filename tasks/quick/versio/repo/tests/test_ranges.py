import unittest

from versio import BadRange, NoMatch, Version, best, matches


class TestRanges(unittest.TestCase):
    def test_exact(self):
        self.assertTrue(matches(Version(1, 4, 2), "1.4.2"))
        self.assertFalse(matches(Version(1, 4, 3), "1.4.2"))

    def test_joined_comparisons(self):
        self.assertTrue(matches(Version(1, 9, 9), ">=1.4.0 <2.0.0"))
        self.assertFalse(matches(Version(2, 0, 0), ">=1.4.0 <2.0.0"))

    def test_caret(self):
        self.assertTrue(matches(Version(1, 9, 0), "^1.4.2"))
        self.assertFalse(matches(Version(2, 0, 0), "^1.4.2"))

    def test_caret_before_the_first_release(self):
        self.assertTrue(matches(Version(0, 4, 9), "^0.4.2"))
        self.assertFalse(matches(Version(0, 5, 0), "^0.4.2"))

    def test_tilde_from_the_first_release(self):
        self.assertTrue(matches(Version(1, 0, 7), "~1.0.0"))
        self.assertFalse(matches(Version(1, 1, 0), "~1.0.0"))

    def test_broken_range(self):
        with self.assertRaises(BadRange):
            matches(Version(1, 0, 0), "^1.x")

    def test_empty_range(self):
        with self.assertRaises(BadRange):
            matches(Version(1, 0, 0), " ")


TAGS = ["1.3.9", "1.4.2", "1.4.7", "1.9.0", "2.0.0-rc.1", "2.0.0"]


class TestBest(unittest.TestCase):
    def test_newest_in_a_caret_range(self):
        self.assertEqual(str(best("^1.4.0", TAGS)), "1.9.0")

    def test_newest_in_a_tilde_range(self):
        self.assertEqual(str(best("~1.4.2", TAGS)), "1.4.7")

    def test_pre_release_when_asked_for(self):
        self.assertEqual(str(best("<2.0.0", TAGS, pre=True)), "2.0.0-rc.1")

    def test_nothing_fits(self):
        with self.assertRaises(NoMatch):
            best(">2.0.0", TAGS)


if __name__ == "__main__":
    unittest.main()
