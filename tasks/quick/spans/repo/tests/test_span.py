import unittest

from spans import BadTime, Span


class TestSpan(unittest.TestCase):
    def test_length(self):
        self.assertEqual(Span(60, 90).length, 30)

    def test_start_belongs_to_the_span(self):
        self.assertTrue(Span(60, 90).contains(60))

    def test_end_does_not_belong_to_the_span(self):
        self.assertFalse(Span(60, 90).contains(90))

    def test_nested_spans_overlap(self):
        self.assertTrue(Span(60, 180).overlaps(Span(90, 100)))
        self.assertTrue(Span(90, 100).overlaps(Span(60, 180)))

    def test_distant_spans_do_not_overlap(self):
        self.assertFalse(Span(60, 90).overlaps(Span(100, 120)))
        self.assertFalse(Span(100, 120).overlaps(Span(60, 90)))

    def test_common_minutes(self):
        self.assertEqual(Span(60, 100).common(Span(90, 120)), Span(90, 100))
        self.assertIsNone(Span(60, 90).common(Span(90, 120)))

    def test_refuses_to_end_before_it_starts(self):
        with self.assertRaises(BadTime):
            Span(90, 60)


if __name__ == "__main__":
    unittest.main()
