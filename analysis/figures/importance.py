"""How much of a search's objective each tuned parameter explains."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis import style
from analysis.figures._parts import add_notes, colour, empty_figure, in_order

_ROW_IN, _FRAME_IN = 0.2, 0.95


def importance(rows: pd.DataFrame, *, objective: str, colours: Mapping[str, str]) -> Figure:
    """Draw one bar per arm and parameter, and on it the share that chance reaches once in twenty times.

    Args:
        rows: see `analysis.importance.importance_frame`; where a share is missing, the reason is written instead.
        objective: what the searches optimised, for the axis.
        colours: colour of each arm, in the order they are listed.
    """
    with style.settings():
        if rows.empty:
            return empty_figure("no parameter was searched")
        height = _FRAME_IN + _ROW_IN * len(rows)
        figure = Figure(figsize=(style.DOUBLE_IN, height), layout="constrained")
        axes = figure.add_subplot()
        order = {arm: number for number, arm in enumerate(in_order(rows["arm"], colours))}
        ordered = rows.sort_values("arm", key=lambda arms: arms.map(order), kind="stable").reset_index(drop=True)
        for row, found in ordered.iterrows():
            _bar(axes, int(str(row)), found, colour(colours, str(found["arm"])))
        names = [f"{style.short(str(a))}  {style.short(str(p))}" for a, p in ordered[["arm", "parameter"]].to_numpy()]
        axes.set_yticks(range(len(ordered)), names, fontsize=7)
        axes.set_ylim(len(ordered) - 0.4, -0.6)
        axes.set_xlim(0, 1.22)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel(f"explained share of the ranks of {style.short(objective)}")
        mark = Line2D(
            [], [], color=style.INK, marker="|", linestyle="none", markersize=8, label="95 % quantile by chance"
        )
        figure.legend(handles=[mark], loc="outside upper center")
        add_notes(figure, ["n: trials with an objective; ρ: Spearman's rank correlation, + where more is better"])
    return figure


def _bar(axes: Axes, row: int, found: pd.Series, shade: str) -> None:
    share = float(found["importance"])
    if not math.isfinite(share):
        axes.text(0.01, row, str(found["reason"]), va="center", fontsize=6.5, color=style.INK)
        return
    exceeds = share > found["chance"]
    axes.barh(row, share, height=0.62, color=shade if exceeds else "none", edgecolor=shade, linewidth=0.8)
    for ink, width in (("white", 3.0), (style.INK, 1.2)):  # with a rim, to be seen on dark bars
        axes.plot([found["chance"]], [row], marker="|", color=ink, markersize=9, markeredgewidth=width)
    direction = f"{found['direction']:+.2f}".replace("-", "−")
    at = max(share, float(found["chance"])) + 0.015
    axes.text(at, row, f"n={found['num_trials']}  ρ={direction}", va="center", fontsize=6.5, color=style.INK)
