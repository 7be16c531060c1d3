import unittest

from stackup import Requirement
from stackup.names import canonical, release


class TestRequirement(unittest.TestCase):
    def test_name_alone(self):
        self.assertTrue(Requirement.parse("web").allows("0.1"))

    def test_bounds(self):
        need = Requirement.parse("web >= 1.2, <2")
        self.assertEqual(need.name, "web")
        self.assertEqual([need.allows(v) for v in ("1.1", "1.2", "1.10", "2.0")], [0, 1, 1, 0])

    def test_exclusion(self):
        self.assertFalse(Requirement.parse("web!=1.4").allows("1.4"))

    def test_missing_name(self):
        with self.assertRaises(ValueError):
            Requirement.parse(">=1.0")

    def test_unknown_sign(self):
        with self.assertRaises(ValueError):
            Requirement.parse("web>=1,~2")


class TestNames(unittest.TestCase):
    def test_canonical(self):
        self.assertEqual(canonical("Template_Kit"), "template-kit")

    def test_zeros_at_the_end_do_not_count(self):
        self.assertEqual(release("1.0"), release("1"))


if __name__ == "__main__":
    unittest.main()
