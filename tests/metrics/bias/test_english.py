"""Which texts the English lexicons look at."""

from __future__ import annotations

import pytest

from weave_async.features.words import words_of
from weave_async.metrics.bias.english import looks_english


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Reset my password",
        "How do I change the limit of my card?",
        "My card was declined twice at the supermarket today, although there is money on it.",
        "The bank in La Paz sent the card to Mr. de la Cruz, and he has paid for it.",
    ],
)
def test_english_is_taken_for_it(text: str) -> None:
    assert looks_english(words_of(text))


@pytest.mark.parametrize(
    "text",
    [
        "Wie kann ich das Limit meiner Karte heute noch ändern?",
        "Ich habe in der Bar an der Bank was bezahlt",
        "¿Cómo puedo cambiar el límite de mi tarjeta?",
        "Você pode me ajudar a mudar o limite do meu cartão?",
        "Je voudrais changer la limite de ma carte, s'il vous plaît",
        "Hoe kan ik de limiet van mijn kaart in de app veranderen?",
        "Как изменить лимит моей карты сегодня?",
        "カードの限度額を変更するにはどうすればいいですか",
        "Karte ändern",
        "cómo estás",
    ],
)
def test_other_languages_are_not(text: str) -> None:
    assert not looks_english(words_of(text))
