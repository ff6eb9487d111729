"""Texts with something protected in them, and what a noise makes of a text."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from hypothesis import strategies as st

from weave_async.interfaces import EditingNoise
from weave_async.noise.edits import Passage, Span, applied, undone

SENTENCES = (
    "I don't think that it is late, but please let me know when you have an answer.",
    "Thanks for your message! We will refund the whole amount, because you returned the package.",
    "Could you tell me where the nearest office is? My account was closed by the manager.",
    "The department is going to receive the documentation; I'm not sure about the environment.",
    "i want to change my appointment, it's really important: call me as soon as possible.",
    "Hello\n\nWhat is the definite difference between these two models\tand those",
    "Es gibt größere Häuser, ÉTÉ, naïve façade; don’t you know?",
    "WHY IS NOBODY HELPING ME WITH MY ORDER!!",
    "Word",
    "?!... ,",
    "",
)


def varied(noise: EditingNoise, text: str, seed: int = 0, protected: Sequence[Span] = ()) -> str:
    """The text after the noise. Checks that the changes can be taken back, and hold no more."""
    passage = Passage(text, protected)
    edits = list(noise.edits(passage, Random(seed)))
    noisy, changes = applied(passage, edits)
    assert undone(noisy, changes) == text
    assert len(changes) == len(edits), "edits overlap, change nothing, or touch what is protected"
    return noisy


@st.composite
def passages(draw: st.DrawFn) -> tuple[str, list[Span]]:
    """Any text, or sentences as people write them, with protected stretches at random."""
    text = draw(st.text(max_size=60) | st.lists(st.sampled_from(SENTENCES)).map(" ".join))
    borders = sorted(draw(st.sets(st.integers(0, len(text)), max_size=8)))
    pairs = zip(borders[::2], borders[1::2], strict=False)
    return text, [Span(start, end, "pattern") for start, end in pairs]
