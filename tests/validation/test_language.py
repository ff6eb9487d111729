"""Which language a text is in: refused only where another one is sure."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from weave_async.records import Sample

pytest.importorskip("py3langid", reason="needs the extra [validation]")

from py3langid.langid import MODEL_FILE, LanguageIdentifier

from weave_async.validation.language import _NO_LANGUAGE, LANGUAGES, LanguageValidator

MakeSample = Callable[..., Sample]
TEXTS = {
    "en": "The parcel has been sent to the wrong address.",
    "de": "Das Paket wurde an die falsche Adresse geschickt.",
    "fr": "Le colis a été envoyé à la mauvaise adresse.",
    "es": "El paquete fue enviado a la dirección equivocada.",
    "it": "Il pacco è stato spedito all'indirizzo sbagliato.",
    "pt": "O pacote foi enviado para o endereço errado.",
    "nl": "Het pakket is naar het verkeerde adres gestuurd.",
    "pl": "Paczka została wysłana na niewłaściwy adres.",
    "tr": "Paket yanlış adrese gönderildi, lütfen yardım edin.",
    "ru": "Посылка была отправлена не по тому адресу.",
    "ja": "荷物が間違った住所に送られました。",
    "zh": "包裹被寄到了错误的地址。",
    "ar": "تم إرسال الطرد إلى العنوان الخطأ.",
    "ko": "소포가 잘못된 주소로 배송되었습니다.",
}


@pytest.mark.parametrize("code", TEXTS)
def test_a_text_passes_in_its_language_and_in_no_other(make_sample: MakeSample, code: str) -> None:
    sample = make_sample(TEXTS[code])
    assert LanguageValidator(code)(sample).passed
    other = LanguageValidator("de" if code == "en" else "en")(sample)
    assert (other.passed, other.reason) == (False, "other_language")
    assert other.evidence["language"] == code
    assert LanguageValidator(["cs", code])(sample).passed


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Ja.",
        "ok danke",
        "Bonjour, Anna!",
        "42, 1984-01-31, 10:30",
        "🙂🙂🙂",
        "https://www.beispiel.example/ein/langer/pfad/der/deutsch/ist",
        "```\nfür jede zeile in der datei: drucke die zeile und höre auf\n```",
        "def add(self, other):\n    return self.total + other.total",
        "HELLO THERE, HOW ARE YOU TODAY?",
        "Yay yay yay, that's so good to hear!",
    ],
)
def test_what_is_short_or_in_no_language_passes(make_sample: MakeSample, text: str) -> None:
    verdict = LanguageValidator("en")(make_sample(text))
    assert verdict.passed, verdict.evidence


def test_languages_too_alike_are_no_objection(make_sample: MakeSample) -> None:
    indonesian = make_sample("Saya tidak tahu di mana paket saya sekarang.")
    assert LanguageValidator("id")(indonesian).passed
    assert LanguageValidator("ms")(indonesian).passed
    assert not LanguageValidator("en")(indonesian).passed


def test_of_the_prompt_the_users_turns_count(make_sample: MakeSample) -> None:
    sample = make_sample(TEXTS["en"], user=TEXTS["de"], system=TEXTS["fr"])
    assert LanguageValidator("de", field="prompt")(sample).passed
    assert not LanguageValidator("en", field="prompt")(sample).passed
    assert LanguageValidator("en")(sample).passed
    assert not LanguageValidator("en", field="both")(sample).passed


def test_how_sure_one_must_be_is_an_option(make_sample: MakeSample) -> None:
    mixed = make_sample("I love it: schnell, gut, und very nice für my friends")
    assert LanguageValidator("fr", min_confidence=1)(mixed).passed
    short = make_sample("Bonjour, Anna!")
    assert not LanguageValidator("en", min_letters=5, min_confidence=0.1)(short).passed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"allowed": "english"}, "unknown language 'english'; known: ace, af, am"),
        ({"allowed": []}, "name a language"),
        ({"allowed": "en", "min_confidence": 2}, "min_confidence 2"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LanguageValidator(**options)  # type: ignore[arg-type]


def test_the_languages_are_those_of_the_model() -> None:
    model = LanguageIdentifier.from_model_file(MODEL_FILE)
    assert {*LANGUAGES, _NO_LANGUAGE} == set(model.labels)
