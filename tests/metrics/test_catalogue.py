"""The catalogue, what measures its metrics, and its page tell the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from weave_async.metrics.catalogue import CATALOGUE
from weave_async.metrics.catalogue_page import with_table
from weave_async.metrics.measuring import MEASURES

PAGE = Path(__file__).parents[2] / "docs/metrics.md"


def test_each_metric_has_a_function_and_no_function_lacks_its_metric() -> None:
    assert list(MEASURES) == list(CATALOGUE)


def test_the_page_of_metrics_has_the_catalogue_as_it_is() -> None:
    page = PAGE.read_text()
    assert with_table(page) == page, "run: make docs"
    assert all(f"`{name}`" in page for name in CATALOGUE)


def test_the_catalogue_loads_without_numpy() -> None:
    code = "import sys, weave_async.metrics.catalogue; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
