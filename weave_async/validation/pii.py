"""Personal data: what identifies a person by its form alone. Names and streets do not."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address, IPv6Network
from typing import ClassVar, Literal, get_args

from weave_async.records import Sample, Verdict
from weave_async.validation.iban import ibans
from weave_async.validation.sensitive import Action, Finding, judged
from weave_async.validation.turns import Field

Kind = Literal["email", "phone", "ip_address", "iban", "credit_card", "ssn"]

_EMAIL = re.compile(
    r"(?<![\w.+%-])[\w.+%-]{1,64}@(?P<host>(?:[^\W_](?:[\w-]{0,62})\.){1,8}[^\W\d_]{2,24})(?![\w-])"
)
_RESERVED_HOST = re.compile(  # RFC 2606: nobody's, kept for examples
    r"(?:^|\.)(?:example\.(?:com|net|org)|example|test|invalid|localhost)$", re.IGNORECASE
)
_INTERNATIONAL = re.compile(
    r"(?<![\w+])(?:\+[1-9]|(?<!\d[ -])00[1-9]\d{0,2}[ ./-])(?:[ ./()\u00a0-]{0,2}+\d){6,14}(?!\w)"
)
_NORTH_AMERICAN = re.compile(
    r"(?<![\w.+-])(?:1[ .-])?(?:\([2-9]\d\d\) ?|[2-9]\d\d[-. ])"
    r"(?P<local>[2-9]\d\d[-.]\d{4})(?![\w-])"
)
_FICTITIOUS = re.compile(r"555[-.]01\d\d")  # 555-0100 to 555-0199 are kept for fiction
_CUED = re.compile(  # digits alone may be anything; after such a word they are a number to call
    r"\b(?:phone|tel|telephone|telefon|mobile|cell|handy|fax|whatsapp"
    r"|(?:call|ring|text)(?: me| us)?)"
    r"(?: number| no| nr)?(?: is| at| on| under)?[.:]{0,2} {0,2}"
    r"(?P<number>\(?\d(?:[ ./()-]{0,2}+\d){6,14})(?!\w)",
    re.IGNORECASE,
)
_IPV4 = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?!\.?\w)")
_IPV6 = re.compile(r"(?<![\w:.])[0-9A-Fa-f]{4}:[0-9A-Fa-f:]{3,34}(?![\w:])")
_GLOBAL_UNICAST = IPv6Network("2000::/3")  # all that is given out: code is full of ``face::add``
_CARD = re.compile(
    r"(?<![\w.,-])(?:\d{4}([ -])\d{4}\1\d{4}\1\d{4}|\d{4}([ -])\d{6}\2\d{4,5}|\d{13,19})"
    r"(?![\w-]|[.,]\d)"
)
_ISSUED = re.compile(  # how the numbers of each issuer begin, and how long they are
    r"4\d{12}(?:\d{3}){0,2}"  # Visa
    r"|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}"  # Mastercard
    r"|3[47]\d{13}|3(?:0[0-5]|[68]\d)\d{11}|35\d{14}"  # American Express, Diners Club, JCB
    r"|6(?:011|5\d\d|4[4-9]\d)\d{12}|62\d{14,17}"  # Discover, UnionPay
)
_SSN = re.compile(r"(?<![\w-])(?!000|666|9)\d{3}-(?!00)\d\d-(?!0000)\d{4}(?![\w-])")


@dataclass(frozen=True, slots=True)
class PiiValidator:
    """Refuses, or blacks out, data that points to a person.

    ``action`` ``redact`` puts ``[EMAIL]`` and the like in its place and passes the sample;
    ``reject`` refuses it: the row then stands, whole, among the run's rejected ones. ``kinds`` are
    those looked for: ``email``, ``phone`` (international, North American, or after a word such as
    "phone"), ``ip_address`` (public ones), ``iban`` and ``credit_card`` (whose check digits are
    right), ``ssn`` (of the US). Addresses kept for examples (``@example.com``, 555-01xx) are
    nobody's. Names of people and streets are not looked for.
    """

    action: Action = "reject"
    field: Field = "both"
    kinds: list[Kind] = dataclasses.field(default_factory=lambda: list(get_args(Kind)))
    is_light: ClassVar[bool] = True

    def __call__(self, sample: Sample) -> Verdict:
        return judged(sample, self.field, self.action, self._find)

    def _find(self, text: str) -> Iterator[Finding]:
        return personal(text, self.kinds)


def personal(text: str, kinds: Collection[Kind] = get_args(Kind)) -> Iterator[Finding]:
    """Every stretch of personal data, in any order; stretches may overlap."""
    has_digits = bool(_SOME_DIGITS.search(text))
    for kind in kinds:
        if "@" in text if kind == "email" else has_digits:
            for start, end in _PLACES[kind](text):
                yield Finding(kind, start, end)


_SOME_DIGITS = re.compile(r"\d\D{0,3}\d\D{0,3}\d|[0-9A-Fa-f]{4}:")
"""All but an email address have as many, and most texts have none: this saves five searches."""


def _emails(text: str) -> Iterator[tuple[int, int]]:
    for match in _EMAIL.finditer(text):
        if not _RESERVED_HOST.search(match["host"]):
            yield match.span()


def _phones(text: str) -> Iterator[tuple[int, int]]:
    yield from (match.span() for match in _INTERNATIONAL.finditer(text))
    for match in _NORTH_AMERICAN.finditer(text):
        if not _FICTITIOUS.fullmatch(match["local"]):
            yield match.span()
    for match in _CUED.finditer(text):
        if not _FICTITIOUS.search(match["number"]):
            yield match.span("number")


def _ip_addresses(text: str) -> Iterator[tuple[int, int]]:
    for match in _IPV4.finditer(text):
        octets = match.group().split(".")
        if sum(len(octet) > 1 for octet in octets) < 2:
            continue  # a version or a chapter: 1.2.3.4
        try:
            is_public = IPv4Address(match.group()).is_global
        except AddressValueError:
            continue
        if is_public:
            yield match.span()
    for match in _IPV6.finditer(text):
        try:
            address = IPv6Address(match.group())
        except AddressValueError:
            continue
        if address in _GLOBAL_UNICAST and address.is_global:
            yield match.span()


def _cards(text: str) -> Iterator[tuple[int, int]]:
    return (match.span() for match in _CARD.finditer(text) if _is_card(match.group()))


def _is_card(text: str) -> bool:
    """Whether a number is as some issuer's are, and its check digit (Luhn) is right."""
    plain = text.replace(" ", "").replace("-", "")
    digits = [int(char) for char in plain]
    doubled = (digit * 2 - 9 * (digit > 4) for digit in digits[-2::-2])
    is_valid = (sum(doubled) + sum(digits[::-2])) % 10 == 0
    return is_valid and bool(_ISSUED.fullmatch(plain))


def _ssns(text: str) -> Iterator[tuple[int, int]]:
    return (match.span() for match in _SSN.finditer(text))


_PLACES: dict[Kind, Callable[[str], Iterator[tuple[int, int]]]] = {
    "email": _emails,
    "phone": _phones,
    "ip_address": _ip_addresses,
    "iban": ibans,
    "credit_card": _cards,
    "ssn": _ssns,
}
