"""Units and currencies: how each is written, as a sign and in words."""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple


class Unit(NamedTuple):
    """``signs`` stand behind a number, with or without a blank; words come for one and for many."""

    signs: tuple[str, ...] = ()
    one: tuple[str, ...] = ()
    many: tuple[str, ...] = ()


UNITS = {
    "%": Unit(("%",), ("percent", "per cent"), ("percent", "per cent")),
    "km": Unit(("km",), ("kilometer", "kilometre"), ("kilometers", "kilometres")),
    "m": Unit(("m",), ("meter", "metre"), ("meters", "metres")),
    "cm": Unit(("cm",), ("centimeter", "centimetre"), ("centimeters", "centimetres")),
    "mm": Unit(("mm",), ("millimeter", "millimetre"), ("millimeters", "millimetres")),
    "mi": Unit(("mi",), ("mile",), ("miles",)),
    "ft": Unit(("ft",), ("foot",), ("feet",)),
    "inch": Unit((), ("inch",), ("inches",)),
    "yd": Unit(("yd",), ("yard",), ("yards",)),
    "kg": Unit(("kg",), ("kilogram", "kilo"), ("kilograms", "kilos")),
    "g": Unit(("g",), ("gram",), ("grams",)),
    "mg": Unit(("mg",), ("milligram",), ("milligrams",)),
    "lb": Unit(("lb", "lbs")),
    "oz": Unit(("oz",), ("ounce",), ("ounces",)),
    "l": Unit(("l", "L"), ("liter", "litre"), ("liters", "litres")),
    "ml": Unit(("ml", "mL"), ("milliliter", "millilitre"), ("milliliters", "millilitres")),
    "ms": Unit(("ms",), ("millisecond",), ("milliseconds",)),
    "s": Unit(("s", "sec"), ("second",), ("seconds",)),
    "min": Unit(("min", "mins"), ("minute",), ("minutes",)),
    "h": Unit(("h", "hr", "hrs"), ("hour",), ("hours",)),
    "day": Unit((), ("day",), ("days",)),
    "week": Unit((), ("week",), ("weeks",)),
    "month": Unit((), ("month",), ("months",)),
    "year": Unit(("yrs",), ("year",), ("years",)),
    "KB": Unit(("KB", "kB"), ("kilobyte",), ("kilobytes",)),
    "MB": Unit(("MB",), ("megabyte",), ("megabytes",)),
    "GB": Unit(("GB",), ("gigabyte",), ("gigabytes",)),
    "TB": Unit(("TB",), ("terabyte",), ("terabytes",)),
    "kWh": Unit(("kWh",), ("kilowatt hour",), ("kilowatt hours",)),
    "W": Unit(("W",), ("watt",), ("watts",)),
    "V": Unit(("V",), ("volt",), ("volts",)),
    "km/h": Unit(("km/h", "kmh", "kph"), ("kilometer per hour",), ("kilometers per hour",)),
    "mph": Unit(("mph",), ("mile per hour",), ("miles per hour",)),
    "°C": Unit(("°C", "° C"), ("degree Celsius",), ("degrees Celsius",)),
    "°F": Unit(("°F", "° F"), ("degree Fahrenheit",), ("degrees Fahrenheit",)),
    # A pound is money or a weight, and a cent one of many: in words they are what they are.
    "pound": Unit((), ("pound",), ("pounds",)),
    "cent": Unit(("¢",), ("cent",), ("cents",)),
    "USD": Unit(("USD",), ("dollar",), ("dollars",)),
    "EUR": Unit(("EUR",), ("euro",), ("euros",)),
    "GBP": Unit(("GBP",)),
    "JPY": Unit(("JPY",), ("yen",), ("yen",)),
    "CHF": Unit(("CHF",), ("Swiss franc",), ("Swiss francs",)),
    "INR": Unit(("INR",), ("rupee",), ("rupees",)),
    "CAD": Unit(("CAD",), ("Canadian dollar",), ("Canadian dollars",)),
    "AUD": Unit(("AUD",), ("Australian dollar",), ("Australian dollars",)),
}
CURRENCY_SIGNS = {
    "US$": "USD",
    "C$": "CAD",
    "A$": "AUD",
    "$": "USD",
    "€": "EUR",
    "£": "GBP",
    "¥": "JPY",
    "₹": "INR",
}
ARTICLES = frozenset(("a", "an", "the", "this", "that", "my", "your", "his", "her", "our", "their"))
"""Behind one of these a unit is in the singular: a five kilometre run."""
CURRENCIES = frozenset(("USD", "EUR", "GBP", "JPY", "CHF", "INR", "CAD", "AUD"))
WRITTEN = {  # longer words in small letters, signs as they are: a `M` is no `m`
    written: unit for unit, ways in UNITS.items() for written in (*ways.one, *ways.many)
}
WRITTEN = {written.lower(): unit for written, unit in WRITTEN.items()}
SIGNS = {sign: unit for unit, ways in UNITS.items() for sign in ways.signs} | CURRENCY_SIGNS


def unit_named(written: str) -> str | None:
    """The unit that is written so; ``None`` for what is none."""
    return SIGNS.get(written) or WRITTEN.get(written.lower()) or _CODES.get(written.lower())


def is_said_of_one(amount: Decimal, unit: str, written: str, before: str) -> bool:
    """Whether the unit stands in the singular: of one, and in ``a 5 kilometre run``.

    Not in ``the 6 months``, which says so itself. ``before`` is the word in front of the amount.
    """
    if amount == 1 or unit == "%":
        return amount == 1
    return before in ARTICLES and not written.lower().endswith(UNITS[unit].many)


def is_in_doubt(unit: str, amount: Decimal, written: str, figure: str) -> bool:
    """What may be no unit at all, or would be no number: the 90s, a budget of 5m, one second."""
    if unit == "s" and amount == 1:
        return True
    return unit in ("m", "s") and written.endswith(f"{figure}{unit}")


_CODES = {unit.lower(): unit for unit in ("USD", "EUR", "GBP", "km", "kg")}
