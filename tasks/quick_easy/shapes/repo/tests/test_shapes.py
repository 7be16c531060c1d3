import unittest

from shapes import box_volume, rectangle_area, rectangle_perimeter, square_area, triangle_area


class TestShapes(unittest.TestCase):
    def test_square(self):
        self.assertEqual(square_area(5), 25)

    def test_a_square_without_size(self):
        self.assertEqual(square_area(0), 0)

    def test_rectangle(self):
        self.assertEqual(rectangle_area(3, 4), 12)

    def test_a_square_as_a_rectangle(self):
        self.assertEqual(rectangle_area(2, 2), 4)

    def test_perimeter(self):
        self.assertEqual(rectangle_perimeter(3, 4), 14)

    def test_triangle(self):
        self.assertEqual(triangle_area(3, 4), 6.0)

    def test_a_triangle_with_half_an_area(self):
        self.assertEqual(triangle_area(3, 3), 4.5)

    def test_box(self):
        self.assertEqual(box_volume(2, 3, 4), 24)
