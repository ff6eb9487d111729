"""Few-shot examples: rows of a source, drawn anew for each prompt.

Which rows are kept of a large source, and which of them a prompt gets, depends on the seed and on
the rows alone: not on their order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from heapq import heappush, heappushpop

from weave_async.errors import InputError
from weave_async.interfaces import Source
from weave_async.records import BadRow, Row
from weave_async.rows import digest_of
from weave_async.seeding import rng_for, seed_for

MOST_ROWS_KEPT = 10_000
"""They stay in memory, each as it was read."""


class ExamplePool:
    """The rows that examples are drawn from. Equal rows count as one.

    Of more than ``MOST_ROWS_KEPT`` rows, those are kept whose digest is nearest to a place that the
    seed has drawn: a fair sample, and the same one in whatever order the rows stand.
    """

    def __init__(
        self,
        source: Source,
        *,
        run_seed: int,
        num: int,
        name: str,
        skips_bad_rows: bool,
        covers: bool = False,
    ) -> None:
        """Reads all of ``source``. ``num`` examples go with each prompt; where the pool ``covers``,
        prompt after prompt shows others, until all were shown.
        """
        self._covers = covers
        self._order: list[int] = []
        self._run_seed = run_seed
        self._num = num
        self._name = name
        rows = _nearest(_good_rows(source, skips_bad_rows), seed_for(run_seed, "", 0, "examples"))
        self._digests = sorted(rows)
        self._rows = [rows[digest] for digest in self._digests]
        self._own = frozenset(rows) if len(rows) == num else frozenset()
        if len(rows) < num:
            raise InputError(
                f"prompts.examples.num is {num}, and {name} has {len(rows)} different rows to "
                "choose from"
            )

    def __repr__(self) -> str:
        return f"<ExamplePool {self._num} of {len(self._rows)} rows of {self._name}>"

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows)

    @property
    def digest(self) -> str:
        """Names the rows: others make other prompts."""
        joined = b"".join(digest.to_bytes(8, "big") for digest in self._digests)
        return blake2b(joined, digest_size=8).hexdigest()

    def require_enough_for(self, digest: int, origin: str) -> None:
        """Raise ``InputError`` where there are too few beside this very row."""
        if digest in self._own:
            raise InputError(
                f"{origin}: prompts.examples.num is {self._num}, and {self._name} has "
                f"{self._num - 1} different rows beside this one to choose from"
            )

    def drawn_for(
        self,
        digest: int,
        prompt_id: str,
        sample_index: int,
        among: Sequence[int] | None = None,
        rank: int = 0,
    ) -> list[Row]:
        """Different rows, and none of them the one with ``digest``; of those at the places
        ``among``, of which there must be one more than is wanted, or of all. ``rank`` is how many
        prompts were drawn for before: a pool that covers goes on from there.
        """
        places = range(len(self._rows)) if among is None else among
        num = min(self._num + 1, len(places))
        if self._covers:
            numbers = self._next_in_turn(places, rank, num)
        else:
            rng = rng_for(self._run_seed, prompt_id, sample_index, "examples")
            numbers = rng.sample(places, num)
        others = [number for number in numbers if self._digests[number] != digest]
        return [self._rows[number] for number in others[: self._num]]

    def _next_in_turn(self, places: Sequence[int], rank: int, num: int) -> list[int]:
        """Round after round through all places, in an order drawn by the seed."""
        if len(self._order) != len(places):
            rng = rng_for(self._run_seed, "", 0, "examples in turn")
            self._order = rng.sample(range(len(places)), len(places))
        first = rank * self._num
        first += first // len(places)  # else each row would meet the same ones again
        return [places[self._order[(first + each) % len(places)]] for each in range(num)]


def _good_rows(source: Source, skips_bad_rows: bool) -> Iterator[Row]:
    for row in source.rows():
        if not isinstance(row, BadRow):
            yield row
        elif not skips_bad_rows:
            raise InputError(
                f"{row.origin}: {row.reason}. Mend the row, or leave such rows out with "
                "--on-bad-row skip"
            )


def _nearest(rows: Iterator[Row], place: int) -> dict[int, Row]:
    """``MOST_ROWS_KEPT`` rows by their digests: the nearest to ``place``, by exclusive or."""
    kept: dict[int, Row] = {}
    furthest: list[int] = []  # a heap of negated distances
    for row in rows:
        digest = digest_of(row.values)
        if digest in kept:
            continue
        kept[digest] = row
        if len(furthest) < MOST_ROWS_KEPT:
            heappush(furthest, -(digest ^ place))
        else:
            dropped = -heappushpop(furthest, -(digest ^ place))
            del kept[dropped ^ place]
    return kept
