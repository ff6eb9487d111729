"""An endpoint whose choices differ in a known way: what a controller should find out."""

from __future__ import annotations

from random import Random

from providers.simulated import SimulatedProvider
from weave_async.records import Request, Response, Usage

TOPICS = ("travel", "cooking", "law", "music", "sports", "banking", "health", "weather")
TONES = ("kind", "formal", "brief", "gruff")
_SYLLABLES = ("ba", "ce", "di", "fo", "gu", "ha", "ke", "li", "mo", "nu", "pa", "re", "si", "to")


class UnevenProvider(SimulatedProvider):
    """Half of what the model ``dull`` says are ten sentences; in the tone ``gruff`` two of three
    answers run on to twice the length; and below a temperature of 0.5 only a tenth of a vocabulary
    is used.
    """

    async def complete(self, request: Request) -> Response:
        rng = Random(request.request_id)
        temperature = request.params.temperature or 1.0
        text = _sentence(rng, 2000 if temperature >= 0.5 else 200)
        if request.model == "dull" and rng.random() < 0.5:
            text = _sentence(Random(rng.randrange(10)), 2000)
        if "gruff" in request.prompt_text and rng.random() < 2 / 3:
            text = f"{text} {_sentence(rng, 2000)}"
        num_tokens = 2 * len(text.split())
        usage = Usage(2 * len(request.prompt_text.split()), num_tokens)
        return Response(text, "stop", "stop", usage=usage, model=request.model)


def _sentence(rng: Random, num_words: int) -> str:
    """Twenty words of a vocabulary of so many."""
    return " ".join(_word(rng.randrange(num_words)) for _ in range(20)) + "."


def _word(number: int) -> str:
    of = Random(number)
    return "".join(of.choices(_SYLLABLES, k=of.randint(2, 4)))
