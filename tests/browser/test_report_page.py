"""The report as people and attackers meet it, in a real browser."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from export.made_runs import changed, make_run, row
from hostile_texts import payloads

from .conftest import Watched
from .hostile_runs import hostile_run

pytestmark = pytest.mark.browser


def report_of(*runs: Path, output: Path) -> Path:
    words = ["report", *map(str, runs), "-o", str(output), "--samples", "5000"]
    subprocess.run([sys.executable, "-m", "weave_async.cli", *words], check=True)
    return output


def opened(watched: Callable[..., Watched], page: Path, **options: Any) -> Watched:
    found = watched("file://", **options)
    found.page.goto(page.as_uri())
    return found


@pytest.fixture
def plain_report(tmp_path: Path) -> Path:
    rows = [
        row(f"{number:02d}-0", f"Answer {number}: please try again.", ask="Why is it late?")
        for number in range(60)
    ]
    rows[7] = row("07-0", "A typo.", ask="Why is it laet?", noise=[changed(0, 12, "te", "et")])
    rows += [
        row(f"r{number}-0", "Too short.", model="other", rejected=("validation", "too_short"))
        for number in range(5)
    ]
    return report_of(make_run(tmp_path / "run", rows), output=tmp_path / "report.html")


def test_a_hundred_attacks_run_nothing_and_load_nothing(
    tmp_path: Path, watched: Callable[..., Watched]
) -> None:
    run = hostile_run(tmp_path / "run")
    found = opened(watched, report_of(run, output=tmp_path / "report.html"))
    seen = open_all_rows(found)
    assert seen >= 2 * len(payloads())
    for select in found.page.locator("select").all():
        for option in select.locator("option").all():
            select.select_option(value=option.get_attribute("value"))
    assert found.num_attacks == 0
    assert found.foreign == []
    assert found.errors == []


def test_two_hostile_runs_side_by_side(tmp_path: Path, watched: Callable[..., Watched]) -> None:
    runs = [hostile_run(tmp_path / name) for name in ("one", "two")]
    found = opened(watched, report_of(*runs, output=tmp_path / "report.html"))
    open_all_rows(found)
    assert (found.num_attacks, found.foreign, found.errors) == (0, [], [])


def open_all_rows(found: Watched) -> int:
    """Opens each row of each page of the table; returns how many there were."""
    num = 0
    while True:
        summaries = found.page.locator("#rows summary").all()
        for summary in summaries:
            summary.click()
        num += len(summaries)
        onward = found.page.locator(".pager button", has_text="On").first
        if not onward.count() or onward.is_disabled():
            return num
        onward.click()


def test_samples_are_found_by_filters_with_keys_alone(
    plain_report: Path, watched: Callable[..., Watched]
) -> None:
    found = opened(watched, plain_report)
    found.page.locator("select").first.focus()
    found.page.keyboard.type("Rej")
    found.page.keyboard.press("Tab")
    assert found.page.locator("#rows summary").count() == 5
    assert "other" in found.page.locator("#rows").inner_text()
    found.page.locator("input[type=search], input[type=text]").first.fill("no such text")
    assert found.page.locator("#rows summary").count() == 0


def test_noise_is_marked_in_an_open_row(
    plain_report: Path, watched: Callable[..., Watched]
) -> None:
    found = opened(watched, plain_report)
    found.page.locator("input[type=checkbox]").first.check()
    found.page.locator("#rows summary").first.click()
    assert found.page.locator("#rows del").first.inner_text() == "te"
    assert found.page.locator("#rows ins").first.inner_text() == "et"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_screen(
    plain_report: Path, watched: Callable[..., Watched], pictures: Path, scheme: str, width: int
) -> None:
    found = opened(
        watched, plain_report, color_scheme=scheme, viewport={"width": width, "height": 900}
    )
    assert found.page.evaluate("document.documentElement.scrollWidth") <= width
    found.page.screenshot(path=pictures / f"report-{scheme}-{width}.png", full_page=True)
