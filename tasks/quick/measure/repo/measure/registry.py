"""All units that are known, by symbol and by their other names."""

from __future__ import annotations

from measure.errors import UnknownUnit
from measure.unit import Unit

UNITS = [
    Unit("m", "length"),
    Unit("cm", "length", 0.01),
    Unit("km", "length", 1000.0),
    Unit("in", "length", 0.0254),
    Unit("mi", "length", 1609.344),
    Unit("kg", "mass"),
    Unit("g", "mass", 0.001),
    Unit("lb", "mass", 0.45359237),
    Unit("s", "time"),
    Unit("min", "time", 60.0),
    Unit("h", "time", 3600.0),
    Unit("K", "temperature"),
    Unit("degC", "temperature", 1.0, 273.15),
    Unit("degF", "temperature", 5 / 9, 459.67),
]

ALIASES = {
    "metre": "m",
    "inch": "in",
    "mile": "mi",
    "pound": "lb",
    "hour": "h",
    "kelvin": "K",
    "celsius": "degC",
    "fahrenheit": "degF",
}

_BY_SYMBOL = {unit.symbol: unit for unit in UNITS}


def find(name: str) -> Unit:
    """Find a unit by its symbol, its name or the plural of its name."""
    if name in _BY_SYMBOL:
        return _BY_SYMBOL[name]
    for known in (name.lower(), name.lower().removesuffix("s")):
        if known in ALIASES:
            return _BY_SYMBOL[ALIASES[known]]
    raise UnknownUnit(name)


def units_of(dimension: str) -> list[str]:
    return [unit.symbol for unit in UNITS if unit.dimension == dimension]
