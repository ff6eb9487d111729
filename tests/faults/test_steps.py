"""P2: killed at each step on the disk; afterwards the outputs are old or new, never neither."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from invariants import read_rows

from .site import Site

KILLING = Path(__file__).with_name("killing.py")
OLD_ROWS, NEW_ROWS = 6, 10


def die_everywhere(site: Site, *, over: Path) -> list[Path]:
    """Run the site's recipe once for each step, each in a folder of its own."""
    folders = site.folder / "deaths"
    folders.mkdir()
    arguments = [str(KILLING), str(folders), str(over), "recipe.yaml"]
    ended = site.start_command([sys.executable, *arguments]).end()
    assert ended.exit_code == 0, ended.err
    num_steps = int(ended.out)
    assert num_steps > 15  # the recipe, the journal, three outputs and the manifest: open to rename
    return [folders / str(step) for step in range(1, num_steps + 1)]


def continue_in(site: Site, folder: Path) -> None:
    site.move_to(folder)
    ended = site.call()
    assert ended.exit_code == 0, f"{folder.name}: {ended.err}"
    assert len(read_rows(folder / "samples.jsonl")) == NEW_ROWS
    site.check()


@pytest.fixture
def quiet_site(site: Site) -> Site:
    site.is_replayed = False  # continuing is the replay here, and there are dozens of it
    return site


def test_killed_at_any_step_of_a_first_run_it_completes_afterwards(quiet_site: Site) -> None:
    site = quiet_site
    site.write_rows(NEW_ROWS)
    site.arguments()
    for folder in die_everywhere(site, over=site.folder / "nothing"):
        for path in folder.glob("*.jsonl"):  # without .part: whole, or not there
            assert len(read_rows(path)) in (0, NEW_ROWS)
        continue_in(site, folder)


def test_killed_at_any_step_of_a_later_run_the_outputs_are_old_or_new(quiet_site: Site) -> None:
    site = quiet_site
    site.write_rows(OLD_ROWS)
    assert site.call().exit_code == 0
    before, old = site.out, site.outputs()
    site.write_rows(NEW_ROWS)
    continue_in(site, shutil.copytree(before, site.folder / "whole"))
    new = site.outputs()
    num_old = num_new = 0
    for folder in die_everywhere(site, over=before):
        site.move_to(folder)
        for name, content in site.outputs().items():
            assert content in (old[name], new[name]), f"step {folder.name}: {name} is neither"
        num_old += site.outputs() == old
        num_new += site.outputs() == new
        continue_in(site, folder)
        assert site.outputs() == new
    assert num_old > 0
    assert num_new > 0
