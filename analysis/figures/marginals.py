"""Marginal histograms of the projections, before and after continuing."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import style
from analysis.figures._parts import add_notes, colour, empty_figure, in_order

_PER_ROW, _HEIGHT_IN, _BAND = 3, 1.55, 0.25


def marginals(
    histograms: pd.DataFrame,
    *,
    before: str | None,
    colours: Mapping[str, str],
    nothing: str = "there are no histograms of projections",
) -> Figure:
    """Draw one panel per arm: the density after the normal map, and that of `before` as an outline behind it.

    Args:
        histograms: see `analysis.embeddings.marginals_frame`.
        before: the arm that is not continued; None draws no outline.
        colours: colour of each arm, in the order they are listed.
        nothing: what is written where there is nothing to draw; see `analysis.reasons`.
    """
    with style.settings():
        if histograms.empty:
            return empty_figure(nothing)
        every = in_order(histograms["arm"], colours)
        arms = [arm for arm in every if arm != before] or every
        num_columns = min(_PER_ROW, len(arms))
        num_rows = math.ceil(len(arms) / num_columns)
        figure = Figure(figsize=(style.DOUBLE_IN, 0.4 + _HEIGHT_IN * num_rows), layout="constrained")
        grid = figure.subplots(num_rows, num_columns, sharex=True, sharey=True, squeeze=False)
        start = histograms[histograms["arm"] == before].sort_values("left")
        for axes, arm in zip(grid.flat, arms, strict=False):
            own = histograms[histograms["arm"] == arm].sort_values("left")
            axes.axhline(1, color=style.INK, linewidth=0.5, linestyle=":")
            if len(start) and arm != before:
                _outline(axes, start, colour(colours, str(before)))
            _histogram(axes, own, colour(colours, arm))
            axes.set_title(f"{style.short(arm)}  (runs: {own['num_runs'].iloc[0]})", fontsize=7)
            axes.set_xlim(0, 1)
            axes.set_ylim(bottom=0)
        for axes in grid.flat[len(arms) :]:
            axes.set_visible(False)
        for axes in grid[-1]:
            axes.set_xlabel("Φ(projection)", fontsize=7)
        figure.supylabel("density", fontsize=8)
        outline = f"; dashed: {style.short(str(before))}, not continued" if len(start) else ""
        what = "marginals of the projections after the normal map: median and 10–90 % range over the dimensions"
        add_notes(figure, [f"{what}{outline}; dotted: uniform, the most entropy there can be"])
    return figure


def _histogram(axes: Axes, rows: pd.DataFrame, shade: str) -> None:
    edges = _edges(rows)
    axes.stairs(rows["median"].to_numpy(float), edges, color=shade, linewidth=1.2, zorder=3)
    low, high = rows["low"].to_numpy(float), rows["high"].to_numpy(float)
    axes.stairs(high, edges, baseline=low, fill=True, color=shade, alpha=_BAND, linewidth=0)


def _outline(axes: Axes, rows: pd.DataFrame, shade: str) -> None:
    axes.stairs(rows["median"].to_numpy(float), _edges(rows), color=shade, linewidth=0.9, linestyle=(0, (3, 1.5)))


def _edges(rows: pd.DataFrame) -> np.ndarray:
    return np.array([*rows["left"], rows["right"].iloc[-1]], dtype=float)
