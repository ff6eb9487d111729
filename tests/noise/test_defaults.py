"""Every noise that ships, with its default options, on sentences as people write them."""

from __future__ import annotations

from random import Random
from statistics import fmean
from typing import Any

import pytest

from installed_parts import with_default_options
from noise.sentences import SENTENCES
from weave_async.noise.lock import MeaningLock
from weave_async.noise.similarity import installed_similarity
from weave_async.noise.spans import ProtectedSpans

SIMILARITY = installed_similarity()
LOCK = MeaningLock(ProtectedSpans(), SIMILARITY)


@pytest.mark.parametrize("noise", with_default_options("noise"))
def test_what_default_options_make_of_a_text_stays_near_it(noise: Any) -> None:
    varied = [
        (text, LOCK.vary(noise, text, Random(seed)).text) for seed in range(2) for text in SENTENCES
    ]
    pairs = [(clean, noisy) for clean, noisy in varied if noisy != clean]
    mean = fmean([SIMILARITY.of(*pair) for pair in pairs] or [1.0])
    assert mean > SIMILARITY.default_floor, f"{mean:.3f} over {len(pairs)} pairs"
