"""Gantt chart of a study: when which arm's attempts ran, and which of them were interrupted."""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from analysis import style
from analysis.figures._parts import add_notes, colour, empty_figure, in_order

_BAND_IN, _FRAME_IN, _FILLED = 0.3, 1.05, 0.8
_SCALES = ((1.0, "s"), (60.0, "min"), (3600.0, "h"), (86400.0, "days"))
_LIGHTER = {"tune": 0.55}  # share of white


def timeline(attempts: pd.DataFrame, *, colours: Mapping[str, str]) -> Figure:
    """Draw a band per arm, and in it a bar per attempt, stacked where attempts ran at the same time.

    Args:
        attempts: see `analysis.timeline.attempts_frame`.
        colours: colour of each arm, in the order they are listed; arms it does not know come first, in grey.
    """
    with style.settings():
        known = attempts[np.isfinite(attempts["start_t"].astype(float)) & np.isfinite(attempts["end_t"].astype(float))]
        if known.empty:
            return empty_figure("no attempt says when it ran" if len(attempts) else "no attempt has started")
        arms = in_order(known["arm"], colours)
        arms.sort(key=lambda arm: arm in colours)
        figure = Figure(figsize=(style.DOUBLE_IN, _FRAME_IN + _BAND_IN * len(arms)), layout="constrained")
        axes = figure.add_subplot()
        first = float(known["start_t"].min())
        divisor, unit = _scale(float(known["end_t"].max()) - first)
        for band, arm in enumerate(arms):
            own = known[known["arm"] == arm].sort_values(["start_t", "run_id", "attempt"])
            _band(axes, band, own, first, divisor, colour(colours, arm))
        axes.set_yticks(range(len(arms)), [style.short(arm) for arm in arms], fontsize=7)
        axes.set_ylim(len(arms) - 0.5, -0.5)
        axes.set_xlim(left=0)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel(f"time since the first attempt started ({unit})")
        figure.legend(handles=_legend(known), loc="outside upper center", ncols=4)
        add_notes(figure, _notes(known))
    return figure


def _band(axes: Axes, band: int, own: pd.DataFrame, first: float, divisor: float, shade: str) -> None:
    starts = (own["start_t"].to_numpy(float) - first) / divisor
    lengths = (own["end_t"] - own["start_t"]).to_numpy(float) / divisor
    lanes = _lanes(starts, starts + lengths)
    height = _FILLED / (max(lanes) + 1)
    centres = band - _FILLED / 2 + height * (np.array(lanes) + 0.5)
    faces = [style.lighter(shade, _LIGHTER.get(phase, 0.0)) for phase in own["phase"]]
    axes.barh(centres, lengths, left=starts, height=0.85 * height, color=faces, edgecolor="white", linewidth=0.2)
    broken = ~own["is_outcome"].to_numpy(bool)
    if broken.any():
        at = (starts + lengths)[broken], centres[broken]
        axes.plot(*at, "x", color="black", markersize=3.5, markeredgewidth=0.9, clip_on=False, zorder=3)


def _lanes(starts: np.ndarray, ends: np.ndarray) -> list[int]:
    """The lowest free lane for each of some intervals that are sorted by their starts."""
    free: list[int] = []
    busy: list[tuple[float, int]] = []
    lanes, num_lanes = [], 0
    for start, end in zip(starts, ends, strict=True):
        while busy and busy[0][0] <= start:
            heapq.heappush(free, heapq.heappop(busy)[1])
        if free:
            lane = heapq.heappop(free)
        else:
            lane, num_lanes = num_lanes, num_lanes + 1
        heapq.heappush(busy, (end, lane))
        lanes.append(lane)
    return lanes


def _scale(span_s: float) -> tuple[float, str]:
    """The largest unit of which the span has more than two."""
    return next(((s, name) for s, name in reversed(_SCALES) if span_s > 2 * s), _SCALES[0])


def _legend(known: pd.DataFrame) -> list[Patch | Line2D]:
    names = [name for name in ("prepare", "tune", "confirm") if name in set(known["phase"])]
    patches: list[Patch | Line2D] = [
        Patch(color=style.lighter(style.INK, _LIGHTER.get(n, 0.0)), label="bases" if n == "prepare" else n)
        for n in names
        if n != "prepare"
    ]
    if (~known["is_outcome"].astype(bool)).any():
        cross = Line2D(
            [], [], linestyle="none", marker="x", color="black", markersize=3.5, label="interrupted or failed"
        )
        patches.append(cross)
    return patches


def _notes(known: pd.DataFrame) -> list[str]:
    counts = known["ending"].value_counts()
    endings = ", ".join(f"{count} {style.short(str(name))}" for name, count in sorted(counts.items()))
    busy = (known["end_t"] - known["start_t"]).sum() / max(float(known["end_t"].max() - known["start_t"].min()), 1e-9)
    mean = f"{busy:.1f} at a time on average" if math.isfinite(busy) else ""
    return [f"{len(known)} attempts at {known['run_id'].nunique()} runs: {endings}; {mean}"]
