"""Slope plot: every unit's accuracy without and with what a contrast adds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis import style
from analysis.figures._parts import add_note, add_notes, colour, empty_figure

_PER_ROW, _HEIGHT_IN = 4, 1.9
_FALLS = (0, (3, 1.5))


def slopes(
    values: pd.DataFrame,
    pairs: Sequence[tuple[str, str]],
    *,
    metric: str,
    colours: Mapping[str, str],
    unit: str = "base",
    nothing: str = "there is no contrast",
) -> Figure:
    """Draw one panel per pair, one line per unit from the right arm's value to the left arm's.

    Args:
        values: `arm`, `unit`, `value`; see `analysis.accuracies.units_frame`. Units that either arm lacks are counted
            in the panel's title and not drawn.
        pairs: (left, right) arms, as contrasts are declared.
        metric: name for the axis.
        colours: colour of each arm; a panel has that of its left arm.
        unit: what a line is, `base` or `continuation`.
        nothing: what is written where there is nothing to draw; see `analysis.reasons`.
    """
    with style.settings():
        if not pairs:
            return empty_figure(nothing)
        num_columns = min(_PER_ROW, len(pairs))
        num_rows = math.ceil(len(pairs) / num_columns)
        figure = Figure(figsize=(style.DOUBLE_IN, 0.3 + _HEIGHT_IN * num_rows), layout="constrained")
        grid = figure.subplots(num_rows, num_columns, sharey=True, squeeze=False)
        table = values.pivot_table(index="unit", columns="arm", values="value", dropna=False)
        for axes, (left, right) in zip(grid.flat, pairs, strict=False):
            _panel(axes, table.reindex(columns=[right, left]), colour(colours, left))
        for axes in grid.flat[len(pairs) :]:
            axes.set_visible(False)
        for row in grid:
            row[0].set_ylabel("accuracy (%)")
        add_notes(figure, [f"{metric}, test split; one line per {unit} seed"])
        figure.legend(handles=_legend(), loc="outside upper center", ncols=2)
    return figure


def _panel(axes: Axes, table: pd.DataFrame, shade: str) -> None:
    right, left = table.columns
    complete = table.dropna()
    axes.set_xlim(-0.25, 1.25)
    axes.set_xticks([0, 1], [style.short(str(right)), f"\n{style.short(str(left))}"], fontsize=6.5)
    first, last = axes.get_xticklabels()
    first.set_horizontalalignment("left")
    last.set_horizontalalignment("right")
    axes.tick_params(axis="x", length=0)
    for unit, (before, after) in complete.iterrows():
        axes.plot(
            [0, 1], [before, after], color=shade, linewidth=1.0, marker="o", markersize=3,
            linestyle=_FALLS if after < before else "-", gid=f"unit {unit}",
        )  # fmt: skip
    rises = int((complete[left] > complete[right]).sum())
    missing = f" of {len(table)} planned" if len(complete) < len(table) else ""
    axes.set_title(f"rises in {rises} of {len(complete)}{missing}", fontsize=7)
    if complete.empty:
        add_note(axes, "no unit has both values")


def _legend() -> list[Line2D]:
    return [
        Line2D([], [], color=style.INK, linewidth=1.0, label="rises"),
        Line2D([], [], color=style.INK, linewidth=1.0, linestyle=_FALLS, label="falls"),
    ]
