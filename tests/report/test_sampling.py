"""Which rows are shown: some of each kind, the same ones each time."""

from __future__ import annotations

import json
import random

from hypothesis import given
from hypothesis import strategies as st

from weave_async.report.row import ReportRow
from weave_async.report.sampling import Place, StratifiedSample, allotted

from .runs import row, rows

SIZES = st.dictionaries(st.tuples(st.text(max_size=3)), st.integers(1, 10_000), max_size=40)
MANY = [
    *rows(3_000),
    *rows(40, model="rare"),
    *rows(900, why=("validation", "length", "too_short")),
    row("only-0", why=("selection", "exact", "duplicate")),
    row("lost-0", why=("server", "500")),
]


def shown(told: list[dict[str, object]], size: int, seed: int = 0) -> list[Place]:
    sample = StratifiedSample(size, seed)
    for number, each in sorted(enumerate(told), key=lambda _: random.random()):
        ending = "rejected" if "stage" in each else "failed" if "error" in each else "written"
        parsed = ReportRow.of(json.dumps(each).encode(), ending)  # type: ignore[arg-type]
        sample.offer(parsed, Place("samples", number))
    return sample.places()


@given(SIZES, st.integers(0, 3_000))
def test_as_many_are_allotted_as_there_is_room_for(
    sizes: dict[tuple[str, ...], int], total: int
) -> None:
    rooms = allotted(sizes, total)
    assert sum(rooms.values()) == min(total, sum(sizes.values()))
    assert all(0 <= rooms[key] <= sizes[key] for key in sizes)
    if total >= 2 * len(sizes):
        assert all(room >= 1 for room in rooms.values())


def test_the_rarest_reason_and_model_are_there() -> None:
    places = {place.offset for place in shown(MANY, 100)}
    told = [MANY[place] for place in places]
    assert len(told) == 100
    assert {each["lineage"]["model"] for each in told} == {"m", "rare"}
    assert {each.get("rule") for each in told} == {None, "length", "exact"}
    assert sum("error" in each for each in told) == 1


def test_the_same_seed_draws_the_same_rows_in_any_order() -> None:
    assert shown(MANY, 100) == shown(MANY, 100)
    assert shown(MANY, 100) != shown(MANY, 100, seed=1)


def test_all_rows_are_shown_where_there_is_room() -> None:
    assert len(shown(MANY, len(MANY))) == len(MANY)


def test_any_number_of_kinds_is_held_in_bounds() -> None:
    many = [row(f"p{n}-0", why=("validation", "rule", f"reason {n}")) for n in range(1_000)]
    assert len(shown(many, 200)) == 200
