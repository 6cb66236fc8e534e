"""Accuracy against the share of labels, and the advantage over the reference beside it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import style
from analysis.figures._parts import add_note, add_notes, arm_keys, colour, empty_figure, in_order, log_axis

_SPREAD = (
    0.5  # of the distance between two fractions, over which the arms' marks are spread, so that none hides another
)


def label_fractions(
    accuracies: pd.DataFrame,
    *,
    reference: str,
    metric: str,
    colours: Mapping[str, str],
    unit: str = "base",
    nothing: str = "there is no accuracy at a label fraction",
) -> Figure:
    """Draw mean and 95 % t interval per arm at each label fraction; at the right, differences to the reference.

    Args:
        accuracies: see `analysis.accuracies.label_fractions_frame`; rows without a mean are not drawn, means of too
            few units are drawn hollow and without an interval.
        reference: the arm that the differences are taken to.
        metric: name for the note, e.g. `linear_probe`.
        colours: colour of each arm, in the order they are listed.
        unit: over what the intervals are taken, `base` or `continuation`.
        nothing: what is written where there is nothing to draw; see `analysis.reasons`.
    """
    with style.settings():
        known = accuracies[np.isfinite(accuracies["mean"].astype(float))]
        if known.empty:
            return empty_figure(nothing)
        figure = Figure(figsize=(style.DOUBLE_IN, 3.0), layout="constrained")
        left, right = figure.subplots(1, 2)
        arms = in_order(known["arm"], colours)
        markers = style.arm_markers(colours)
        differences = known[(known["arm"] != reference) & np.isfinite(known["delta_mean"].astype(float))]
        for axes, rows, prefix in ((left, known, ""), (right, differences, "delta_")):
            fractions = sorted(known["label_percent"].unique())
            for number, arm in enumerate(arms):
                own = rows[rows["arm"] == arm].sort_values("label_percent")
                shift = _shift(number, len(arms), fractions)
                _draw(axes, own, prefix, shift, colour(colours, arm), markers.get(arm, "o"))
            log_axis(axes.xaxis, fractions)
            room = math.exp(0.8 * _step(fractions))
            axes.set_xlim(fractions[0] / room, fractions[-1] * room)
            axes.set_xlabel("labels (%)")
        left.set_ylabel("accuracy (%)")
        right.set_ylabel(f"Δ to {style.short(reference)} (pp)")
        right.axhline(0, color=colour(colours, reference), linewidth=0.8, zorder=1)
        if differences.empty:
            others = len(set(known["arm"]) - {reference})
            add_note(
                right, f"no unit of {style.short(reference)} and another arm" if others else "there is no other arm"
            )
        figure.legend(handles=arm_keys(arms, colours, markers), loc="outside upper center", ncols=4)
        add_notes(figure, [f"{metric}; mean and 95 % t interval over {unit} seeds", *_hollow(known, differences)])
    return figure


def _draw(axes: Axes, rows: pd.DataFrame, prefix: str, shift: float, shade: str, marker: str) -> None:
    if rows.empty:
        return
    at, mean = rows["label_percent"].to_numpy(float) * shift, rows[f"{prefix}mean"].to_numpy(float)
    low, high = rows[f"{prefix}low"].to_numpy(float), rows[f"{prefix}high"].to_numpy(float)
    judged = np.isfinite(low)
    axes.plot(at, mean, color=shade, linewidth=0.8, alpha=0.6, zorder=2)
    axes.errorbar(
        at[judged], mean[judged], yerr=[(mean - low)[judged], (high - mean)[judged]], fmt=marker, color=shade,
        markersize=3.5, elinewidth=1.0, capsize=1.5, zorder=3,
    )  # fmt: skip
    axes.plot(at[~judged], mean[~judged], marker, color=shade, markersize=3.5, markerfacecolor="white", zorder=3)


def _step(fractions: list[float]) -> float:
    """The smallest distance between two fractions, in natural logarithms."""
    return min((math.log(b / a) for a, b in itertools.pairwise(fractions)), default=1.0) * _SPREAD


def _shift(number: int, num_arms: int, fractions: list[float]) -> float:
    return math.exp(_step(fractions) * ((number + 0.5) / num_arms - 0.5))


def _hollow(known: pd.DataFrame, differences: pd.DataFrame) -> list[str]:
    """Say why means have no interval: reason, and the arms that it holds for."""
    arms: dict[str, list[str]] = {}
    for rows, prefix in ((known, ""), (differences, "delta_")):
        lacking = rows[~np.isfinite(rows[f"{prefix}low"].astype(float))]
        for arm, reason in zip(lacking["arm"], lacking[f"{prefix}reason"], strict=True):
            found = arms.setdefault(str(reason).removesuffix(": no interval"), [])
            found += [] if style.short(str(arm)) in found else [style.short(str(arm))]
    reasons = "; ".join(f"{reason} ({', '.join(sorted(names))})" for reason, names in sorted(arms.items()))
    return [f"hollow: no interval, because {reasons}"] if arms else []
