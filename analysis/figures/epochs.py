"""Accuracy and marginal entropy against continued epochs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import style
from analysis.figures._parts import add_note, add_notes, arm_keys, colour, empty_figure, in_order

_NO_ENTROPY = "no settled training step has logged an entropy"
_BAND = 0.15  # opacity
_SPREAD = 0.12  # of the longest continuation, over which the arms' marks are spread


def epochs(
    accuracies: pd.DataFrame,
    entropies: pd.DataFrame,
    *,
    metric: str,
    colours: Mapping[str, str],
    unit: str = "base",
    nothing: str = "there is no accuracy",
) -> Figure:
    """Draw accuracy after so many continued epochs, and at the right the marginal entropy at every step.

    Args:
        accuracies: `arm`, `epochs`, `n`, `mean`, `low`, `high`; see `analysis.accuracies.epochs_frame`. What is there
            at 0 epochs is where all other arms start from.
        entropies: `arm`, `epoch`, `n`, `mean`, `low`, `high`; see `analysis.histories.bands_frame`.
        metric: name for the note, e.g. `linear_probe/top1_mean`.
        colours: colour of each arm, in the order they are listed.
        unit: over what means and intervals are taken, `base` or `continuation`.
        nothing: what is written where there is no accuracy; see `analysis.reasons`.
    """
    with style.settings():
        accuracies, entropies = _finite(accuracies), _finite(entropies)
        if accuracies.empty and entropies.empty:
            return empty_figure(f"{nothing}; {_NO_ENTROPY}")
        figure = Figure(figsize=(style.DOUBLE_IN, 3.0), layout="constrained")
        left, right = figure.subplots(1, 2)
        arms = in_order([*accuracies["arm"], *entropies["arm"]], colours)
        markers = style.arm_markers(colours)
        _accuracies(left, accuracies, arms, colours, markers, nothing)
        _entropies(right, entropies, arms, colours)
        for axes in (left, right):
            axes.set_xlabel("continued epochs")
        left.set_ylabel("accuracy (%)")
        right.set_ylabel("mean marginal entropy (nats)")
        figure.legend(handles=arm_keys(arms, colours, markers), loc="outside upper center", ncols=4)
        what = (
            f"{metric} on the test split; entropy of the first view's projections after the normal map, by m-spacings"
        )
        add_notes(figure, [f"{what}; means and 95 % t intervals over {unit} seeds", *_counts(accuracies, entropies)])
    return figure


def _accuracies(
    axes: Axes,
    rows: pd.DataFrame,
    arms: list[str],
    colours: Mapping[str, str],
    markers: Mapping[str, str],
    nothing: str,
) -> None:
    if rows.empty:
        add_note(axes, nothing)
        return
    start = rows[rows["epochs"] == 0]
    width = _SPREAD * float(rows["epochs"].max())
    for number, arm in enumerate(arms):
        own = rows[rows["arm"] == arm].sort_values("epochs")
        shift = width * ((number + 0.5) / len(arms) - 0.5)
        at, mean = own["epochs"].to_numpy(float), own["mean"].to_numpy(float)
        shifted = np.where(at > 0, at + shift, 0.0)
        error = np.nan_to_num([mean - own["low"].to_numpy(float), own["high"].to_numpy(float) - mean])
        if len(start) and (at > 0).all():
            path = [0.0, *shifted], [float(start["mean"].iloc[0]), *mean]
            axes.plot(*path, color=colour(colours, arm), linewidth=0.8, alpha=0.6, gid=f"path {arm}")
        axes.errorbar(
            shifted, mean, yerr=error, fmt=markers.get(arm, "o"), color=colour(colours, arm), markersize=3.5,
            elinewidth=1.0, capsize=1.5, gid=arm, zorder=3,
        )  # fmt: skip


def _entropies(axes: Axes, rows: pd.DataFrame, arms: list[str], colours: Mapping[str, str]) -> None:
    if rows.empty:
        add_note(axes, _NO_ENTROPY)
        return
    axes.axhline(0, color=style.INK, linewidth=0.5, linestyle=":", zorder=1)
    for arm in arms:
        own = rows[rows["arm"] == arm].sort_values("epoch")
        if own.empty:
            continue
        at, mean = own["epoch"].to_numpy(float), own["mean"].to_numpy(float)
        marker = "." if len(at) == 1 else None  # a line needs two points
        axes.plot(at, mean, color=colour(colours, arm), linewidth=1.2, marker=marker, gid=arm)
        low, high = own["low"].to_numpy(float), own["high"].to_numpy(float)
        axes.fill_between(at, low, high, where=np.isfinite(low), color=colour(colours, arm), alpha=_BAND, linewidth=0)


def _finite(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[np.isfinite(rows["mean"].astype(float))]


def _counts(accuracies: pd.DataFrame, entropies: pd.DataFrame) -> list[str]:
    """Name the arms that have fewer units than others, or none to take an interval over."""
    counts = pd.concat([accuracies[["arm", "n"]], entropies[["arm", "n"]]])
    most = int(counts["n"].max())
    fewest = counts.groupby("arm")["n"].min()
    lacking = [f"{style.short(str(arm))} {n}" for arm, n in fewest.items() if n < most]
    notes = [f"units, where fewer than {most}: {', '.join(lacking)}"] if lacking else []
    return notes + (["one unit: no interval"] if most == 1 else [])
