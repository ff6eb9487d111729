"""Answers that are none: the model refuses, or speaks of itself as a model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from weave_async.records import ACCEPTED, Sample, Verdict

WINDOW_CHARS = 240
"""A refusal opens an answer. Further on, the same words are mostly quoted or told."""

# What an assistant is asked for: "I can't come tonight" and "I can't find it" are no refusals.
_SERVE = (
    r"(?:help|assist|support)(?: you)?(?: with (?:that|this|your|the|any|such|creating|generating"
    r"|writing|making)\b| in\b|[.!]|$)"
    r"|(?:fulfil?l|comply|engage in|participate in|complete|answer|respond to|process|accommodate)"
    r"(?: with)? (?:this|that|your|such|the|these) (?:request|question|prompt|task|conversation"
    r"|instruction|query|type|kind|activit)"
    r"|comply\b"
    r"|(?:provide|offer|give) (?:you )?(?:with )?(?:any |specific )?(?:information|instructions"
    r"|advice|guidance|assistance|a response|an answer|medical|legal|financial)\b"
    r"|(?:generate|create|write|produce|share) (?:such|content|(?:any )?(?:explicit|harmful)"
    r"|(?:that|this) (?:content|kind|type)|material)\b"
    r"|(?:discuss|do) (?:that|this) (?:topic|request|task)\b"
    r"|(?:promote|condone|facilitate)\b"
)
_CANNOT = (
    r"(?:can(?:no|')t|can not|won't|will not|am (?:not able|unable) to|'m (?:not able|unable) to"
    r"|(?:am|'m) not (?:allowed|permitted|programmed|designed) to"
    r"|(?:do not|don't) feel comfortable)"
)
_PHRASES: Mapping[str, Mapping[str, str]] = {
    "en": {
        "cannot": rf"\bI ?{_CANNOT} (?:\w+ly |to )?(?:{_SERVE})",
        "as_a_model": r"\b(?:as|being|I'm(?: just| only)?|I am(?: just| only)?) an? "
        r"(?:AI(?: language)? (?:model|assistant)|AI,|(?:large )?language model"
        r"|artificial intelligence(?: language)? (?:model|assistant)|AI developed by)",
        "policy": r"\b(?:goes|is|be) against (?:my|OpenAI's) "
        r"(?:programming|guidelines|content polic|use[- ]case polic|policies)",
        "decline": r"\bI (?:must|have to|need to|will have to) (?:respectfully |politely )?"
        r"(?:decline|refuse) (?:to (?:answer|help|assist|provide|write|create|generate)"
        r"|this|that|your)\b",
        "sorry": rf"\A(?:I'm|I am) (?:really |very |so )?sorry,? (?:but )?I ?{_CANNOT} "
        r"(?:do that|help|assist|comply)\b(?! (?:but|it|myself|thinking|feeling|wonder))",
        "knowledge": r"\b(?:my knowledge cut-?off|as of my last (?:knowledge )?update"
        r"|I (?:don't|do not) have (?:real-time (?:access|data|information)"
        r"|personal (?:opinions|beliefs|experiences)|access to (?:real-time|current data)))",
    },
    "de": {
        "cannot": r"\bich kann (?:(?:Ihnen|dir|dabei|hierbei|damit|leider|diese[rn]?|bei"
        r"|Anfrage)\W+){1,5}nicht (?:helfen|weiterhelfen|beantworten|erfüllen|nachkommen)",
        "as_a_model": r"\bals (?:ein )?(?:KI|KI-(?:Sprach)?modell|KI-Assistent(?:in)?"
        r"|(?:großes )?Sprachmodell)\b",
    },
    "fr": {
        "cannot": r"\bje ne (?:peux|suis) (?:malheureusement )?pas (?:(?:en mesure|capable) de )?"
        r"(?:vous aider|t'aider|répondre à (?:cette|votre)|satisfaire (?:cette|votre)"
        r"|fournir (?:ce|cette|d'))",
        "as_a_model": r"\ben tant (?:qu'|que )(?:IA|intelligence artificielle|modèle de lang"
        r"|assistant (?:IA|virtuel))",
    },
    "es": {
        "cannot": r"\bno puedo (?:ayudar(?:te|le|los)? (?:con|en)|responder a (?:esa|esta)"
        r"|proporcionar (?:esa|esta|información)"
        r"|cumplir (?:con )?(?:esa|esta) (?:solicitud|petición))",
        "as_a_model": r"\bcomo (?:una? )?(?:IA|inteligencia artificial|modelo de lenguaje"
        r"|asistente (?:de IA|virtual))\b",
    },
    "it": {
        "cannot": r"\bnon posso (?:aiutar(?:ti|la|vi) (?:con|in)|rispondere a quest"
        r"|fornire (?:questo|queste|informazioni)|soddisfare (?:questa|la tua) richiesta)",
        "as_a_model": r"\b(?:come|in quanto) (?:IA|intelligenza artificiale"
        r"|modello (?:linguistico|di linguaggio)|assistente (?:IA|virtuale))\b",
    },
    "pt": {
        "cannot": r"\bnão posso (?:(?:te |lhe )?ajudar com (?:isso|ess|est)"
        r"|fornecer (?:essa|informa)|atender a (?:essa|esse|est))",
        "as_a_model": r"\bcomo (?:uma? )?(?:IA|inteligência artificial|modelo de linguagem"
        r"|assistente (?:de IA|virtual))\b",
    },
}


_UNABLE = ("not able", "unable", "allowed", "permitted", "programmed", "designed", "comfortable")
_CUES: Mapping[str, tuple[str, ...]] = {
    "en cannot": ("can't", "cannot", "can not", "won't", "will not", *_UNABLE),
    "en as_a_model": (" ai", " language model", " large language", " artificial"),
    "en policy": (" against ",),
    "en decline": ("decline", "refuse"),
    "en sorry": ("sorry",),
    "en knowledge": ("knowledge", " my last ", " have "),
    "de cannot": ("ich kann ",),
    "de as_a_model": ("als ",),
    "fr cannot": ("je ne ",),
    "fr as_a_model": ("en tant qu",),
    "es cannot": ("no puedo ",),
    "es as_a_model": ("como ",),
    "it cannot": ("non posso ",),
    "it as_a_model": ("come ", "in quanto "),
    "pt cannot": ("não posso ",),
    "pt as_a_model": ("como ",),
}
"""What stands in all that a phrase may match, in small letters: ten times as fast to look for."""


@dataclass(frozen=True, slots=True)
class RefusalValidator:
    """Refuses answers in which the assistant refuses, or explains that it is a language model.

    Phrases count near the start of an answer only, and only where they turn down a request: being
    sorry is no refusal. ``languages`` are those whose phrases are looked for (``en``, ``de``,
    ``fr``, ``es``, ``it``, ``pt``). ``phrases`` are further ones, found near the start in any case.
    """

    languages: list[str] = field(default_factory=lambda: list(_PHRASES))
    phrases: list[str] = field(default_factory=list)
    is_light: ClassVar[bool] = True
    _kinds: list[tuple[str, tuple[str, ...], re.Pattern[str]]] = field(init=False, repr=False)
    """Each with its cues; without any, its pattern is always searched for."""

    def __post_init__(self) -> None:
        if unknown := [each for each in self.languages if each not in _PHRASES]:
            raise ValueError(f"no phrases for {unknown}; there are some for {list(_PHRASES)}")
        kinds = []
        for language in self.languages:
            for kind, phrase in _PHRASES[language].items():
                compiled = re.compile(phrase, re.IGNORECASE)
                kinds.append((kind, _CUES[f"{language} {kind}"], compiled))
        if own := [re.escape(phrase) for phrase in self.phrases if phrase]:
            kinds.append(("phrase", (), re.compile("|".join(own), re.IGNORECASE)))
        object.__setattr__(self, "_kinds", kinds)

    def __call__(self, sample: Sample) -> Verdict:
        opening = sample.completion[:WINDOW_CHARS].replace("’", "'")
        lowered = opening.lower()
        for kind, cues, pattern in self._kinds:
            if cues and not any(cue in lowered for cue in cues):
                continue
            if match := pattern.search(opening):
                evidence = {"kind": kind, "phrase": match.group(), "at": match.start()}
                return Verdict(False, "refusal", evidence)
        return ACCEPTED
