"""Several completions of one prompt: in one request, where the endpoint takes ``n``.

The samples of a group differ in their draw alone. One request for all of them goes out under the
name of the first; each of the others has its own place in the journal, with the answer that came.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, pairwise

from weave_async.asking.asker import Answered, Asker
from weave_async.blame import code_of
from weave_async.errors import RequestTooLargeError
from weave_async.records import Failure, Request, Response, Sample, Usage

TOO_LARGE = code_of(RequestTooLargeError(""))
"""A request that no minute has the tokens for: nothing was sent."""


class Choices:
    """Asks for a group at once, of an asker that takes one sample at a time.

    ``ask`` answers as many of the first samples as the endpoint gave choices, at least one, and
    leaves the rest: as a group or, where only one came, each by itself, since the endpoint may give
    no more in one request. Of one that only ever gave one, no more are requested. A group that is
    too large for the tokens of a minute is left in halves. Any other failure is that of the whole
    group: it was one prompt, refused or in vain.
    """

    def __init__(self, asker: Asker) -> None:
        self._asker = asker
        self._gives_several: dict[str, bool] = {}

    def __repr__(self) -> str:
        return f"<Choices {self._gives_several}>"

    async def ask(self, samples: Sequence[Sample]) -> Answered:
        """Raises what the asker raises: then none of these samples has an answer."""
        first = samples[0]
        if len(samples) == 1 or not self._gives_several.get(first.endpoint, True):
            answered_first, _ = await self._asker.ask([first])
            return Answered(answered_first, [[each] for each in samples[1:]])
        request = replace(first.request, num_choices=len(samples))
        [answered], _ = await self._asker.ask([replace(first, request=request)])
        if answered.failure is not None and answered.failure.error == TOO_LARGE:
            half = len(samples) // 2
            return Answered((), [samples[:half], samples[half:]])
        if answered.response is None:
            return Answered([_answered_with(answered, each, answered.failure) for each in samples])
        responses = divided(answered.response, len(samples))
        if len(responses) > 1:
            self._gives_several[answered.endpoint] = True
        else:
            self._gives_several.setdefault(answered.endpoint, False)
        pairs = zip(samples, responses, strict=False)
        ended = [_answered_with(answered, sample, response) for sample, response in pairs]
        rest = samples[len(ended) :]
        if not rest:
            return Answered(ended)
        return Answered(ended, [[each] for each in rest] if len(ended) == 1 else [rest])


def divided(response: Response, most: int) -> list[Response]:
    """A response for each choice, ``most`` at most, among which the usage of them all is divided.

    The tokens of the question stay with the first, and those of the answers go by length. Where the
    endpoint did not say, nobody knows: the first alone stands for the call's worst case.
    """
    choices = [replace(response, others=()), *response.others[: most - 1]]
    usage = response.usage
    if usage.input_tokens is None or usage.output_tokens is None:
        return [choices[0], *(replace(choice, usage=Usage()) for choice in choices[1:])]
    output_tokens = _by_length(usage.output_tokens, choices)
    input_tokens = [usage.input_tokens, *[0] * (len(choices) - 1)]
    return [
        replace(choice, usage=Usage(num_in, num_out))
        for choice, num_in, num_out in zip(choices, input_tokens, output_tokens, strict=True)
    ]


def _by_length(tokens: int, choices: Sequence[Response]) -> list[int]:
    """Whole tokens for each choice, in proportion to its text; their sum is exact."""
    chars = [len(choice.text) + len(choice.reasoning) for choice in choices]
    if not any(chars):
        chars = [1] * len(choices)
    total = sum(chars)
    ends = [tokens * end // total for end in accumulate(chars, initial=0)]
    return [end - start for start, end in pairwise(ends)]


def _answered_with(first: Sample, sample: Sample, outcome: Response | Failure | None) -> Sample:
    """``sample`` with an answer that came for the request of ``first``."""
    assert outcome is not None
    sent: Request = replace(
        sample.request, model=first.request.model, attempt_id=first.request.attempt_id
    )
    return sample.answered(outcome, endpoint=first.endpoint, sent=sent)
