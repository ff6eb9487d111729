"""The page is read as XML, which it is, too: what is malformed would not parse."""

from __future__ import annotations

import base64
import itertools
import random
import re
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure

from weave_async.bench.attempt import Attempt
from weave_async.bench.capacity import Capacity
from weave_async.bench.load import Load, Window
from weave_async.bench.metrics import DEFINITIONS, figures_of
from weave_async.bench.page import page_of
from weave_async.bench.plots import MOST_FAILING_SHOWN, pictures_of, write_pngs
from weave_async.bench.result import BackendResult, BenchmarkResult
from weave_async.bench.timeline import MOST_POINTS, timeline_of
from weave_async.pictures import svg_of

HTML_BYTES = 1_000_000
IDLE = {"cpu": 0.1, "loop_lag_p99_s": 0.001}
BUSY = {"cpu": 0.99, "loop_lag_p99_s": 0.02}
Row = dict[str, Any]


class Bench:
    """A benchmark that was not run: its steps are of made-up attempts."""

    def __init__(self, *names: str) -> None:
        self.rows: list[Row] = []
        self._now_s = 0.0
        self.result = BenchmarkResult(
            workload="made-up prompts of about 64 tokens, 64 out",
            objective=None,
            seed=0,
            begun_at=1795409971.466,
            machine="2 cores, x86_64",
            backends=[BackendResult(name, "openai_compatible", "exact") for name in names],
        ).as_dict()

    def step(
        self,
        load: Load,
        *,
        backend: int = 0,
        num: int = 120,
        e2e_s: float = 0.7,
        failing: float = 0.0,
        error: str = "RateLimitedError",
        message: str = "slow down",
        client: dict[str, float] = IDLE,
    ) -> Bench:
        rng = random.Random(len(self.rows))
        window = Window(load, from_s=self._now_s, to_s=self._now_s + 10)
        for number in range(num):
            sent_s = self._now_s + 10 * number / num
            took_s = e2e_s * rng.uniform(0.9, 1.1)
            attempt = Attempt(number, sent_s, sent_s, output_tokens=8)
            if number < failing * num:
                attempt.error, attempt.message, took_s = error, message, 0.01
            else:
                attempt.came_s = [sent_s + took_s * (place + 1) / 8 for place in range(8)]
            attempt.ended_s = sent_s + took_s
            window.attempts.append(attempt)
        told = self.result["backends"][backend]
        measured = BackendResult(told["name"])
        measured.add(figures_of(window, client=client), None, None)
        told["steps"] += measured.as_dict()["steps"]
        self.rows += [
            {"backend": told["name"], "load": str(load), **each.as_row(0.0)}
            for each in window.attempts
        ]
        self._now_s = max(each.ended_s for each in window.attempts) + 0.1
        return self

    @property
    def page(self) -> str:
        return page_of(self.result, iter(self.rows))

    @property
    def pictures(self) -> dict[str, Figure]:
        return pictures_of(self.result, timeline_of(self.rows))


def closed(level: float) -> Load:
    return Load("closed", level)


def parsed(page: str) -> ElementTree.Element:
    return ElementTree.fromstring(page)


def text_of(page: str) -> str:
    return " ".join(" ".join(parsed(page).itertext()).split())


def labels_of(figure: Figure) -> list[str]:
    return [label for axis in figure.axes for label in (axis.get_xlabel(), axis.get_ylabel())]


def legend_of(figure: Figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


@pytest.fixture(scope="module")
def usual() -> Bench:
    bench = Bench("fast", "slow")
    for level in (1, 4, 16):
        bench.step(closed(level))
        bench.step(closed(level), backend=1, e2e_s=2.0, failing=0.1 if level == 16 else 0)
    capacity = Capacity(12.3, 8.4, is_reached=True)
    bench.result["backends"][0]["capacity"] = {**asdict(capacity), "in_words": str(capacity)}
    return bench


@pytest.fixture(scope="module")
def usual_page(usual: Bench) -> str:
    return usual.page


def test_nothing_is_loaded_from_elsewhere_and_nothing_runs(usual_page: str) -> None:
    page = parsed(usual_page)

    assert not {"script", "link", "iframe", "object"} & {each.tag for each in page.iter()}
    sources = [each.get(name) for each in page.iter() for name in ("src", "href")]
    assert sources.count(None) < len(sources)
    assert all(source.startswith("data:image/svg+xml;") for source in filter(None, sources))
    assert not re.search(r"url\(|@import|https?://", usual_page)


def test_pictures_in_the_page_are_whole_and_load_nothing_either(usual_page: str) -> None:
    sources = [each.get("src", "") for each in parsed(usual_page).iter("img")]
    pictures = [base64.b64decode(source.partition(",")[2]) for source in sources]

    assert len(pictures) == 4
    for picture in pictures:
        svg = ElementTree.fromstring(picture)
        links = [value for each in svg.iter() for key, value in each.items() if "href" in key]
        assert all(link.startswith("#") for link in links)


def test_pictures_say_in_words_what_they_show(usual_page: str) -> None:
    page = parsed(usual_page)

    assert all(each.get("alt") for each in page.iter("img"))
    assert all("".join(each.itertext()).strip() for each in page.iter("figcaption"))


def test_every_header_cell_says_what_it_heads(usual_page: str) -> None:
    assert all(each.get("scope") for each in parsed(usual_page).iter("th"))


def test_the_figures_of_every_step_are_on_the_page(usual: Bench, usual_page: str) -> None:
    text = text_of(usual_page)

    for backend in usual.result["backends"]:
        for step in backend["steps"]:
            assert f"{step['requests_per_s']['value']:.2f}" in text
            for figures in step["latencies"].values():
                for figure in filter(lambda each: each["value"], figures.values()):
                    assert f"{1000 * figure['value']:.4g}"[:4] in text.replace(",", "")
    assert "1 in flight" in text
    assert "16 in flight" in text
    assert "RateLimitedError: 12 at 16 in flight; such as: slow down" in text


def test_what_the_result_says_of_itself_and_each_backend_is_told() -> None:
    bench = Bench("fast").step(closed(1))
    bench.result["objective"] = "ttft_s.p95<0.5"
    backend = bench.result["backends"][0]
    backend["steps"][0] |= {"objective": "missed", "goodput_per_s": 7.25, "remarks": ["beware"]}
    backend |= {
        "limits": "60 requests per minute",
        "connect": {"connect_s": 0.0125, "tls_s": 0.0425},
        "usd_per_million_tokens": {"input": 0.15, "output": 0.6},
        "search": {"in_words": "met at 8, missed at 9"},
        "capacity": asdict(Capacity(11.0, 8.0, True)) | {"in_words": "11.0 requests/s, from 8"},
        "left_out": ["64 in flight: its limits do not allow it"],
    }
    text = text_of(bench.page)

    for told in (
        *("2026-11-23 04:59:31 UTC", "2 cores, x86_64", "made-up prompts", "ttft_s.p95<0.5"),
        *("missed", "7.25", "1 in flight: beware", "60 requests per minute", "12.50 ms", "42.50"),
        *(
            "$0.15 in and $0.60 out",
            "met at 8, missed at 9",
            "11.0 requests/s, from 8",
            "64 in flight",
        ),
    ):
        assert told in text


@pytest.mark.parametrize(
    ("names", "title"),
    [
        (["a"], "Benchmark of a"),
        (["a", "b"], "Benchmark of a and b"),
        (["a", "b", "c"], "Benchmark of a, b and c"),
        (["a", "b", "c", "d"], "Benchmark of 4 backends"),
    ],
)
def test_the_title_names_backends_unless_they_are_many(names: list[str], title: str) -> None:
    page = parsed(Bench(*names).page)

    assert [each.text for each in (*page.iter("title"), *page.iter("h1"))] == [title, title]


def test_each_figure_is_defined(usual_page: str) -> None:
    text = text_of(usual_page)

    assert all(" ".join(meaning.split()) in text for meaning in DEFINITIONS.values())


def test_an_interrupted_benchmark_is_called_so(usual_page: str) -> None:
    bench = Bench("fast").step(closed(1))
    bench.result["interrupted"] = True

    assert "Interrupted" in text_of(bench.page)
    assert "Interrupted" not in text_of(usual_page)


def test_a_comparison_is_told_where_the_result_has_one() -> None:
    bench = Bench("fast").step(closed(1))
    bench.result["compared"] = [{"is_worse": True, "in_words": "e2e_s p50: +20 %, WORSE"}]

    assert "e2e_s p50: +20 %, WORSE" in text_of(bench.page)


def test_names_and_messages_of_strangers_stay_text() -> None:
    attack = "<script>alert('x')</script>&amp;\"><img src=x onerror=alert(1)>"
    bench = Bench(attack).step(closed(4), failing=0.2, error="BadError", message=attack)
    bench.result["workload"] = bench.result["backends"][0]["model"] = attack
    page = bench.page

    assert "<script" not in page
    assert text_of(page).count(attack) >= 4
    assert all(each.get("onerror") is None for each in parsed(page).iter())


def test_what_no_file_may_hold_is_shown_as_such() -> None:
    bench = Bench("fast").step(closed(4), failing=0.2, message="a\x1b[31m\ud800\u202eb\x00")
    page = bench.page

    assert "such as: a�[31m��b�" in text_of(page)
    page.encode()


def test_names_are_drawn_as_they_are() -> None:
    names = ["_hidden", "a$b$c", "{x}^2", "日本"]
    bench = Bench(*names)
    for backend in range(len(names)):
        bench.step(closed(4), backend=backend)
    pictures = bench.pictures

    assert legend_of(pictures["latency"]) == names
    assert b"a$b$c" in svg_of(pictures["latency"])


def test_a_percentile_of_too_few_requests_is_no_number() -> None:
    bench = Bench("fast").step(closed(1), num=20).step(closed(4), num=600)
    text, pictures = text_of(bench.page), bench.pictures

    assert "too few" in text
    tail = pictures["latency"].axes[1]
    assert tail.get_title("left") == "First token, p99"
    levels = {level for line in tail.lines for level in line.get_xdata() if level == level}
    assert levels == {4.0}
    assert all(value > 0 for line in tail.lines for value in line.get_ydata() if value == value)


@pytest.mark.parametrize(
    ("nums", "tail"), [((600, 600, 20), "p99"), ((600, 120, 20), "p95"), ((60, 20, 20), "p90")]
)
def test_the_tail_is_one_that_is_known_of_most_steps(nums: tuple[int, ...], tail: str) -> None:
    bench = Bench("fast")
    for level, num in enumerate(nums, start=1):
        bench.step(closed(level), num=num)

    titles = [axis.get_title("left") for axis in bench.pictures["latency"].axes]
    assert titles == [
        *("First token, p50", f"First token, {tail}"),
        *("Last byte, p50", f"Last byte, {tail}"),
    ]


def test_a_percentile_with_failures_in_it_may_be_never() -> None:
    bench = Bench("fast").step(closed(4), failing=0.3)
    text = text_of(bench.page)

    assert "ttft, failures for ever" in text
    assert "never" in text
    assert "inf" not in text.replace("in flight", "")


def test_a_step_in_which_everything_failed_is_told_with_its_load() -> None:
    bench = Bench("fast").step(closed(4), failing=1.0)
    *_, latencies = parsed(bench.page).iter("table")

    rows = [[" ".join("".join(cell.itertext()).split()) for cell in row] for row in latencies[2]]
    assert rows[0][:4] == ["4 in flight", "ttft, failures for ever", "120", "never"]
    assert all(len(row) == 6 for row in rows[1:])


def test_a_step_in_which_the_client_was_the_bottleneck_is_hollow() -> None:
    bench = Bench("fast").step(closed(1)).step(closed(4), client=BUSY)
    pictures = bench.pictures

    for name in ("latency", "throughput"):
        points = [
            (tuple(line.get_xdata()), line.get_markerfacecolor())
            for line in pictures[name].axes[0].lines
            if line.get_marker() == "o"
        ]
        assert points[1] == ((4.0,), "white")
        assert points[0][1] != "white"
        assert "hollow: this client was the bottleneck" in legend_of(pictures[name])
    assert "bottleneck" in text_of(bench.page)


def test_capacity_and_knee_are_drawn_where_they_were_found(usual: Bench) -> None:
    throughput = usual.pictures["throughput"]

    assert legend_of(throughput)[0] == "fast: 12.3/s from 8 in flight on"
    assert legend_of(throughput)[1] == "slow"
    drawn = [list(line.get_xdata()) for line in throughput.axes[0].lines]
    assert [8.4, 8.4, 16.0] in drawn


def test_every_axis_that_says_something_has_a_unit(usual: Bench) -> None:
    for figure in usual.pictures.values():
        labels = list(filter(None, labels_of(figure)))
        assert labels
        assert all(re.search(r"\(.+\)$", label) for label in labels)


@pytest.mark.parametrize(
    ("kind", "label"),
    [
        ("closed", "Concurrency (requests in flight)"),
        ("constant", "Rate of sending (requests/s)"),
        ("poisson", "Rate of sending (requests/s)"),
        ("ramp", "Rate at the end of the ramp (requests/s)"),
    ],
)
def test_load_is_labelled_as_what_it_is(kind: Any, label: str) -> None:
    pictures = Bench("fast").step(Load(kind, 5)).step(Load(kind, 20)).pictures

    assert label in labels_of(pictures["latency"])
    assert label in labels_of(pictures["throughput"])


def test_what_an_open_loop_has_sent_is_drawn_beside_what_was_answered() -> None:
    throughput = (
        Bench("fast").step(Load("poisson", 10)).step(Load("poisson", 50)).pictures["throughput"]
    )
    axis = throughput.axes[0]
    (sent,) = (line for line in axis.lines if line.get_label() == "the load's own rate")

    assert list(sent.get_xdata()) == list(sent.get_ydata())
    assert (sent.get_xdata()[0], sent.get_xdata()[-1]) == (10, pytest.approx(50))
    assert axis.get_ylim()[1] > 50
    assert "the load's own rate" in legend_of(throughput)


def test_loads_that_share_no_axis_have_pictures_of_their_own() -> None:
    bench = Bench("fast").step(Load("constant", 5)).step(closed(4)).step(Load("ramp", 5))
    pictures = bench.pictures

    assert {*pictures} == {
        *("latency", "throughput", "latency-open", "throughput-open", "timeline"),
    }
    assert legend_of(pictures["latency"]) == ["fast (closed loop)"]
    assert "Latency against load, open loop" in text_of(bench.page)


def test_levels_that_double_are_drawn_evenly_and_others_are_not() -> None:
    doubling = Bench("fast").step(closed(1)).step(closed(8)).pictures["latency"].axes[0]
    close = Bench("fast").step(closed(5)).step(closed(8)).pictures["latency"].axes[0]

    assert doubling.get_xscale() == "log"
    assert close.get_xscale() == "linear"


def test_six_backends_are_told_apart_without_colour() -> None:
    names = [f"backend-{number}" for number in range(6)]
    bench = Bench(*names)
    for backend in range(6):
        bench.step(closed(4), backend=backend)
    (legend,) = bench.pictures["latency"].legends
    styles = {(line.get_marker(), str(line.get_linestyle())) for line in legend.get_lines()}

    assert len(styles) == 6


def test_steps_with_failures_are_drawn_by_kind() -> None:
    bench = Bench("fast").step(closed(1)).step(closed(4), failing=0.25, error="TimedOutError")
    errors = bench.pictures["errors"]

    assert legend_of(errors) == ["TimedOutError"]
    assert [text.get_text() for text in errors.axes[0].get_yticklabels()] == ["fast, 4 in flight"]
    assert errors.axes[0].patches[0].get_width() == pytest.approx(25.0)
    assert "errors" not in Bench("fast").step(closed(1)).pictures


def test_of_very_many_steps_with_failures_it_is_said_how_many_are_shown() -> None:
    bench = Bench("fast")
    for level in range(1, MOST_FAILING_SHOWN + 3):
        bench.step(closed(level), num=10, failing=0.5)
    axis = bench.pictures["errors"].axes[0]

    assert len(axis.get_yticklabels()) == MOST_FAILING_SHOWN
    told = f"The first {MOST_FAILING_SHOWN} of {MOST_FAILING_SHOWN + 2} steps with failures"
    assert axis.get_title("left") == told


def test_a_step_in_which_nothing_was_answered_is_marked_on_the_lower_edge() -> None:
    bench = Bench("fast").step(closed(1), num=10).step(closed(8)).step(closed(64), failing=1.0)
    axis = bench.pictures["throughput"].axes[0]
    crosses = [line for line in axis.lines if line.get_marker() == "x"]

    assert [list(line.get_xdata()) for line in crosses] == [[64.0]]


def test_many_rows_are_shown_in_slices_that_keep_the_slowest() -> None:
    def rows(num: int) -> Any:
        for number in range(num):
            at_s = number / 1000
            took_s = 9.0 if number == num // 2 else 0.1
            yield {
                "backend": "fast",
                "load": "4 in flight",
                "intended_s": at_s,
                "ended_s": at_s + took_s,
                "error": "ServerError" if number == 10 else None,
            }

    bench = Bench("fast").step(closed(4))
    page = page_of(bench.result, rows(100_000))
    timeline = timeline_of(rows(100_000))
    (track,) = timeline.tracks
    assert timeline.edges is not None
    slices = track.slices(timeline.edges)

    assert len(page.encode()) < HTML_BYTES
    assert "Of 100,000 requests" in text_of(page)
    assert len(slices.at_s) < MOST_POINTS
    assert slices.slowest_s.max() == pytest.approx(9.0)
    assert slices.fastest_s.min() == pytest.approx(0.1)
    assert len(track.failure_slices(timeline.edges)) == 1


def test_no_slice_is_of_two_steps() -> None:
    bench = Bench("fast").step(closed(1), num=MOST_POINTS, e2e_s=0.1)
    bench.step(closed(4), num=MOST_POINTS, e2e_s=5.0)
    timeline = timeline_of(bench.rows)
    assert timeline.edges is not None
    slices = timeline.tracks[0].slices(timeline.edges)

    assert max(slices.slowest_s / slices.fastest_s) < 2


def test_time_in_which_others_have_their_turn_is_left_out() -> None:
    bench = Bench("fast", "slow")
    for level, backend in itertools.product((1, 4), (0, 1)):
        bench.step(closed(level), backend=backend)
    first, second = (track.spans for track in timeline_of(bench.rows).tracks)

    for spans in (first, second):
        assert [span.load for span in spans] == ["1 in flight", "4 in flight"]
        assert spans[0].from_s == 0
        assert spans[0].to_s == pytest.approx(spans[1].from_s)


def test_a_page_of_many_long_steps_stays_small() -> None:
    bench = Bench(*(f"backend-{number}:with-a-long-model-name" for number in range(6)))
    for level, backend in itertools.product((1, 2, 4, 8, 16, 32, 64, 128), range(6)):
        bench.step(closed(level), backend=backend, failing=0.1)

    assert len(bench.page.encode()) < HTML_BYTES


def test_the_same_result_makes_the_same_page(usual: Bench, usual_page: str) -> None:
    assert usual.page == usual_page


def test_settings_of_matplotlib_are_left_as_they_were(usual: Bench) -> None:
    before = dict(mpl.rcParams)
    svg_of(usual.pictures["latency"])

    assert dict(mpl.rcParams) == before


def test_pictures_are_written_as_files(tmp_path: Path, usual: Bench) -> None:
    written = write_pngs(tmp_path, usual.result, usual.rows)

    assert {path.name for path in written} == {
        *("latency.png", "throughput.png", "timeline.png", "errors.png"),
    }
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in written)


def test_without_the_extra_the_page_has_its_tables_and_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, usual: Bench
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    page = usual.page

    assert "pip install 'weave-async[plots]'" in text_of(page)
    assert not list(parsed(page).iter("img"))
    assert "16 in flight" in text_of(page)


def test_matplotlib_is_loaded_for_plots_only() -> None:
    code = "import sys, weave_async.bench.page; print('matplotlib' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert run.stdout.strip() == "False"


def test_a_single_step_is_a_page() -> None:
    bench = Bench("fast").step(closed(4), num=3)

    assert "too few" in text_of(bench.page)
    assert {*bench.pictures} == {"latency", "throughput", "timeline"}


def test_a_backend_that_has_only_a_problem_is_told_of_beside_the_others() -> None:
    bench = Bench("fast", "gone").step(closed(4))
    bench.result["backends"][1]["problem"] = "cannot connect to 127.0.0.1:1"
    text = text_of(bench.page)

    assert "cannot connect to 127.0.0.1:1" in text
    assert "4 in flight" in text


@pytest.mark.parametrize("names", [(), ("gone",), ("gone", "too")])
def test_a_result_without_steps_says_so(names: tuple[str, ...]) -> None:
    bench = Bench(*names)
    page = bench.page

    assert "No step was measured" in text_of(page)
    assert not list(parsed(page).iter("img"))
    assert bench.pictures == {}
