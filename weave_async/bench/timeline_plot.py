"""The picture of a timeline. Needs ``[plots]``."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from weave_async.bench.drawing import DARK, draw_bars, draw_crosses, figure_for, scale
from weave_async.bench.series import short
from weave_async.bench.timeline import Timeline, Track


def timeline_figure(timeline: Timeline) -> Figure:
    tracks = timeline.tracks
    figure = figure_for(1.1 + 1.5 * len(tracks) if len(tracks) > 1 else 3.2)
    axes = figure.subplots(len(tracks), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    latencies_ms = [1000 * value for track in tracks for value in track.latency_s]
    for axis, track in zip(axes, tracks, strict=True):
        scale(axis, latencies_ms, latencies_ms, most_ticks=5 if len(tracks) > 1 else 9)
        axis.grid(axis="x", visible=False)
        axis.set_ylabel("Latency (ms)")
        _draw_spans(axis, track, timeline)
        if timeline.edges is None:
            _draw_points(axis, track)
        else:
            _draw_slices(axis, track, timeline)
    axes[-1].set_xlabel("Time under load (s)")
    return figure


def _draw_spans(axis: Axes, track: Track, timeline: Timeline) -> None:
    """What load it was under, and for how long: every other step shaded, the number above it."""
    last_s = max(each.spans[-1].to_s for each in timeline.tracks) or 1.0
    axis.set_xlim(-0.01 * last_s, 1.01 * last_s)
    free_s = -math.inf
    for place, span in enumerate(track.spans):
        shade = "#efefef" if place % 2 else "#f8f8f8"
        axis.axvspan(span.from_s, span.to_s, color=shade, linewidth=0, zorder=0)
        axis.axvline(span.from_s, color="#bbbbbb", linewidth=0.7, zorder=0.5)
        number = span.load.split()[0]
        if span.from_s >= free_s:
            label = axis.annotate(
                number,
                (span.from_s, 1),
                xycoords=axis.get_xaxis_transform(),
                xytext=(0, 6),
                textcoords="offset points",
                fontsize=7,
                color="#555555",
            )
            label.set_in_layout(False)  # it lies within the room of the title
            free_s = span.from_s + (0.012 * len(number) + 0.01) * last_s
    axis.set_title(short(track.name), pad=17)


def _draw_points(axis: Axes, track: Track) -> None:
    latency_ms = [1000 * value for value in track.latency_s]
    axis.plot(track.at_s, latency_ms, ".", color=DARK, markersize=2.5)
    draw_crosses(axis, track.failed_at_s, at=1.0)


def _draw_slices(axis: Axes, track: Track, timeline: Timeline) -> None:
    """A bar from the fastest to the slowest of each slice, and a dot for the one in the middle."""
    assert timeline.edges is not None
    if track.at_s:
        slices = track.slices(timeline.edges)
        ends_ms = 1000 * slices.fastest_s, 1000 * slices.slowest_s
        draw_bars(axis, slices.at_s, *ends_ms, {"color": "#8fb8d8"})
        axis.plot(slices.at_s, 1000 * slices.median_s, ".", color=DARK, markersize=2.5)
    draw_crosses(axis, list(track.failure_slices(timeline.edges)), at=1.0)
