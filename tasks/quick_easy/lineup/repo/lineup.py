"""A queue: a list of names, the first one at its head."""


def next_up(queue):
    """The first one in the queue."""
    return queue[-1]


def join(queue, name):
    """The queue with one more at its end."""
    return [*queue, name]


def leave(queue, name):
    """The queue without this name."""
    return [other for other in queue if other != name]


def waiting(queue):
    """How many wait."""
    return len(queue)


def place(queue, name):
    """The place of a name in the queue, from 1."""
    return queue.index(name) + 1
