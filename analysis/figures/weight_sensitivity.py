"""Heat map of what the searches found over the weights of each criterion."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from numpy.typing import NDArray

from analysis import style
from analysis.figures._parts import add_notes, empty_figure

_PER_ROW, _HEIGHT_IN, _EMPTY = 3, 1.9, "#F2F2F2"
_NOTE = (
    "mean over a cell's trials, whose further parameters vary; dot: trial, ×: trial without an objective, star: winner"
)
_COLOURS = "cividis"  # made for colour-blind readers, and as monotonous in grey


def weight_sensitivity(
    points: pd.DataFrame, *, objective: str, num_bins: int = 5, nothing: str = "there is no trial with an objective"
) -> Figure:
    """Draw one panel per arm: the mean objective of the trials in each cell of a grid over two parameters.

    Cells without a trial are light grey. Dots are trials, crosses those without an objective, the star is the winner.
    An arm with one parameter has a row instead of a grid. All panels share the scale of colours.

    Args:
        points: see `analysis.sensitivity.sensitivity_frame`.
        objective: what the searches optimised, for the scale.
        num_bins: cells along each axis, equally wide on the scale that was searched.
        nothing: what is written where there is nothing to draw; see `analysis.reasons`.
    """
    with style.settings():
        known = points[np.isfinite(points["objective"].astype(float)) & np.isfinite(points["x"].astype(float))]
        if known.empty:
            return empty_figure(nothing)
        arms = list(dict.fromkeys(points["arm"]))
        num_columns = min(_PER_ROW, len(arms))
        num_rows = math.ceil(len(arms) / num_columns)
        figure = Figure(figsize=(style.DOUBLE_IN, 0.3 + _HEIGHT_IN * num_rows), layout="constrained")
        grid = figure.subplots(num_rows, num_columns, squeeze=False)
        # From the cells' means and not the trials, whose range is wider: all of the scale is used.
        cells = {arm: _cells(points[points["arm"] == arm], num_bins) for arm in arms}
        means = np.concatenate([mean[np.isfinite(mean)] for _, _, mean in cells.values()])
        room = 0.0 if np.ptp(means) else 0.5
        norm = Normalize(means.min() - room, means.max() + room)
        for axes, arm in zip(grid.flat, arms, strict=False):
            _panel(axes, points[points["arm"] == arm], cells[arm], norm)
            axes.set_title(style.short(arm), fontsize=7.5)
        for axes in grid.flat[len(arms) :]:
            axes.set_visible(False)
        figure.colorbar(ScalarMappable(norm, _COLOURS), ax=grid, label=f"{style.short(objective)} (%)", aspect=30)
        add_notes(figure, [_NOTE])
    return figure


_Cells = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


def _cells(own: pd.DataFrame, num_bins: int) -> _Cells:
    """Edges along x and y, and mean objectives, shape (cells along y, cells along x), NaN without a trial."""
    x_edges = _edges(own, "x", num_bins)
    y_edges = _edges(own, "y", num_bins) if own["y_name"].iloc[0] else np.array([0.0, 1.0])
    columns, rows = _places(own["x"], x_edges), _places(own["y"].where(own["y_name"] != "", 0.5), y_edges)
    means = np.full((len(y_edges) - 1, len(x_edges) - 1), math.nan)
    placed = own.assign(row=rows, column=columns)
    placed = placed[np.isfinite(placed["objective"]) & (rows >= 0) & (columns >= 0)]
    for (row, column), value in placed.groupby(["row", "column"])["objective"].mean().items():
        means[row, column] = value
    return x_edges, y_edges, means


def _edges(own: pd.DataFrame, axis: str, num_bins: int) -> NDArray[np.float64]:
    low, high, log = (own[f"{axis}_{name}"].iloc[0] for name in ("low", "high", "log"))
    edges: NDArray[np.float64] = (np.geomspace if log else np.linspace)(low, high, num_bins + 1)
    return edges


def _places(values: pd.Series, edges: NDArray[np.float64]) -> NDArray[np.intp]:
    """Cell of each value, the outermost ones for values beyond them; -1 where there is no value."""
    numbers = values.to_numpy(float)
    places = np.clip(np.searchsorted(edges, numbers, side="right") - 1, 0, len(edges) - 2)
    return np.where(np.isfinite(numbers), places, -1)


def _panel(axes: Axes, own: pd.DataFrame, cells: _Cells, norm: Normalize) -> None:
    x_edges, y_edges, means = cells
    axes.set_facecolor(_EMPTY)
    axes.pcolormesh(x_edges, y_edges, np.ma.masked_invalid(means), cmap=_COLOURS, norm=norm, edgecolors="white", lw=0.5)
    y = own["y"].where(own["y_name"] != "", 0.5)
    ended_well, best = np.isfinite(own["objective"]), own["is_winner"].astype(bool)
    for chosen, marker, size in ((ended_well & ~best, "o", 5), (~ended_well, "x", 14), (best, "*", 45)):
        rim = {"edgecolors": "black", "linewidths": 0.5} if marker != "x" else {"linewidths": 0.9}
        face = "black" if marker == "x" else "white"
        axes.scatter(own["x"][chosen], y[chosen], s=size, c=face, marker=marker, zorder=3, **rim)
    for name, axis, edges in (("x", axes.xaxis, x_edges), ("y", axes.yaxis, y_edges)):
        if own[f"{name}_log"].iloc[0]:
            axes.set(**{f"{name}scale": "log"})
        axis.set_major_locator(FixedLocator([edges[0], edges[len(edges) // 2], edges[-1]]))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.2g}"))
        axis.set_minor_locator(NullLocator())
        axis.set_label_text(str(own[f"{name}_name"].iloc[0]).rpartition(".")[2], fontsize=7)
        axis.set_tick_params(labelsize=6.5)
    if not own["y_name"].iloc[0]:
        axes.set_yticks([])
    axes.set_xlim(x_edges[0], x_edges[-1])
    axes.set_ylim(y_edges[0], y_edges[-1])
