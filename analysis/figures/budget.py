"""What each arm of a study cost, searching and confirming, and which part of it in attempts that broke off."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from analysis import style
from analysis.figures._parts import add_notes, colour, empty_figure, in_order

_ROW_IN, _FRAME_IN = 0.24, 0.95
_SCALES = ((1.0, "CPU s"), (60.0, "CPU min"), (3600.0, "CPU h"))
_LIGHTER = {"tune": 0.55}  # share of white
_BROKEN = "xxxx"


def budget(spending: pd.DataFrame, *, colours: Mapping[str, str]) -> Figure:
    """Draw one bar per arm, its phases side by side, what interrupted and failed attempts cost hatched.

    Args:
        spending: see `analysis.timeline.spending_frame`.
        colours: colour of each arm, in the order they are listed; arms it does not know come first, in grey.
    """
    with style.settings():
        if spending.empty:
            return empty_figure("no attempt has started")
        arms = in_order(spending["arm"], colours)
        arms.sort(key=lambda arm: arm in colours)
        totals = spending.groupby("arm")["cpu_s"].sum()
        divisor, unit = next(((s, n) for s, n in reversed(_SCALES) if totals.max() > 2 * s), _SCALES[0])
        figure = Figure(figsize=(style.DOUBLE_IN, _FRAME_IN + _ROW_IN * len(arms)), layout="constrained")
        axes = figure.add_subplot()
        phases = [name for name in ("prepare", "tune", "confirm") if name in set(spending["phase"])]
        left = np.zeros(len(arms))
        for phase in phases:
            own = (
                spending[spending["phase"] == phase]
                .set_index("arm")[["cpu_s", "broken_cpu_s"]]
                .reindex(arms)
                .fillna(0.0)
            )
            faces = [style.lighter(colour(colours, arm), _LIGHTER.get(phase, 0.0)) for arm in arms]
            widths, broken = (own[name].to_numpy(float) / divisor for name in ("cpu_s", "broken_cpu_s"))
            axes.barh(range(len(arms)), widths, left=left, height=0.65, color=faces, label=phase)
            axes.barh(
                range(len(arms)), broken, left=left + widths - broken, height=0.65, facecolor="none", edgecolor="white",
                hatch=_BROKEN, linewidth=0, label=f"{phase}, broken off",
            )  # fmt: skip
            left += widths
        for row, total in enumerate(left):
            axes.text(total, row, f" {total:.3g}", va="center", fontsize=6.5, color=style.INK)
        axes.set_yticks(range(len(arms)), [style.short(arm) for arm in arms], fontsize=7)
        axes.set_ylim(len(arms) - 0.5, -0.5)
        axes.set_xlim(0, 1.08 * max(float(left.max()), 1e-9))
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel(unit)
        figure.legend(handles=_legend(phases), loc="outside upper center", ncols=4)
        num_runs, num_attempts = int(spending["num_runs"].sum()), int(spending["num_attempts"].sum())
        share = spending["broken_cpu_s"].sum() / max(spending["cpu_s"].sum(), 1e-9)
        what = f"{num_runs} runs, {num_attempts} attempts"
        add_notes(figure, [f"{what}; {100 * share:.1f} % of the time in attempts that were interrupted or failed"])
    return figure


def _legend(phases: list[str]) -> list[Patch]:
    shades = [Patch(color=style.lighter(style.INK, _LIGHTER.get(p, 0.0)), label=p) for p in phases if p != "prepare"]
    broken = Patch(
        facecolor=style.INK, edgecolor="white", hatch=_BROKEN, linewidth=0, label="attempts interrupted or failed"
    )
    return [*shades, broken]
