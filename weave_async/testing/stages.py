"""What every noise and every validation rule promises, as checks that any author can call::

    def test_my_noise_keeps_its_promises():
        check_noise(MyNoise())

    def test_my_rule_keeps_its_promises():
        check_validator(MyRule())

A check that fails raises ``AssertionError``, and names the text.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from random import Random

import orjson

from weave_async.interfaces import EditingNoise, Noise, Validator
from weave_async.noise.edits import undone
from weave_async.noise.lock import MeaningLock, Varied
from weave_async.noise.spans import ProtectedSpans
from weave_async.records import Message, Prompt, Request, Response, Sample, SamplingParams, Verdict

PLAIN_TEXTS = (
    "Hello there, I would like to change the delivery address of my last order please.",
    "Can you tell me what the weather will be like in Paris on 12 March 2024?",
    "We do not need 40 chairs and 8 tables, we really need about twenty of them because of "
    "the other meeting. Could you answer before Friday at 10:30 pm? Write to me@example.com.",
    "The recipe says that it is easy.\n\nMix everything, then bake it for half an hour at 180 °C.",
)
ODD_TEXTS = (
    "",
    " ",
    "\n\t\r\n",
    "?",
    "a",
    "😀👩‍👩‍👧 🇩🇪 ok 👍🏽",
    "مرحبا كيف حالك اليوم",
    "שלום \u202eabc\u202c עולם",
    "e\u0301te\u0301 n\u0303 a\u0300\u0301\u0302",
    "漢字とかな交じり文。全角　スペース",
    "\x00\x07\x1b[31m\x7f\ufeff\ufffd",
    "İstanbul ǆ ß ŉ ﬁ",
    "{{{[[<<`\"'$%\\//..--",
    "''''\"\"\"\"“”„«»",
    "1,1.1/1-1:1 1e9 ½ ² ٣",
)
_LONG = ("word ", "x", "Ab1 ", "{", "a'", "? ", "😀", "\n", "don't 5 km ")
LONG_CHARS = 100_000
_MAX_S_PER_CHAR = 1e-4
_SEEDS = range(5)


def check_noise(
    noise: Noise | EditingNoise,
    texts: Iterable[str] = PLAIN_TEXTS,
    *,
    always_changes: bool = True,
) -> None:
    """Everything a noise promises, on ``texts`` and on odd and long ones.

    ``always_changes``: with its options it is asked to change something, and can in ``texts``.
    """
    lock = MeaningLock(ProtectedSpans())
    texts = tuple(texts)
    for text in (*texts, *ODD_TEXTS):
        for seed in _SEEDS:
            _check_varied(lock, noise, text, seed)
    if always_changes:
        for text in texts:
            changed = [lock.vary(noise, text, _rng(seed)) for seed in range(20)]
            tried = any(varied.changes or varied.broken for varied in changed)
            _require(tried, f"20 seeds, and it changes nothing in {text!r:.80}")
    for piece in _LONG:
        _check_time(lambda text: lock.vary(noise, text, _rng(1)), piece)


def _check_varied(lock: MeaningLock, noise: Noise | EditingNoise, text: str, seed: int) -> None:
    about = f"with seed {seed} and the text {text!r:.80}"
    varied = lock.vary(noise, text, _rng(seed))
    _require(varied == lock.vary(noise, text, _rng(seed)), f"one seed made two texts, {about}")
    varied.text.encode()  # no half of a surrogate pair
    _require(undone(varied.text, varied.changes) == text, f"its changes hide others, {about}")
    _require((varied.text == text) == (not varied.changes), f"changes that change nothing, {about}")
    _check_protected(lock, noise, text, varied, about)
    _require(lock.broken_rule(text, varied.text, rewrites=_rewrites(noise)) is None, about)


def _check_protected(
    lock: MeaningLock, noise: Noise | EditingNoise, text: str, varied: Varied, about: str
) -> None:
    for start, end, kind in lock.spans.passage(text, rewrites=_rewrites(noise)).protected:
        for change in varied.changes:
            apart = change.start >= end or change.start + len(change.before) <= start
            _require(apart, f"the {kind} {text[start:end]!r} was changed, {about}")


def check_validator(
    rule: Validator,
    make_sample: Callable[[str], Sample] | None = None,
    texts: Iterable[str] = PLAIN_TEXTS,
) -> None:
    """Everything a rule promises: a verdict, the same each time, on any text, that can be stored.

    ``make_sample`` makes the sample whose completion is a text, where the rule needs more of one,
    as columns of its prompt; ``sample_of`` does otherwise.
    """
    make_sample = make_sample or sample_of
    for text in (*texts, *ODD_TEXTS):
        sample = make_sample(text)
        verdict = rule(sample)
        about = f"on {text!r:.80}"
        _require(isinstance(verdict, Verdict), f"it returned {verdict!r:.80} {about}")
        _require(verdict == rule(make_sample(text)), f"it judged in two ways {about}")
        _require(make_sample(text) == sample, f"it has changed the sample {about}")
        _require(verdict.passed or bool(verdict.reason), f"it rejects without a reason {about}")
        _require(verdict.reason.isascii() and " " not in verdict.reason, f"no code: {verdict}")
        orjson.dumps(dict(verdict.evidence))
        for message in verdict.messages or ():
            message.content.encode()
    for piece in _LONG:
        _check_time(lambda text: rule(make_sample(text)), piece)


def sample_of(completion: str, prompt: str = "What do you think of it?") -> Sample:
    """A sample with one turn of a user and ``completion`` as the answer to it."""
    asked = (Message("user", prompt),)
    request = Request("request", "model", asked, SamplingParams())
    sample = Sample(
        ordinal=0,
        prompt=Prompt("prompt", 0, asked, attributes={}, origin="conformance:1"),
        request=request,
        endpoint="conformance",
        seed=0,
    )
    answered = sample.answered(Response(completion, "stop"))
    # As it is, blanks and all: not what a model's answer would have become.
    return replace(answered, messages=(*asked, Message("assistant", completion)))


def _check_time(process: Callable[[str], object], piece: str) -> None:
    """Growing parts of a long text: where time grows with the square, an early one tells."""
    for num_chars in (1_000, 10_000, 30_000, LONG_CHARS):
        text = (piece * num_chars)[:num_chars]
        began = time.thread_time()
        process(text)
        taken_s = time.thread_time() - began
        about = f"{num_chars} characters of {piece!r} took {taken_s:.1f} s"
        _require(taken_s < 0.5 + _MAX_S_PER_CHAR * num_chars, about)


def _rng(seed: int) -> Random:
    return Random(seed)  # noqa: S311 - not for secrets


def _rewrites(noise: object) -> frozenset[str]:
    return frozenset(getattr(noise, "rewrites", ()))


def _require(condition: bool, complaint: str) -> None:
    if not condition:
        raise AssertionError(complaint)
