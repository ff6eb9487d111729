"""An endpoint whose arms differ in a known way, named in recipes as ``uneven_arms:Name``."""

from __future__ import annotations

import asyncio
from random import Random

from providers.simulated import SimulatedProvider
from weave_async.records import Request, Response, Usage

WORDS = [
    a + b + c for a in ("ka", "lo", "mi", "ru") for b in ("ten", "vas", "pol") for c in "aeiou"
]


class UnevenProvider(SimulatedProvider):
    """The model ``dull`` says the same again and again; asked for the tone ``gruff``, any model
    says one word; else an answer is of words of its own. Answers come in no order.
    """

    async def complete(self, request: Request) -> Response:
        rng = Random(request.request_id)
        await asyncio.sleep(rng.choice([0, 0, 0.001, 0.004]))
        text = " ".join(rng.choices(WORDS, k=12))
        if request.model == "dull":
            text = "The very same words are said by this model again and again, whatever is asked."
        if "gruff" in request.prompt_text:
            text = "No."
        return Response(text, "stop", "stop", usage=Usage(20, 20), model=request.model)
