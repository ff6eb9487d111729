"""Names of people and places by locale, from Faker (extra ``noise``), and what each stands for."""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, NamedTuple

from weave_async.features.name_words import COMMON_WORDS

Kind = Literal["male", "female", "any", "last", "city"]

_LOCALE = re.compile(r"[a-z]{2,3}_[A-Z]{2}")
_MIN_NAMES = 20
"""Fewer names than these are a stub of a list, and replacing with them would show."""

_CITIES = {  # of languages for which Faker makes cities up
    "en": (
        "Aberdeen|Amsterdam|Athens|Atlanta|Auckland|Austin|Baltimore|Barcelona|"
        "Belfast|Berlin|Boston|Brighton|Brisbane|Bristol|Brussels|Cairo|Calgary|"
        "Cambridge|Cardiff|Chicago|Cincinnati|Cleveland|Copenhagen|Dallas|Delhi|"
        "Denver|Detroit|Dublin|Edinburgh|Frankfurt|Geneva|Glasgow|Helsinki|Hong Kong|"
        "Houston|Indianapolis|Istanbul|Kansas City|Kyoto|Las Vegas|Leeds|Lisbon|"
        "Liverpool|London|Los Angeles|Madrid|Manchester|Melbourne|Memphis|Miami|"
        "Milan|Milwaukee|Minneapolis|Montreal|Moscow|Mumbai|Munich|Nairobi|Nashville|"
        "New Orleans|New York|Newcastle|Oslo|Oxford|Paris|Perth|Philadelphia|Phoenix|"
        "Pittsburgh|Portland|Prague|Rome|Sacramento|San Diego|San Francisco|San Jose|"
        "Seattle|Sheffield|Singapore|Stockholm|Sydney|Tampa|Tokyo|Toronto|Vancouver|"
        "Venice|Vienna|Warsaw|Zurich"
    ),
    "es": (
        "Barcelona|Bilbao|Bogotá|Buenos Aires|Caracas|Córdoba|Granada|Guadalajara|"
        "La Habana|La Paz|Lima|Madrid|Málaga|Medellín|México|Montevideo|Monterrey|"
        "Murcia|Palma|Pamplona|Quito|Rosario|Salamanca|San Sebastián|Sevilla|Toledo|"
        "Valencia|Valladolid|Vigo|Zaragoza"
    ),
    "fr": (
        "Amiens|Angers|Avignon|Besançon|Bordeaux|Brest|Bruxelles|Caen|Dijon|Genève|"
        "Grenoble|Le Havre|Le Mans|Lille|Limoges|Lyon|Marseille|Metz|Montpellier|"
        "Montréal|Nancy|Nantes|Nice|Orléans|Paris|Perpignan|Reims|Rennes|Rouen|"
        "Strasbourg|Toulon|Toulouse|Tours"
    ),
    "pt": (
        "Belém|Belo Horizonte|Braga|Brasília|Coimbra|Curitiba|Évora|Faro|"
        "Florianópolis|Fortaleza|Goiânia|Lisboa|Maceió|Manaus|Natal|Porto|"
        "Porto Alegre|Recife|Rio de Janeiro|Salvador|São Paulo|Vitória"
    ),
}


class Entity(NamedTuple):
    """``place`` counts the names of one kind."""

    kind: Kind
    place: int


@dataclass(frozen=True, slots=True)
class NameLists:
    """``entities`` finds a name's place; ``by_kind`` are the names that may take it, in order."""

    entities: Mapping[str, Entity]
    by_kind: Mapping[Kind, Sequence[str]]
    long_cities: Mapping[str, Sequence[str]]
    """By their first word, those of several words, longest first."""
    capitalises_nouns: bool = False
    """As in German, where ``Bruder`` and ``Koch`` are last names as well as any noun."""


def check_locale(locale: str) -> None:
    """Raises ``ValueError`` if there are no names for this locale, or nothing to get them from."""
    if importlib.util.find_spec("faker") is None:
        raise ValueError("names come from Faker: pip install 'weave-async[noise]'")
    if not _LOCALE.fullmatch(locale) or not _has_names(locale):
        raise ValueError("locale must be one of Faker's, such as en_US, en_GB, de_DE, fr_FR, es_ES")


def _has_names(locale: str) -> bool:
    return importlib.util.find_spec(f"faker.providers.person.{locale}") is not None


@cache
def names_of(locale: str) -> NameLists:
    """Raises ``ValueError`` for a locale whose script has no capitals to tell names by."""
    person = importlib.import_module(f"faker.providers.person.{locale}").Provider
    male = _names(person, "first_names_male", "first_names")
    female = _names(person, "first_names_female", "first_names")
    both = male.keys() & female.keys()
    last = _names(person, "last_names", "last_names_male")
    by_kind: dict[Kind, Sequence[str]] = {}
    entities: dict[str, Entity] = {}
    lists: dict[Kind, Iterable[str]] = {
        "male": [name for name in male if name not in both],
        "female": [name for name in female if name not in both],
        "any": [name for name in male if name in both],
        "city": _cities(locale),
        "last": last,
    }
    for kind, names in lists.items():
        new = [name for name in names if name not in entities and name[:1].isupper()]
        plain = [name for name in new if name.lower() not in COMMON_WORDS]
        if len(plain) < (_MIN_NAMES if kind != "any" else 2):
            continue
        by_kind[kind] = plain
        words = [name for name in new if name.lower() in COMMON_WORDS]
        # Those that are words as well take the last places too, whose names are rare: at the end
        # of the list all of them would become what its first, and most frequent, names become.
        places = [*range(len(plain)), *range(len(plain) - len(words), len(plain))]
        entities |= {
            name: Entity(kind, place) for place, name in zip(places, (*plain, *words), strict=True)
        }
    if not entities:
        raise ValueError(f"names are told by their capitals: {locale} has none")
    long_cities: dict[str, list[str]] = {}
    for name in sorted(by_kind.get("city", ()), key=len, reverse=True):
        if " " in name:
            long_cities.setdefault(name.split()[0], []).append(name)
    return NameLists(entities, by_kind, long_cities, locale.startswith("de_"))


def _names(provider: type, *attributes: str) -> dict[str, None]:
    """In Faker's order, as it is the same in each run; single words only."""
    for attribute in attributes:
        if names := getattr(provider, attribute, None):
            return dict.fromkeys(name for name in names if name.isalpha())
    return {}


def _cities(locale: str) -> Iterable[str]:
    address = f"faker.providers.address.{locale}"
    if importlib.util.find_spec(address) is not None:
        provider = importlib.import_module(address).Provider
        if cities := getattr(provider, "cities", None):
            return dict.fromkeys(city for city in cities if city.replace(" ", "").isalpha())
    own = _CITIES.get(locale.partition("_")[0])
    return own.split("|") if own else ()
