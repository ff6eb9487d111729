"""``weave-async report``: a page of a run, where it goes, and what it leaves alone."""

from __future__ import annotations

import stat
import webbrowser
from pathlib import Path

import pytest

from weave_async.rundir import RunFolder

from .conftest import Program


@pytest.fixture
def run(weave_async: Program, recipe_file: Path) -> Path:
    assert weave_async("run", str(recipe_file), "-o", "out").exit_code == 0
    return Path("out")


def contents_of(run: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(run)): path.read_bytes()
        for path in run.rglob("*")
        if path.is_file() and path.suffix != ".html"
    }


def test_the_page_goes_into_the_run_folder_and_changes_nothing_there(
    weave_async: Program, run: Path
) -> None:
    before = contents_of(run)
    told = weave_async("report", str(run))
    assert (told.exit_code, told.out, told.err) == (0, "out/report.html\n", "")
    page = run / "report.html"
    assert page.read_text().startswith("<!DOCTYPE html>")
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    assert contents_of(run) == before
    assert weave_async("verify", str(run)).exit_code == 0


def test_a_run_goes_on_and_is_read_beside_its_page(
    weave_async: Program, run: Path, recipe_file: Path
) -> None:
    assert weave_async("report", str(run)).exit_code == 0
    assert weave_async("run", str(recipe_file), "-o", str(run)).exit_code == 0
    assert weave_async("compare", str(run), str(run)).exit_code == 0
    assert weave_async("export", str(run), "--format", "messages", "-o", "x.jsonl").exit_code == 0


def test_the_page_can_go_elsewhere_and_is_replaced_as_a_whole(
    weave_async: Program, run: Path
) -> None:
    page = Path("page.html")
    page.write_text("an earlier one")
    assert weave_async("report", str(run), "-o", str(page)).exit_code == 0
    assert "an earlier one" not in page.read_text()
    assert [path.name for path in Path().glob(".new-*")] == []


def test_a_link_is_replaced_and_what_it_leads_to_stays(weave_async: Program, run: Path) -> None:
    Path("precious").write_text("mine")
    (run / "report.html").symlink_to(Path("precious").absolute())
    assert weave_async("report", str(run)).exit_code == 0
    assert Path("precious").read_text() == "mine"
    assert not (run / "report.html").is_symlink()


@pytest.mark.parametrize(
    ("target", "advice"),
    [
        ("out/samples.jsonl", "is in the run's folder"),
        ("out/journal/000001.log", "is in the run's folder"),
        ("out", "is a folder"),
        ("nowhere/page.html", "there is no folder"),
    ],
)
def test_files_of_a_run_are_not_written_over(
    weave_async: Program, run: Path, target: str, advice: str
) -> None:
    before = contents_of(run)
    told = weave_async("report", str(run), "-o", target)
    assert told.exit_code == 2
    assert advice in told.err
    assert contents_of(run) == before


def test_two_runs_make_one_page_with_how_they_compare(
    weave_async: Program, run: Path, recipe_file: Path
) -> None:
    stricter = recipe_file.with_name("stricter.yaml")
    stricter.write_text(recipe_file.read_text().replace("min_words: 20", "min_words: 30"))
    assert weave_async("run", str(stricter), "-o", "other").exit_code == 0
    told = weave_async("report", str(run), "other")
    assert told.out == "other/comparison.html\n"
    page = Path("other/comparison.html").read_text()
    assert 'id="compared"' in page
    assert "output tokens per accepted row" in page
    assert RunFolder(Path("other")).comparison.exists()


def test_a_run_that_cannot_be_compared_is_shown_beside_the_other(
    weave_async: Program, run: Path
) -> None:
    killed = Path("killed")
    (killed / "journal").mkdir(parents=True)
    (killed / "samples.jsonl.part").write_bytes((run / "samples.jsonl").read_bytes()[:-20])
    told = weave_async("report", str(run), str(killed), "-o", "both.html")
    assert told.exit_code == 0
    assert "not compared figure by figure" in Path("both.html").read_text()


def test_no_run_is_an_error_in_words(weave_async: Program, tmp_path: Path) -> None:
    told = weave_async("report", str(tmp_path / "nowhere"))
    assert told.exit_code == 73
    assert "holds no run" in told.err
    assert not (tmp_path / "nowhere").exists()


def test_open_shows_the_page_in_the_browser(
    weave_async: Program, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda address: bool(opened.append(address)) or True)
    assert weave_async("report", str(run), "--open").exit_code == 0
    assert opened == [(run / "report.html").absolute().as_uri()]


def test_a_machine_without_a_browser_is_told_where_the_page_is(
    weave_async: Program, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webbrowser, "open", lambda address: False)
    told = weave_async("report", str(run), "--open")
    assert told.exit_code == 0
    assert "open out/report.html yourself" in told.err
