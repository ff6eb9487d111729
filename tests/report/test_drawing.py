"""Pictures for a light and for a dark page, each legible."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from weave_async.report import drawing
from weave_async.report.drawing import BACK, FAINT, FIRST, INK, LOST, SECOND, dark


def luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def colours_of_page() -> list[dict[str, str]]:
    """The variables of the style, in light and in dark."""
    style = files("weave_async.report").joinpath("page.css").read_text(encoding="utf-8")
    blocks = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    return [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block)) for block in blocks]


@pytest.mark.parametrize(
    ("ink", "least"), [(INK, 4.5), (FAINT, 4.5), (FIRST, 3), (SECOND, 3), (LOST, 3)]
)
def test_inks_stand_out_on_both_grounds(ink: str, least: float) -> None:
    assert contrast(ink, BACK) >= least
    inks = drawing._DARK
    assert contrast(inks[ink], inks[BACK]) >= least


def test_texts_of_the_page_stand_out_in_light_and_in_dark() -> None:
    themes = colours_of_page()
    assert len(themes) == 2
    for theme in themes:
        for text in ("text", "faint", "link"):
            assert all(
                contrast(theme[text], theme[on]) >= 4.5 for on in ("page", "card", "band")
            ), text
        for kind in ("good", "bad", "warn"):
            assert contrast(theme[kind], theme[f"{kind}-band"]) >= 4.5, kind
            assert contrast(theme["text"], theme[f"{kind}-band"]) >= 4.5, kind
        assert contrast(theme["edge"], theme["card"]) >= 3  # borders of controls
        assert contrast(theme["bar"], theme["page"]) >= 3


def test_every_ink_has_its_dark_one_whatever_stands_for_which() -> None:
    light = " ".join(drawing._DARK).encode()
    assert dark(light) == " ".join(drawing._DARK.values()).encode()
