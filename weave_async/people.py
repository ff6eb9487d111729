"""People who do not exist, by locale: names, places and jobs of Faker's lists."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any

FIELDS = ("name", "first_name", "last_name", "city", "country", "job", "company", "age")
_OTHER_FRACTION = 2**53


def require_locales(locales: Sequence[str]) -> None:
    """Raises ``ValueError`` where there is no Faker, or not that locale."""
    if find_spec("faker") is None:
        raise ValueError("people need Faker: pip install 'weave-async[noise]'")
    if not locales:
        raise ValueError("name a locale, as en_US")
    from difflib import get_close_matches

    from faker.config import AVAILABLE_LOCALES

    for locale in locales:
        if locale not in AVAILABLE_LOCALES:
            near = get_close_matches(locale, AVAILABLE_LOCALES, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else "; as en_US, de_DE, ja_JP"
            raise ValueError(f"unknown locale '{locale}'{hint}")
        try:
            person_at(0.0, [locale], (18, 80))
        except Exception as error:  # whatever its lists lack
            raise ValueError(f"Faker has no people for '{locale}': {error}") from error


def person_at(
    fraction: float, locales: Sequence[str], ages: tuple[int, int]
) -> dict[str, str | int]:
    """The same fraction gives the same person, with the same version of Faker."""
    place = min(int(fraction * len(locales)), len(locales) - 1)
    fake = _faker(locales[place])
    fake.seed_instance(int(fraction * _OTHER_FRACTION))
    first_name, last_name = fake.first_name(), fake.last_name()
    return {
        "name": f"{first_name} {last_name}",
        "first_name": first_name,
        "last_name": last_name,
        "city": fake.city(),
        "country": fake.current_country() if "_" in locales[place] else fake.country(),
        "job": fake.job(),
        "company": fake.company(),
        "age": fake.random_int(*ages),
    }


@cache
def _faker(locale: str) -> Any:
    from faker import Faker

    return Faker(locale)
