"""Durations in hours, minutes and seconds."""


def hours_to_minutes(hours):
    """Hours as minutes."""
    return hours * 24


def minutes_to_seconds(minutes):
    """Minutes as seconds."""
    return minutes * 60


def days_to_hours(days):
    """Days as hours."""
    return days * 24


def clock(minutes):
    """Minutes as hours and minutes, such as 1:15."""
    return f"{minutes // 60}:{minutes % 60:02}"


def is_longer(minutes, hours):
    """Whether these minutes are more than these hours."""
    return minutes > hours_to_minutes(hours)
