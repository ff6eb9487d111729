"""Answers that must be XML: well-formed, without entities that grow or reach out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from weave_async.records import Sample
from weave_async.validation.xml import MAX_CHARS, XmlValidator

MakeSample = Callable[..., Sample]
BILLION_LAUGHS = (
    '<!DOCTYPE lolz [<!ENTITY l0 "lol">'
    + "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    + "]><lolz>&l9;</lolz>"
)


@pytest.mark.parametrize(
    ("completion", "reason"),
    [
        ("<a><b c='1'/>&amp;&#228;</a>", ""),
        ("Here:\n```xml\n<a/>\n```", ""),
        ('<?xml version="1.0" encoding="latin-1"?>\n<a>ü</a>', ""),
        ('<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN" "x.dtd"><html/>', ""),
        ("<a>" * 100_000 + "</a>" * 100_000, ""),
        ("<a><b></a></b>", "not_well_formed"),
        ("<a b='1' b='2'/>", "not_well_formed"),
        ("<a/><b/>", "not_well_formed"),
        ("<a>1 < 2</a>", "not_well_formed"),
        ("no markup", "not_well_formed"),
        ("", "not_well_formed"),
        ("<a>\ud800</a>", "not_well_formed"),
        ("<a>" * 100_000, "not_well_formed"),
        ("```xml\n<a>", "unclosed_fence"),
        ("<a>" + "x" * MAX_CHARS + "</a>", "too_large"),
        (BILLION_LAUGHS, "declares_entity"),
        ('<!DOCTYPE a [<!ENTITY % x SYSTEM "file:///etc/passwd">%x;]><a/>', "declares_entity"),
    ],
)
def test_an_answer_is_well_formed(make_sample: MakeSample, completion: str, reason: str) -> None:
    verdict = XmlValidator()(make_sample(completion))
    assert (verdict.passed, verdict.reason) == (not reason, reason)


def test_nothing_outside_is_read(make_sample: MakeSample) -> None:
    Path("outside.dtd").write_text("<!ELEMENT a (#PCDATA)> <a broken")
    address = Path("outside.dtd").absolute().as_uri()
    assert XmlValidator()(make_sample(f'<!DOCTYPE a SYSTEM "{address}"><a/>')).passed


def test_root_and_elements_can_be_asked_for(make_sample: MakeSample) -> None:
    sample = make_sample("<a><b/></a>")
    assert XmlValidator(root="a", elements=["b"])(sample).passed
    assert XmlValidator(root="b")(sample).evidence == {"root": "a", "expected": "b"}
    assert XmlValidator(elements=["b", "c"])(sample).evidence == {"missing": ["c"]}


def test_a_fragment_may_have_text_around_its_elements(make_sample: MakeSample) -> None:
    rule = XmlValidator(fragment=True, elements=["think", "answer"])
    assert rule(make_sample("<think>x</think> so <answer>y</answer>")).passed
    assert rule(make_sample("just text")).reason == "no_element"
    verdict = rule(make_sample("<think>x</think>\n<answer>"))
    assert (verdict.reason, verdict.evidence["line"]) == ("not_well_formed", 2)
    assert not rule(make_sample("a</weave-async-fragment><weave-async-fragment>")).passed


def test_a_fragment_has_no_root() -> None:
    with pytest.raises(ValueError, match="'a'"):
        XmlValidator(root="a", fragment=True)


@given(st.text(st.sampled_from("<>/!?[]&;'\"= ab\n`-\ud800é\0"), max_size=100), st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_answer_raises(make_sample: MakeSample, completion: str, fragment: bool) -> None:
    XmlValidator(fragment=fragment)(make_sample(completion))
