"""The examples in docs/noise.md: what a noiser makes of a text with its defaults, by some seed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from weave_async.interfaces import EditingNoise
from weave_async.noise.abbreviations import AbbreviationsNoise
from weave_async.noise.casing import CasingNoise
from weave_async.noise.contractions import ContractionsNoise
from weave_async.noise.emoji import EmojiNoise
from weave_async.noise.fillers import FillersNoise
from weave_async.noise.misspellings import MisspellingsNoise
from weave_async.noise.punctuation import PunctuationNoise
from weave_async.noise.truncation import TruncationNoise
from weave_async.noise.typos import TyposNoise
from weave_async.noise.whitespace import WhitespaceNoise

from .noisy import varied

PAGE = Path(__file__).parents[2] / "docs" / "noise.md"
ROW = re.compile(r"\| `(\w+)` \| [^|]+ \| ([^|]+) \| ([^|]+) \|")
NOISES: dict[str, EditingNoise] = {
    "abbreviations": AbbreviationsNoise(),
    "casing": CasingNoise(),
    "contractions": ContractionsNoise(),
    "emoji": EmojiNoise(),
    "fillers": FillersNoise(),
    "misspellings": MisspellingsNoise(source="rules"),
    "punctuation": PunctuationNoise(),
    "truncation": TruncationNoise(),
    "typos": TyposNoise(),
    "whitespace": WhitespaceNoise(),
}


@pytest.mark.parametrize("name", NOISES)
def test_the_documented_change_is_one_that_the_noiser_makes(name: str) -> None:
    rows = {noiser: pair for noiser, *pair in ROW.findall(PAGE.read_text(encoding="utf-8"))}
    before, after = rows[name]
    assert after in {varied(NOISES[name], before, seed) for seed in range(500)}
