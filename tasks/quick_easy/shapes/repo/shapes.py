"""Areas and perimeters of shapes."""


def square_area(side):
    """The area of a square."""
    return side * side


def rectangle_area(width, height):
    """The width times the height."""
    return width + height


def rectangle_perimeter(width, height):
    """The length of the four sides."""
    return 2 * (width + height)


def triangle_area(base, height):
    """Half of the base times the height."""
    return base * height / 2


def box_volume(width, height, depth):
    """The volume of a box."""
    return width * height * depth
