"""When what was asked, and how long it took: of few requests each, of many the slices of time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Row = Mapping[str, Any]
Floats = NDArray[np.float64]
MOST_POINTS = 1500
"""Of all backends together. Each takes about 120 bytes of the page."""
NUM_SLICES = 400


class Span(NamedTuple):
    """A step on the timeline: ``load`` in words, from its first send to its last byte."""

    load: str
    from_s: float
    to_s: float


class Slices(NamedTuple):
    """Requests that were meant to be sent within slices of time; ``at_s`` is the middle of each.
    Empty slices are left out.
    """

    at_s: Floats
    fastest_s: Floats
    median_s: Floats
    slowest_s: Floats


@dataclass(slots=True)
class Track:
    """One backend's requests: when each was meant to be sent, and its ``latency_s`` from then on.
    Failures have a time only.
    """

    name: str
    spans: list[Span] = field(default_factory=list)
    at_s: list[float] = field(default_factory=list)
    latency_s: list[float] = field(default_factory=list)
    failed_at_s: list[float] = field(default_factory=list)

    def add(self, row: Row) -> None:
        """Rows of a step follow each other."""
        load, at_s, ended_s = row["load"], row["intended_s"], row["ended_s"]
        if not self.spans or self.spans[-1].load != load:
            self.spans.append(Span(load, at_s, ended_s))
        elif at_s < self.spans[-1].from_s or ended_s > self.spans[-1].to_s:
            _, from_s, to_s = self.spans[-1]
            self.spans[-1] = Span(load, min(from_s, at_s), max(to_s, ended_s))
        if row["error"] is None:
            self.at_s.append(at_s)
            self.latency_s.append(ended_s - at_s)
        else:
            self.failed_at_s.append(at_s)

    def without_pauses(self) -> Track:
        """On a clock that stands still while other backends have their turn."""
        begins = np.asarray([span.from_s for span in self.spans])
        lengths = [span.to_s - span.from_s for span in self.spans]
        moved = np.asarray([0.0, *accumulate(lengths)])[:-1] - begins

        def told(at_s: Sequence[float]) -> list[float]:
            places = np.searchsorted(begins, np.asarray(at_s, float), side="right") - 1
            return [float(each) for each in at_s + moved[places]]

        spans = [
            Span(load, float(from_s + by_s), float(to_s + by_s))
            for (load, from_s, to_s), by_s in zip(self.spans, moved, strict=True)
        ]
        return Track(self.name, spans, told(self.at_s), self.latency_s, told(self.failed_at_s))

    def slices(self, edges: Floats) -> Slices:
        edges = self._with_begins(edges)
        place, latency_s = _places(self.at_s, edges), np.asarray(self.latency_s, float)
        order = np.lexsort((latency_s, place))
        place, latency_s = place[order], latency_s[order]
        found, first, num = np.unique(place, return_index=True, return_counts=True)
        return Slices(
            _middles(edges)[found],
            latency_s[first],
            latency_s[first + num // 2],
            latency_s[first + num - 1],
        )

    def failure_slices(self, edges: Floats) -> Floats:
        """The middles of those slices in which any request failed."""
        edges = self._with_begins(edges)
        return _middles(edges)[np.unique(_places(self.failed_at_s, edges))]

    def _with_begins(self, edges: Floats) -> Floats:
        """So that no slice is of two steps."""
        return np.union1d(edges, [span.from_s for span in self.spans])


@dataclass(frozen=True, slots=True)
class Timeline:
    """A track for each backend that was asked anything, each in seconds that it was under load.
    ``edges`` are those of the slices, where there are too many requests to show each.
    """

    tracks: Sequence[Track]
    edges: Floats | None

    @property
    def slice_s(self) -> float | None:
        return None if self.edges is None else float(self.edges[1] - self.edges[0])

    @property
    def num_requests(self) -> int:
        return sum(len(track.at_s) + len(track.failed_at_s) for track in self.tracks)


def timeline_of(rows: Iterable[Row]) -> Timeline:
    """Reads the rows once, and keeps a few numbers of each."""
    tracks: dict[str, Track] = {}
    for row in rows:
        name = row["backend"]
        if name not in tracks:
            tracks[name] = Track(name)
        tracks[name].add(row)
    timeline = Timeline([track.without_pauses() for track in tracks.values()], None)
    if timeline.num_requests <= MOST_POINTS:
        return timeline
    longest_s = max(track.spans[-1].to_s for track in timeline.tracks)
    num = max(1, NUM_SLICES // len(tracks))
    return Timeline(timeline.tracks, np.linspace(0.0, longest_s, num + 1))


def _places(at_s: Sequence[float], edges: Floats) -> NDArray[np.intp]:
    places = np.searchsorted(edges, np.asarray(at_s, float), side="right") - 1
    return np.clip(places, 0, len(edges) - 2)


def _middles(edges: Floats) -> Floats:
    return (edges[:-1] + edges[1:]) / 2
