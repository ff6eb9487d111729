"""When what was asked, and how long it took: of few requests each, of many the slices of time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Row = Mapping[str, Any]
Floats = NDArray[np.float64]
MOST_POINTS = 2000
"""Of all backends together. Each takes about 120 bytes of the page."""
MOST_SLICES = 600


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
    """One backend's requests, in seconds since the benchmark began: when each was meant to be sent,
    and its ``latency_s`` from then on. Failures have a time only.
    """

    name: str
    spans: list[Span] = field(default_factory=list)
    at_s: list[float] = field(default_factory=list)
    latency_s: list[float] = field(default_factory=list)
    failed_at_s: list[float] = field(default_factory=list)

    def add(self, row: Row) -> None:
        begun_s, ended_s = row["intended_s"], row["ended_s"]
        if self.spans and self.spans[-1].load == row["load"]:
            last = self.spans[-1]
            self.spans[-1] = Span(last.load, min(last.from_s, begun_s), max(last.to_s, ended_s))
        else:
            self.spans.append(Span(row["load"], begun_s, ended_s))
        if row["error"] is None:
            self.at_s.append(begun_s)
            self.latency_s.append(ended_s - begun_s)
        else:
            self.failed_at_s.append(begun_s)

    def slices(self, edges: Floats) -> Slices:
        middles = (edges[:-1] + edges[1:]) / 2
        place = _places(self.at_s, edges)
        latency_s = np.asarray(self.latency_s, float)
        order = np.lexsort((latency_s, place))
        place, latency_s = place[order], latency_s[order]
        found, first, num = np.unique(place, return_index=True, return_counts=True)
        return Slices(
            middles[found],
            latency_s[first],
            latency_s[first + num // 2],
            latency_s[first + num - 1],
        )

    def failure_slices(self, edges: Floats) -> Floats:
        """The middles of those slices in which any request failed."""
        middles = (edges[:-1] + edges[1:]) / 2
        return np.asarray(middles[np.unique(_places(self.failed_at_s, edges))], float)


@dataclass(frozen=True, slots=True)
class Timeline:
    """A track for each backend that was asked anything. ``edges`` are those of the slices, where
    there are too many requests to show each.
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
    timeline = Timeline(list(tracks.values()), None)
    if timeline.num_requests <= MOST_POINTS:
        return timeline
    spans = [span for track in timeline.tracks for span in track.spans]
    first_s, last_s = min(span.from_s for span in spans), max(span.to_s for span in spans)
    # Backends take turns: each is busy for a part of the time only.
    busy_s = sum(span.to_s - span.from_s for span in spans)
    num = ceil(MOST_SLICES * (last_s - first_s) / busy_s) if busy_s else 1
    num = min(num, 100 * MOST_SLICES)
    return Timeline(timeline.tracks, np.linspace(first_s, last_s, num + 1))


def _places(at_s: Sequence[float], edges: Floats) -> NDArray[np.intp]:
    places = np.searchsorted(edges, np.asarray(at_s, float), side="right") - 1
    return np.clip(places, 0, len(edges) - 2)
