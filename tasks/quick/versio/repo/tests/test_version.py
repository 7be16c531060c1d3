import unittest

from versio import BadVersion, Version
from versio.bump import bump


class TestVersion(unittest.TestCase):
    def test_writes_what_it_reads(self):
        for text in ("0.0.1", "1.20.3", "2.0.0-rc.1"):
            self.assertEqual(str(Version.parse(text)), text)

    def test_two_numbers_are_not_enough(self):
        with self.assertRaises(BadVersion):
            Version.parse("1.2")

    def test_numbers_are_compared_as_numbers(self):
        self.assertLess(Version.parse("1.9.0"), Version.parse("1.10.0"))

    def test_pre_release_comes_before_its_release(self):
        self.assertLess(Version.parse("1.0.0-rc.1"), Version.parse("1.0.0"))

    def test_pre_releases_in_order(self):
        self.assertLess(Version.parse("1.0.0-rc.2"), Version.parse("1.0.0-rc.10"))

    def test_bump(self):
        version = Version.parse("1.4.2")
        self.assertEqual(str(bump(version, "major")), "2.0.0")
        self.assertEqual(str(bump(version, "minor")), "1.5.0")
        self.assertEqual(str(bump(version, "patch")), "1.4.3")

    def test_bump_finishes_a_pre_release(self):
        self.assertEqual(str(bump(Version.parse("1.0.0-rc.1"), "patch")), "1.0.0")


if __name__ == "__main__":
    unittest.main()
