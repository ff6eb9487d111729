"""The page: what strangers wrote is text in it, and nothing of it runs or loads."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from export.made_runs import make_run as make_plain_run
from export.made_runs import row as plain_row
from reviews_said import say
from weave_async.report import page
from weave_async.report.page import json_for_script, page_of
from weave_async.report.reading import read_run
from weave_async.report.reviews import reviews_of
from weave_async.report.view import RunView
from weave_async.visible import visible

from .runs import answer, make_run, missed, row, rows, write_segment

MAX_BYTES_WITHOUT_SAMPLES = 3_000_000
MADE_AT = "2026-11-23 09:00 UTC"
PAYLOADS = (
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "<!--<script>",
    "]]><svg onload=alert(1)>",
    "</style><script>alert(1)</script>",
    "</title></textarea></noscript><script>alert(1)</script>",
    "<base href=//evil.test><link rel=stylesheet href=//evil.test>",
    '<meta http-equiv="refresh" content="0;url=//evil.test">',
    "{{ 7 * 7 }}{% raw %}",
    "\u2028alert(1)\u2029",
    "&lt;b&gt;",
)
EMPTY = {"meta", "link", "source", "img", "input", "rect"}


class Parsed(HTMLParser):
    """What a browser would find on the page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = ""
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.of: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in EMPTY:
            self._open.append(tag)
            self.of.setdefault(tag, []).append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open:
            self.of[self._open[-1]][-1] += data
        if not self._open or self._open[-1] not in ("script", "style"):
            self.text += data

    @property
    def samples(self) -> list[dict[str, Any]]:
        told: list[dict[str, Any]] = json.loads(self.of["script"][0])["rows"]
        return told

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def view_of(run: Path, *, num_samples: int = 1_000, label: str = "") -> RunView:
    return RunView(read_run(run, num_samples=num_samples), label)


def html_of(run: Path, **options: Any) -> str:
    return page_of([view_of(run, **options)], made_at=MADE_AT)


def measured(value: float) -> dict[str, float]:
    return {"value": value, "low": 0.0, "high": 1.0, "rows": 9, "num_rows": 9, "target": 0.5}


def metrics_named(names: tuple[str, ...]) -> dict[str, Any]:
    """Figures that bear these names wherever a name can stand."""
    shares = {name: measured(0.4) for name in names[:30]}
    return {
        "stages": {name: {"samples": 1, "wall_s": 0.1, "cpu_s": 0.1} for name in names},
        "tokens": {name: {"input": 1, "output": 2} for name in names},
        "rules": {name: {"judged": 3, "rejected": 1} for name in names},
        "noise": {"texts_varied": dict.fromkeys(names, 2), "left_as_they_were": {names[0]: 1}},
        "diversity": {
            "metrics": {"distinct_1": measured(0.2), "vendi": measured(7)},
            "absent": {names[0]: names[0]},
            "note": names[0],
            "top_openings": [{"opening": name, "share": 0.1} for name in names],
        },
        "bias": {
            "note": names[0],
            "representation": {name: {"values": shares, "is_off_target": True} for name in names},
            "gender": {"note": names[0], "feminine_rows": measured(0.1)},
            "regions": {"shares": shares},
            "sentiment": {"mean": measured(0.1), "note": names[0]},
            "length": {name: {"auc": measured(0.5)} for name in names},
        },
    }


def hostile_run(folder: Path, names: tuple[str, ...]) -> Path:
    told = []
    for number, name in enumerate(names):
        change = {"start": 0, "before": "", "after": name}
        options: Mapping[str, Any] = {
            "ask": name + name,
            "model": name,
            "attributes": {name: name, "a": name},
            "noise": [{"noise": name, "message_index": 0, "changes": [change]}],
            "endpoint": name,
            "source": name,
            "finish_reason": name,
            "verdicts": [{"rule": name, "passed": True, "reason": name, "evidence": name}],
        }
        told.append(row(f"{name}{number}", name, **options))
        told.append(row(f"{name}{number}", name, why=(name, name, name), **options))
        told.append(row(f"{name}{number}", name, why=(name, name), **options))
    listed = list(names)
    run = make_run(
        folder,
        told,
        metrics=metrics_named(names),
        recipe="\n".join(names),
        name=names[0],
        cautions=listed,
        idle_rules=listed,
        mix=[{"model": name, "provider": name, "options": {name: name}} for name in names],
        files={name: {"rows": 1, "bytes": 1, "sha256": name} for name in names},
        cost_usd=1.5,
        elapsed_s=3.0,
    )
    journal = [answer(n, 0.5, endpoint=name, model=name) for n, name in enumerate(names)]
    journal += [missed(2, name) for name in names]
    endpoints = {name: {"model": name, "address": name} for name in names}
    write_segment(run, 1, journal, endpoints=endpoints)
    return run


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> str:
    return html_of(hostile_run(tmp_path_factory.mktemp("hostile") / "run", PAYLOADS))


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> str:
    told = [
        *rows(30, attributes={"tone": "calm"}),
        *rows(12, why=("validation", "length", "too_short"), attributes={"tone": "calm"}),
        *rows(3, why=("server", "500: out of order"), model="other"),
    ]
    journal = [answer(0.1 * n, 0.2 + 0.001 * n) for n in range(100)]
    metrics = metrics_named(("one", "other"))
    folder = tmp_path_factory.mktemp("usual") / "run"
    return html_of(make_run(folder, told, metrics=metrics, journal=journal))


def test_no_payload_becomes_markup(hostile: str, usual: str) -> None:
    found, expected = Parsed(hostile), Parsed(usual)
    assert {name for name, _ in found.elements} <= {name for name, _ in expected.elements} | {
        *("optgroup", "strong", "address"),
    }
    assert len(found.all("script")) == 2
    assert not [
        name for _, attributes in found.elements for name in attributes if name.startswith("on")
    ]
    assert all(visible(payload) in found.text for payload in PAYLOADS)


def test_samples_are_the_same_texts_again(hostile: str) -> None:
    samples = Parsed(hostile).samples
    assert len(samples) == 3 * len(PAYLOADS)
    answers = ["".join(each["turns"][-1]["text"]) for each in samples if each["end"] == "written"]
    assert answers == [visible(payload) for payload in PAYLOADS]


def test_nothing_in_the_data_can_end_its_script(hostile: str) -> None:
    data = Parsed(hostile).of["script"][0]
    assert not set("<>&\u2028\u2029") & set(data)
    assert json.loads(json_for_script({"a": "</script>\u2028&"})) == {"a": "</script>\u2028&"}


def test_the_policy_lets_our_script_and_style_run_and_nothing_else(hostile: str) -> None:
    found = Parsed(hostile)
    policy = next(
        each["content"] or ""
        for each in found.all("meta")
        if each.get("http-equiv") == "Content-Security-Policy"
    )
    directives = dict(part.split(" ", 1) for part in policy.split("; "))
    for name, text in (("script-src", found.of["script"][1]), ("style-src", found.of["style"][0])):
        digest = base64.b64encode(sha256(text.encode()).digest()).decode()
        assert directives[name] == f"'sha256-{digest}'"
    assert directives["default-src"] == "'none'"
    assert directives["img-src"] == "data:"
    assert not [each for _, each in found.elements if "style" in each]  # which it would not allow


def test_nothing_is_loaded_from_elsewhere(hostile: str) -> None:
    for _, attributes in Parsed(hostile).elements:
        for name in ("src", "srcset", "href", "action", "data", "poster"):
            address = attributes.get(name) or "#"
            assert address.startswith(("data:", "#")), (name, address)


def test_the_script_makes_no_markup_of_texts() -> None:
    script = page._own("page.js")
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacent|document\.write|eval|Function", script
    )


@pytest.mark.parametrize(
    ("hidden", "shown"),
    [
        ("a\x1b[2J", "a⟦U+001B⟧[2J"),
        ("\x00\r", "⟦U+0000⟧⟦U+000D⟧"),
        ("\x7f\x9b", "⟦U+007F⟧⟦U+009B⟧"),
        ("one\u2028line", "one⟦U+2028⟧line"),
        ("\u202eevil\u202c", "⟦U+202E⟧evil⟦U+202C⟧"),
        ("\u200bzero\ufeff", "⟦U+200B⟧zero⟦U+FEFF⟧"),
        ("\U000e0041", "⟦U+E0041⟧"),
        ("tab\tand\nline", "tab\tand\nline"),
        ("👩\u200d🔬", "👩\u200d🔬"),
    ],
)
def test_hidden_characters_are_shown(tmp_path: Path, hidden: str, shown: str) -> None:
    assert visible(hidden) == shown
    found = Parsed(html_of(make_run(tmp_path / "run", [row(hidden, hidden, model=hidden)])))
    assert found.samples[0]["turns"][1]["text"] == [shown]
    assert shown.strip() in found.text


def test_figures_come_with_their_intervals(usual: str) -> None:
    text = Parsed(usual).text
    assert "71.4 %" in text  # 30 of 42 answers were accepted
    assert "56.4 % to 82.8 %" in text  # by Wilson's score interval
    assert "too_short" in text
    assert "500: out of order" in text


def test_pictures_are_there_in_light_and_in_dark_and_tables_beside_them(usual: str) -> None:
    found = Parsed(usual)
    pictures = [each["src"] or "" for each in found.all("img")]
    dark = [each["srcset"] or "" for each in found.all("source")]
    assert len(pictures) == len(dark) == 6
    for light_one, dark_one in zip(pictures, dark, strict=True):
        light_svg, dark_svg = (
            base64.b64decode(each.partition("base64,")[2]) for each in (light_one, dark_one)
        )
        assert b"<svg" in light_svg
        assert len(light_svg) == len(dark_svg)
        assert light_svg != dark_svg
        assert b"#ink-" not in dark_svg
    assert all(each["alt"] for each in found.all("img"))
    assert "pip install" not in found.text


def test_without_the_extra_there_are_tables_and_the_way_to_pictures(
    tmp_path: Path, usual: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "find_spec", lambda name: None)
    run = make_run(tmp_path / "run", rows(3), journal=[answer(1, 0.5)])
    found = Parsed(html_of(run))
    assert not found.all("img")
    assert "pip install 'weave-async[plots]'" in found.text
    assert len(found.all("table")) >= 5


def test_every_control_has_a_name_and_every_table_its_heads(usual: str) -> None:
    found = Parsed(usual)
    names = {each["name"] for each in [*found.all("select"), *found.all("input")]}
    assert names == {"end", "why", "model", "attribute", "finish", "search"}
    assert len(found.all("label")) == len(names)
    assert all(each.get("scope") for each in found.all("th"))
    regions = [each for each in found.all("div") if each.get("role") == "region"]
    assert all(each.get("aria-label") and each.get("tabindex") == "0" for each in regions)
    targets = {each.get("id") for _, each in found.elements}
    assert all((each["href"] or "")[1:] in targets for each in found.all("a"))


def test_filters_are_of_what_the_rows_have(usual: str) -> None:
    options = Parsed(usual).of["option"]
    for choice in ("written", "validation · length · too_short", "server", "other", "calm"):
        assert choice in options


def test_noisy_texts_carry_what_they_were(tmp_path: Path) -> None:
    changes = [{"start": 0, "before": "The", "after": "Teh"}]
    noise = [{"noise": "typos", "message_index": 0, "changes": changes}]
    run = make_run(tmp_path / "run", [row(ask="Teh card", noise=noise)])
    (sample,) = Parsed(html_of(run)).samples
    assert sample["turns"][0]["text"] == [["The", "Teh"], " card"]
    assert sample["noise"] == ["typos"]


def test_long_texts_are_cut_with_a_note_and_short_turns_stay_whole(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", [row(answer="a" * 100_000, ask="short")])
    asked, answered = Parsed(html_of(run)).samples[0]["turns"]
    assert (asked["text"], asked["cut"]) == (["short"], False)
    assert len(answered["text"][0]) < 10_000
    assert (answered["chars"], answered["cut"]) == (100_000, True)


def test_a_page_without_samples_is_small_whatever_names_there_are(tmp_path: Path) -> None:
    names = tuple(f"{number} {'x' * 2_000}" for number in range(700))
    html = html_of(hostile_run(tmp_path / "run", names), num_samples=0)
    assert len(html.encode()) < MAX_BYTES_WITHOUT_SAMPLES
    assert Parsed(html).samples == []


def test_a_sample_of_many_says_so(tmp_path: Path) -> None:
    html = html_of(make_run(tmp_path / "run", rows(500)), num_samples=20)
    assert "20 of 500 samples, drawn by a seed" in Parsed(html).text


def test_a_run_of_nothing_has_a_page(tmp_path: Path) -> None:
    text = Parsed(html_of(make_run(tmp_path / "run", []))).text
    assert "The journal holds no answer." in text


def test_an_unfinished_run_has_a_page(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", rows(3), is_finished=False)
    text = Parsed(html_of(run)).text
    assert "Unfinished" in text
    assert "This run is unfinished" in text


def test_the_same_run_makes_the_same_page(tmp_path: Path) -> None:
    journal = [answer(0.1 * n, 0.2) for n in range(50)]
    run = make_run(tmp_path / "run", rows(30), journal=journal)
    assert html_of(run, num_samples=10) == html_of(run, num_samples=10)


def test_reviews_and_questions_of_judges_are_told(tmp_path: Path) -> None:
    run = make_plain_run(tmp_path / "run", [plain_row(f"{n}-0", "answer") for n in range(8)])
    say(run, "ana", {f"{n}-0": "reject" if n < 2 else "accept" for n in range(8)})
    reading = read_run(run, num_samples=10)
    told = page_of([RunView(reading, "", reviews_of(run, reading.notes))], made_at="now")
    assert "Written with a defect" in told
    assert "<td>25.0 %</td>" in told
    untold = page_of([RunView(reading)], made_at="now")
    assert "Written with a defect" not in untold
    assert 'href="#reviews"' not in untold
