"""Forest plot of the declared contrasts: every unit's difference, the mean, and its interval."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from analysis import style
from analysis.contrasts import Contrast
from analysis.figures._parts import empty_figure
from analysis.render import signed

_ROW_IN, _LINE_IN, _FRAME_IN = 0.3, 0.13, 1.05  # height of a row, of a line of text, of the frame
_REASON_CHARACTERS = 38  # per line
_SHADE, _FAINT = "#E8E8E8", 0.35
_DOT_SPREAD = 0.3  # rows; dots lie below the interval so that both stay readable


def paired_differences(
    contrasts: Sequence[Contrast],
    *,
    metric: str,
    colours: Mapping[str, str],
    margin_pp: float | None = None,
    unit: str = "base",
    nothing: str = "there is no contrast",
) -> Figure:
    """Draw one row per contrast, in the given order from the top.

    Args:
        contrasts: see `analysis.contrasts.declared_contrasts`.
        metric: name for the axis, e.g. `linear_probe/top1_mean`.
        colours: colour of each arm; a row has that of its left arm.
        margin_pp: half-width of the shaded region around zero; None draws none.
        unit: what a dot is, `base` or `continuation`.
        nothing: what is written where there is nothing to draw; see `analysis.reasons`.
    """
    with style.settings():
        if not contrasts:
            return empty_figure(nothing)
        numbers = [_numbers(contrast) for contrast in contrasts]
        row_in = max([_ROW_IN, *(_LINE_IN * (1 + text.count("\n")) for text in numbers)])
        figure = Figure(figsize=(style.DOUBLE_IN, _FRAME_IN + row_in * len(contrasts)), layout="constrained")
        axes = figure.add_subplot()
        _frame(axes, len(contrasts), margin_pp)
        for row, contrast in enumerate(contrasts):
            _draw(axes, row, contrast, colours[contrast.left])
        _labels(axes, [contrast.label for contrast in contrasts], numbers)
        axes.set_xlabel(f"Δ top-1 (percentage points), {metric}")
        _limits(axes, contrasts, margin_pp)
        figure.legend(
            handles=_legend(margin_pp, unit),
            loc="outside upper center",
            ncols=3,
            handlelength=1.5,
            handletextpad=0.5,
        )
    return figure


def _frame(axes: Axes, num_rows: int, margin_pp: float | None) -> None:
    if margin_pp is not None:
        axes.axvspan(-margin_pp, margin_pp, color=_SHADE, linewidth=0, zorder=0)
    axes.axvline(0, color="black", linewidth=0.8, zorder=1)
    axes.set_ylim(num_rows - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def _draw(axes: Axes, row: int, contrast: Contrast, colour: str) -> None:
    dots = contrast.differences.dropna().to_numpy(dtype=float)
    result = contrast.result
    face = colour if result.has_interval else "none"
    offset = row + _DOT_SPREAD
    axes.scatter(
        dots, np.full(len(dots), offset), s=11, facecolors=face, edgecolors=colour, linewidths=0.6,
        alpha=_FAINT if result.has_interval else 2 * _FAINT,
    )  # fmt: skip
    if result.has_interval:
        axes.errorbar(
            result.mean, row, xerr=[[result.mean - result.low], [result.high - result.mean]],
            fmt="o", color=colour, markersize=4.5, elinewidth=1.4, capsize=2.5, capthick=1.0, zorder=3,
        )  # fmt: skip


def _labels(axes: Axes, names: Sequence[str], numbers: Sequence[str]) -> None:
    rows = range(len(names))
    axes.set_yticks(rows, names)
    right = axes.twinx()
    right.set_ylim(axes.get_ylim())
    right.set_yticks(rows, numbers, fontsize=7)
    right.tick_params(axis="y", length=0)
    right.spines[:].set_visible(False)


def _numbers(contrast: Contrast) -> str:
    result = contrast.result
    if not result.has_interval:
        parts = f"no interval: {result.reason.removesuffix(': no interval')}".split("; ")
        return "\n".join(textwrap.fill(part, _REASON_CHARACTERS, break_on_hyphens=False) for part in parts)
    return f"{signed(result.mean)} [{signed(result.low)}, {signed(result.high)}]  n = {result.n}"


def _limits(axes: Axes, contrasts: Sequence[Contrast], margin_pp: float | None) -> None:
    """Zero is always in view, the margin too, and no mark touches the frame."""
    values = [0.0, *((-margin_pp, margin_pp) if margin_pp is not None else ())]
    for contrast in contrasts:
        values += contrast.differences.dropna().tolist()
        values += [contrast.result.low, contrast.result.high] if contrast.result.has_interval else []
    low, high = min(values), max(values)
    room = 0.06 * (high - low) or 1.0
    axes.set_xlim(low - room, high + room)


def _legend(margin_pp: float | None, unit: str) -> list[Line2D | Patch]:
    grey = "#444444"
    dot = Line2D([], [], linestyle="none", marker="o", markersize=3.3, color=grey, alpha=_FAINT + 0.15)
    mean = Line2D([], [], color=grey, marker="o", markersize=4.5, linewidth=1.4)
    dot.set_label(f"one {unit} seed")
    mean.set_label("mean, 95 % t interval")
    margin = [Patch(color=_SHADE, label=f"within ±{margin_pp:g} pp")] if margin_pp is not None else []
    return [dot, mean, *margin]
