"""Personal data: found by its form, taken out, and never shown."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave_async.records import Message, Sample
from weave_async.validation.pii import PiiValidator, personal
from weave_async.validation.sensitive import redacted

MakeSample = Callable[..., Sample]
FOUND = [
    ("write to jo.do+x@mail.acme.co.uk today", "email", "jo.do+x@mail.acme.co.uk"),
    ("<jörg@müller.de>", "email", "jörg@müller.de"),
    ("ring +49 170 1234567.", "phone", "+49 170 1234567"),
    ("+44 (0)20 7946 0958", "phone", "+44 (0)20 7946 0958"),
    ("from 0049 30 1234567", "phone", "0049 30 1234567"),
    ("(212) 736-5000 is ours", "phone", "(212) 736-5000"),
    ("at 212-736-5000", "phone", "212-736-5000"),
    ("at 1-800-736-5000", "phone", "1-800-736-5000"),
    ("phone: 030 1234567", "phone", "030 1234567"),
    ("Call me at 0171/2345678!", "phone", "0171/2345678"),
    ("from 172.217.16.142, it says", "ip_address", "172.217.16.142"),
    ("host 2607:f8b0:4005:805::200e", "ip_address", "2607:f8b0:4005:805::200e"),
    ("to DE89 3704 0044 0532 0130 00 today", "iban", "DE89 3704 0044 0532 0130 00"),
    ("GB82WEST12345698765432", "iban", "GB82WEST12345698765432"),
    ("IBAN NO93 8601 1117 947", "iban", "NO93 8601 1117 947"),
    ("card 4111 1111 1111 1111", "credit_card", "4111 1111 1111 1111"),
    ("5555-5555-5555-4444", "credit_card", "5555-5555-5555-4444"),
    ("378282246310005", "credit_card", "378282246310005"),
    ("3782 822463 10005", "credit_card", "3782 822463 10005"),
    ("SSN 123-45-6789", "ssn", "123-45-6789"),
]
ORDINARY = [
    "See you at 12:30:45 on 2024-01-31, or on 31.01.2024.",
    "It costs 1,234,567.89 dollars, or 1 234 567 roubles.",
    "Write to support@example.com or admin@shop.example.",
    "Call 555-0123 or (212) 555-0199 in the film.",
    "Version 1.2.3.4 and Chrome 120.0.6099.109",
    "Listen on 127.0.0.1:8080, 0.0.0.0 or 192.168.178.20.",
    "Section 1.2.3.4 is about std::vector and face::add.",
    "Order 4111111111111112 has a wrong check digit.",
    "DE88 3704 0044 0532 0130 00 has one, too.",
    "ISBN 978-3-16-148410-0 and 0-306-40615-2",
    "UUID 123e4567-e89b-12d3-a456-426614174000",
    "The timestamp 1700000000000 is in milliseconds.",
    "pi is 3.14159265358979323846",
    "MAC 00:1B:44:11:3A:B7, colour #ff00aa",
    "ticket 000-12-3456, and 900-12-3456",
    "Follow me @someone, and pay @ the till.",
    "Between 1990-2000 and 2010-2020, 10 20 30 40 50 60 70 80.",
    "2 + 2 = 4, +5 points, 100000000 stars",
    "The score was 3-2, then 10-12-15.",
    "Model number 2024-555-1234-X",
    "0012345678 is the customer's number.",
    "I call it a day: 1 of 3 is done.",
    "a^2 + b^2 = c^2; f(x) = 12345678901234567890",
    "Take the A4 for 120 km, exit 52.",
    "The IP is 999.999.999.999",
    "phone 7 of 10",
]


@pytest.mark.parametrize(("text", "kind", "value"), FOUND, ids=[text for text, _, _ in FOUND])
def test_it_is_found_where_it_stands(text: str, kind: str, value: str) -> None:
    assert (kind, value) in [(each.kind, text[each.start : each.end]) for each in personal(text)]


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_passes(make_sample: MakeSample, text: str) -> None:
    verdict = PiiValidator()(make_sample(text))
    assert verdict.passed, verdict.evidence


@pytest.mark.parametrize(("text", "kind", "value"), FOUND, ids=[text for text, _, _ in FOUND])
def test_evidence_says_kind_and_place_and_never_the_thing(
    make_sample: MakeSample, text: str, kind: str, value: str
) -> None:
    for action in ("reject", "redact"):
        verdict = PiiValidator(action=action)(make_sample(text))  # type: ignore[arg-type]
        assert verdict.passed == (action == "redact")
        first = verdict.evidence["found"][0]
        assert first == {"kind": kind, "count": 1, "message": 1, "at": [text.index(value)]}
        assert value not in repr(verdict)


def test_redaction_puts_a_placeholder_into_the_chosen_field(make_sample: MakeSample) -> None:
    sample = make_sample("Mail bo@acme.com!", user="I am jo@acme.com.", system="Be kind.")
    asked, answered = "I am [EMAIL].", "Mail [EMAIL]!"
    for field, contents in (
        ("prompt", (asked, "Mail bo@acme.com!")),
        ("completion", ("I am jo@acme.com.", answered)),
        ("both", (asked, answered)),
    ):
        verdict = PiiValidator("redact", field=field)(sample)  # type: ignore[arg-type]
        assert (verdict.passed, verdict.reason) == (True, "redacted")
        assert verdict.messages == (
            Message("system", "Be kind."),
            Message("user", contents[0]),
            Message("assistant", contents[1]),
        )


def test_a_text_without_findings_is_left_alone(make_sample: MakeSample) -> None:
    verdict = PiiValidator("redact")(make_sample("Nothing here."))
    assert (verdict.passed, verdict.reason, verdict.messages) == (True, "", None)


def test_only_the_kinds_asked_for_count(make_sample: MakeSample) -> None:
    sample = make_sample("jo@acme.com, 123-45-6789")
    assert PiiValidator(kinds=["iban"])(sample).passed
    verdict = PiiValidator("redact", kinds=["ssn"])(sample)
    assert verdict.messages is not None
    assert verdict.messages[-1].content == "jo@acme.com, [SSN]"


def test_several_of_a_kind_are_counted(make_sample: MakeSample) -> None:
    verdict = PiiValidator()(make_sample("a@acme.com b@acme.com c@acme.com"))
    assert verdict.evidence["found"] == [
        {"kind": "email", "count": 3, "message": 1, "at": [0, 11, 22]}
    ]


PIECES = st.lists(
    st.one_of(
        st.sampled_from([value for _, _, value in FOUND]),
        st.sampled_from(["", " ", "-", ".", "1", "+", "x", ", call ", "\n", "(", "@", "00"]),
        st.text(max_size=5),
    ),
    max_size=12,
).map("".join)


@given(PIECES)
def test_a_redacted_text_has_no_findings_and_stays_as_it_is(text: str) -> None:
    clean, is_clean = redacted(text, personal)
    if is_clean:
        assert not list(personal(clean))
        assert redacted(clean, personal) == (clean, True)


@given(PIECES)
def test_findings_lie_within_the_text(text: str) -> None:
    for finding in personal(text):
        assert 0 <= finding.start < finding.end <= len(text)
