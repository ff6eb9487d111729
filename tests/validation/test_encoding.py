"""Damaged text, and text that hides something."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave_async.records import Sample
from weave_async.validation.encoding import EncodingValidator

MakeSample = Callable[..., Sample]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a caf\ufffd", "replacement"),
        ("a\x00b", "control"),
        ("a\x1b[31mred", "control"),
        ("a\x92s", "control"),
        ("icon \ue001", "private_use"),
        ("half \ud83d", "surrogate"),
        ("pass\u200bword", "zero_width"),
        ("pass\u200dword", "zero_width"),
        ("a\ufeffb", "zero_width"),
        ("see \U000e0041\U000e0042", "zero_width"),
        ("user\u202etxt.exe", "bidi"),
        ("if \u2067admin", "bidi"),
        *(
            (f"{word} x".encode().decode("cp1252", "replace"), "mojibake")
            for word in ("café", "für")
        ),
        ("â€œquotedâ€", "mojibake"),
        ("itâ€™s", "mojibake"),
        ("costs â‚¬5", "mojibake"),
        ("costs Â£5 or Â°", "mojibake"),
        ("ðŸ˜€", "mojibake"),
        ("ÐŸÑ€Ð¸Ð²ÐµÑ‚", "mojibake"),
        ("zÅ‚oty", "mojibake"),
        ("ä½ å¥½".replace(" ", "\xa0"), "mojibake"),
        ("ï»¿start", "mojibake"),
    ],
)
def test_damage_is_refused(make_sample: MakeSample, text: str, reason: str) -> None:
    verdict = EncodingValidator()(make_sample(text))
    assert (verdict.passed, verdict.reason) == (False, reason)
    assert str(verdict.evidence).isascii()


@pytest.mark.parametrize(
    "text",
    [
        "Plain text,\twith\r\nbreaks.",
        "Ça va? Ñandú, Übergröße, Þórr, naïve, œuvre, Ærø.",
        "CAFÉ… «DÉJÀ» „TÜ“ MANHÃ” IRMÃ’ NÃO À–B",
        "São Paulo, Âncora, Ângela, ÂNGULO",
        "Привет, мир! Γειά σου. 你好。こんにちは。안녕.",
        "مرحبا שלום नमस्ते क्‍ष می‌خواهم",
        "👩‍👩‍👧 👍🏽 🏳️‍🌈 ❤️ ☺",
        "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f flag",
        "“quotes” – dashes — €5 ™ © ½ 5° ± µ",
        "\ufeffmark at the start",
        "\u202bשלום\u202c and \u2067שלום\u2069",
        "soft\u00adhyphen, no\u00a0break",
        "ŁÓDŹ, Żółć, Å, Ålesund, Ø, Đà Nẵng",
        "É, À, Ô: “É” is É.",
        "e\u0301 combined",
    ],
)
def test_every_script_passes(make_sample: MakeSample, text: str) -> None:
    verdict = EncodingValidator()(make_sample(text, user=text))
    assert verdict.passed, (verdict.reason, verdict.evidence)


def test_evidence_shows_where_and_makes_it_visible(make_sample: MakeSample) -> None:
    verdict = EncodingValidator()(make_sample("ab\u200bcd\u200b"))
    assert verdict.evidence == {
        "message": 1,
        "at": [2, 5],
        "count": 2,
        "around": "ab\\u200bcd\\u200b",
    }


def test_fields_and_checks_are_options(make_sample: MakeSample) -> None:
    sample = make_sample("fine", user="a\x00b")
    assert not EncodingValidator()(sample).passed
    assert EncodingValidator(field="completion")(sample).passed
    assert EncodingValidator(checks=["mojibake"])(sample).passed
    assert EncodingValidator(checks=[])(sample).passed


@given(st.text(alphabet=st.characters(min_codepoint=0xA1, max_codepoint=0x24F), min_size=1))
def test_latin_letters_read_as_windows_1252_are_found(text: str) -> None:
    if not any("\xe0" <= letter <= "\xff" and letter.isalpha() for letter in text):
        return
    damaged = f"a{text}b".encode().decode("latin-1")
    rule = EncodingValidator(checks=["control", "mojibake"])
    assert not rule(_sample_of(damaged)).passed


def _sample_of(text: str) -> Sample:
    from weave_async.records import Message, Prompt, Request, SamplingParams

    messages = (Message("assistant", text),)
    request = Request("r", "m", messages, SamplingParams())
    return Sample(0, Prompt("0", 0, (), {}, "rows:1"), request, "e", 0, messages)
