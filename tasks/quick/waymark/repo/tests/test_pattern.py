import unittest

from waymark import BadPattern, Pattern


class TestPattern(unittest.TestCase):
    def test_literal(self):
        self.assertEqual(Pattern("/about").match("/about"), {})

    def test_other_literal(self):
        self.assertIsNone(Pattern("/about").match("/imprint"))

    def test_field(self):
        self.assertEqual(Pattern("/users/{name}").match("/users/ada"), {"name": "ada"})

    def test_number(self):
        self.assertEqual(Pattern("/users/{id:int}").match("/users/7"), {"id": 7})

    def test_no_number(self):
        self.assertIsNone(Pattern("/users/{id:int}").match("/users/ada"))

    def test_rest(self):
        self.assertEqual(Pattern("/files/{name:rest}").match("/files/a/b"), {"name": "a/b"})

    def test_slash_at_the_end(self):
        self.assertEqual(Pattern("/about").match("/about/"), {})

    def test_path_is_too_long(self):
        self.assertIsNone(Pattern("/users/{id}").match("/users/7/edit"))

    def test_rest_must_come_last(self):
        with self.assertRaises(BadPattern):
            Pattern("/files/{name:rest}/edit")

    def test_unknown_kind(self):
        with self.assertRaises(BadPattern):
            Pattern("/users/{id:uuid}")


if __name__ == "__main__":
    unittest.main()
