"""The review page as people and attackers meet it, in a real browser."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from export.made_runs import make_run, row
from hostile_texts import payloads
from review.serving import Server, serving

from .conftest import Watched
from .hostile_runs import hostile_run

pytestmark = pytest.mark.browser


def lines_of(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "review.jsonl").read_text().splitlines()]


@pytest.fixture
def plain_run(tmp_path: Path) -> Path:
    rows = [
        row(f"{number}-0", f"Answer {number}: please try again tomorrow.", ask="Why is it late?")
        for number in range(12)
    ]
    return make_run(tmp_path / "run", rows)


@pytest.fixture
def server(plain_run: Path) -> Iterator[Server]:
    with serving(plain_run, "-r", "ana", "-n", "10") as server:
        yield server


def opened(watched: Callable[..., Watched], server: Server, **options: Any) -> Watched:
    found = watched(server.origin, **options)
    found.page.goto(server.links[-1])
    found.page.wait_for_url(f"{server.origin}/")
    return found


def press(found: Watched, key: str) -> None:
    with found.page.expect_navigation():
        found.page.keyboard.press(key)


def test_a_hundred_attacks_run_nothing_and_load_nothing(
    tmp_path: Path, watched: Callable[..., Watched]
) -> None:
    texts = payloads()
    assert len(set(texts)) >= 100
    run = hostile_run(tmp_path / "run")
    with serving(run, "-r", "ana", "-n", "1000", "--reason", texts[7]) as server:
        found = opened(watched, server)
        for number, text in enumerate(texts):
            found.page.goto(f"{server.origin}/row/{number:03d}-0")
            assert found.page.locator("#row").get_attribute("data-sample-id") == f"{number:03d}-0"
            found.page.keyboard.press("e")
            typed = found.page.locator("#edited").input_value()
            assert typed.replace("\ufffd", "\x00") == text.replace("\r\n", "\n")
            found.page.keyboard.press("Escape")
            found.page.keyboard.press("r")
            assert found.num_attacks == 0, text
        assert found.foreign == []
        assert found.errors == []


def test_a_review_by_keys_alone(
    plain_run: Path, server: Server, watched: Callable[..., Watched]
) -> None:
    found = opened(watched, server)
    press(found, "a")
    found.page.keyboard.press("r")
    press(found, "2")
    found.page.keyboard.press("e")
    found.page.keyboard.type(" And more.")
    press(found, "Control+Enter")
    found.page.keyboard.press("r")
    found.page.keyboard.type("as unclear as 1 2 3")  # letters and digits that are keys elsewhere
    press(found, "Enter")
    press(found, "s")
    press(found, "u")
    assert found.page.locator(".mine").count() == 0
    press(found, "s")
    decided = [(line["decision"], line.get("reason")) for line in lines_of(plain_run)]
    assert decided == [
        ("accept", None),
        ("reject", "off topic"),
        ("accept", None),
        ("reject", "as unclear as 1 2 3"),
        ("skip", None),
        ("undo", None),
        ("skip", None),
    ]
    assert lines_of(plain_run)[2]["edited"].endswith("tomorrow. And more.")
    assert "4 of 10 reviewed" in found.page.locator("header").inner_text()


def test_letters_typed_into_a_text_decide_nothing(
    plain_run: Path, server: Server, watched: Callable[..., Watched]
) -> None:
    found = opened(watched, server)
    found.page.keyboard.press("r")
    found.page.locator("#reason").click()
    found.page.keyboard.type("a rare use: 1 2 3")
    found.page.keyboard.press("Escape")
    found.page.keyboard.press("Control+a")
    found.page.keyboard.press("e")
    found.page.keyboard.type("a s u r")
    assert lines_of(plain_run) == []


def test_a_server_that_is_gone_is_told_and_the_row_stays(
    plain_run: Path, server: Server, watched: Callable[..., Watched]
) -> None:
    found = opened(watched, server)
    shown = found.page.locator("#row").get_attribute("data-sample-id")
    server.process.kill()
    server.process.wait()
    found.page.keyboard.press("a")
    found.page.locator("#problem").wait_for(state="visible")
    assert "Nothing was saved" in found.page.locator("#problem").inner_text()
    assert found.page.locator("#row").get_attribute("data-sample-id") == shown
    assert lines_of(plain_run) == []


def test_all_can_be_reached_by_tab_and_nothing_is_told_by_colour_alone(
    server: Server, watched: Callable[..., Watched]
) -> None:
    found = opened(watched, server)
    reached = []
    for _ in range(12):
        found.page.keyboard.press("Tab")
        reached.append(found.page.evaluate("document.activeElement.textContent.trim()"))
    for name in ("Results", "Accept A", "Reject R", "Edit E", "Skip S"):
        assert name in [" ".join(text.split()) for text in reached]
    mark = "getComputedStyle(document.querySelector('.verdict.passed'), '::before').content"
    assert "✓" in found.page.evaluate(mark)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_screen(
    tmp_path: Path,
    watched: Callable[..., Watched],
    pictures: Path,
    scheme: str,
    width: int,
) -> None:
    long = make_run(
        tmp_path / "run", [row("a-0", "word" * 400 + " and words" * 200, ask="W" * 900)]
    )
    with serving(long) as server:
        found = opened(
            watched, server, color_scheme=scheme, viewport={"width": width, "height": 800}
        )
        assert found.page.evaluate("document.documentElement.scrollWidth") <= width
        found.page.screenshot(path=pictures / f"review-{scheme}-{width}.png")


def test_the_watch_catches_a_careless_page(watched: Callable[..., Watched]) -> None:
    found = watched("about:")
    found.page.set_content("<p><img src=x onerror=attacked()><img src=http://evil.example/x></p>")
    found.page.wait_for_function("window.attacks > 0")
    assert "http://evil.example/x" in found.foreign
