"""Answers in which the model refuses; being sorry is none."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from weave_async.records import Sample
from weave_async.validation.refusal import _CUES, _PHRASES, WINDOW_CHARS, RefusalValidator

MakeSample = Callable[..., Sample]
REFUSALS = [
    "I'm sorry, but I can't help with that.",
    "I’m sorry, but I can’t assist with that request.",
    "I cannot fulfill this request.",
    "I apologize, but I am unable to provide medical advice.",
    "Sorry, I can't comply.",
    "I'm sorry, I can't do that.",
    "I am not able to assist you with that.",
    "I won't help with creating malware.",
    "As an AI language model, I do not have feelings.",
    "As a large language model I have no opinion.",
    "Well, I am just an AI assistant, so no.",
    "That goes against my programming.",
    "I must respectfully decline to answer.",
    "I don't have personal opinions.",
    "As of my last update, there were nine.",
    "I cannot generate explicit content.",
    "I can't engage in this type of conversation.",
    "Es tut mir leid, aber ich kann Ihnen dabei nicht helfen.",
    "Als KI-Sprachmodell habe ich keine Meinung.",
    "Je suis désolé, mais je ne peux pas répondre à cette demande.",
    "En tant qu'IA, je n'ai pas d'avis.",
    "Lo siento, pero no puedo ayudarte con eso.",
    "Como modelo de lenguaje, no tengo opiniones.",
    "Mi dispiace, ma non posso aiutarti con questo.",
    "Desculpe, mas não posso fornecer essa informação.",
]
ORDINARY = [
    "I'm sorry to hear that your parcel is late. Here is what we do next.",
    "Sorry, I can't come tonight: my sister is in town.",
    "I'm sorry, but I can't find my keys anywhere.",
    "Sorry for the wait! Your refund is on its way.",
    "I can't help laughing when I think of it.",
    "I can't help but wonder.",
    "I cannot recommend this book enough.",
    "She said she was sorry, and that was that.",
    "I am unable to log in since the update; what can I do?",
    "We cannot provide refunds after thirty days, but you can exchange it.",
    "An AI language model predicts the next token.",
    "Language models are trained on text.",
    "As an engineer, I would choose the second.",
    "Unfortunately, the museum is closed on Mondays.",
    "I must decline the noun, not the verb.",
    "It goes against the grain.",
    "You can't give that to a dog.",
    "I will not write the whole proof; here is its idea.",
    "I don't have the time to read it.",
    "I can't answer the phone while I drive.",
    "Als Kind habe ich das gern gegessen.",
    "No puedo dormir sin música.",
    "Je ne peux pas venir demain.",
    "Ich kann das Fenster nicht öffnen.",
]


@pytest.mark.parametrize("text", REFUSALS)
def test_a_refusal_is_refused(make_sample: MakeSample, text: str) -> None:
    verdict = RefusalValidator()(make_sample(text))
    assert (verdict.passed, verdict.reason) == (False, "refusal")
    assert verdict.evidence["phrase"] in text.replace("’", "'")


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_passes(make_sample: MakeSample, text: str) -> None:
    verdict = RefusalValidator()(make_sample(text))
    assert verdict.passed, verdict.evidence


def test_only_the_start_of_the_answer_counts(make_sample: MakeSample) -> None:
    story = "The robot looked up. " * (WINDOW_CHARS // 20)
    assert RefusalValidator()(make_sample(story + REFUSALS[0])).passed
    assert RefusalValidator()(make_sample("Red.", user=REFUSALS[0])).passed


def test_languages_and_phrases_are_options(make_sample: MakeSample) -> None:
    german = make_sample("Als KI-Sprachmodell habe ich keine Meinung.")
    assert RefusalValidator(languages=["en"])(german).passed
    rule = RefusalValidator(phrases=["no comment (sorry)"])
    assert not rule(make_sample("No comment (sorry).")).passed
    with pytest.raises(ValueError, match=r"no phrases for \['xx'\]"):
        RefusalValidator(languages=["en", "xx"])


def test_each_phrase_has_a_cue_and_each_match_contains_one() -> None:
    assert set(_CUES) == {f"{lang} {kind}" for lang, kinds in _PHRASES.items() for kind in kinds}
    rule = RefusalValidator()
    for kind, cues, pattern in rule._kinds:
        for text in REFUSALS:
            if match := pattern.search(text.replace("’", "'")):
                lowered = text.replace("’", "'").lower()
                assert any(cue in lowered for cue in cues), (kind, match)
