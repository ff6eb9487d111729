"""The table of server quirks has 46 rows, and each has a test that carries its number."""

from __future__ import annotations

import re
from pathlib import Path

NUM_ROWS = 46


def test_every_row_of_the_table_has_a_test() -> None:
    sources = [path.read_text() for path in Path(__file__).parent.glob("test_*.py")]
    numbers = {int(n) for s in sources for n in re.findall(r"def test_quirk_(\d\d)_\w+\(", s)}
    assert numbers == set(range(1, NUM_ROWS + 1))
