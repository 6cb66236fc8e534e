"""Heat maps of how the dimensions of the projections correlate, before and after continuing."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from analysis import style
from analysis.figures._parts import add_notes, empty_figure, in_order

_PER_ROW, _HEIGHT_IN = 4, 1.75
_COLOURS = "RdBu_r"  # blue and red, white at 0: told apart with any colour vision


def correlations(
    matrices: pd.DataFrame, *, colours: Mapping[str, str], nothing: str = "there are no correlations of projections"
) -> Figure:
    """Draw one matrix per arm, on the same scale from -1 to 1, and its root mean square off the diagonal.

    Args:
        matrices: see `analysis.embeddings.correlations_frame`.
        colours: the arms in the order they are drawn.
        nothing: what is written where there is nothing to draw; see `analysis.reasons`.
    """
    with style.settings():
        if matrices.empty:
            return empty_figure(nothing)
        arms = in_order(matrices["arm"], colours)
        num_columns = min(_PER_ROW, len(arms))
        num_rows = math.ceil(len(arms) / num_columns)
        figure = Figure(figsize=(style.DOUBLE_IN, 0.35 + _HEIGHT_IN * num_rows), layout="constrained")
        grid = figure.subplots(num_rows, num_columns, squeeze=False)
        norm = Normalize(-1, 1)
        for axes, arm in zip(grid.flat, arms, strict=False):
            own = matrices[matrices["arm"] == arm]
            matrix = own.pivot_table(index="row", columns="column", values="value", dropna=False).to_numpy(float)
            axes.imshow(matrix, cmap=_COLOURS, norm=norm, interpolation="nearest")
            off = matrix[~np.eye(len(matrix), dtype=bool)]
            rms = float(np.sqrt(np.nanmean(off**2))) if np.isfinite(off).any() else math.nan
            axes.set_title(f"{style.short(arm)}\nr.m.s. {rms:.3f}", fontsize=7)
            axes.set_xticks([])
            axes.set_yticks([])
        for axes in grid.flat[len(arms) :]:
            axes.set_visible(False)
        figure.colorbar(ScalarMappable(norm, _COLOURS), ax=grid, label="correlation", aspect=30)
        runs = ", ".join(dict.fromkeys(matrices["run_id"].map(str)))
        num_dims = int(matrices["row"].max()) + 1
        add_notes(
            figure, [f"first {num_dims} dimensions of the projections of the test images, without labels; runs {runs}"]
        )
    return figure
