"""Rooms of a hotel: dictionaries with a number, a list of guests and a number of beds."""


def is_empty(room):
    """Whether the room has no guests."""
    return len(room["guests"]) != 0


def free_beds(room):
    """How many beds of the room are free."""
    return room["beds"] - len(room["guests"])


def free_rooms(rooms):
    """The numbers of the empty rooms."""
    return [room["number"] for room in rooms if is_empty(room)]


def all_guests(rooms):
    """The guests of all rooms, in alphabetical order."""
    return sorted(guest for room in rooms for guest in room["guests"])


def find_guest(rooms, guest):
    """The number of a guest's room, None if there is none."""
    return next((room["number"] for room in rooms if guest in room["guests"]), None)
