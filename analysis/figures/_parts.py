"""What several figures share: notes where there is nothing to draw, names, axes, keys."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.axis import XAxis, YAxis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

from analysis import style

_CHARACTERS_PER_IN = 15  # of the size notes are written in


def empty_figure(note: str, width_in: float = style.DOUBLE_IN) -> Figure:
    """Return a figure that says why it shows nothing."""
    figure = Figure(figsize=(width_in, 1.2), layout="constrained")
    text = textwrap.fill(note, int(width_in * _CHARACTERS_PER_IN))
    figure.text(0.5, 0.5, text, ha="center", va="center", color=style.INK)
    return figure


def add_notes(figure: Figure, notes: Sequence[str]) -> None:
    """Write what a reader must know below a figure, one note a line."""
    if notes:
        width = int(figure.get_figwidth() * _CHARACTERS_PER_IN * 1.15)
        lines = "\n".join(textwrap.fill(note, width, break_on_hyphens=False) for note in notes)
        figure.supxlabel(lines, fontsize=6.5, color=style.INK, x=0.01, ha="left")


def add_note(axes: Axes, note: str) -> None:
    """Write into a panel why it shows nothing."""
    width = int(axes.get_position().width * axes.figure.get_figwidth() * _CHARACTERS_PER_IN * 0.8)  # type: ignore[union-attr]
    text = textwrap.fill(note, max(width, 12), break_on_hyphens=False)
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", fontsize=7, color=style.INK)


def log_axis(axis: XAxis | YAxis, at: Iterable[float] | None = None) -> None:
    """Make an axis logarithmic, its numbers plain: 0.3 and not a power; ticks `at` these places or at 1, 2, 5 ×."""
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    axis.set_major_locator(FixedLocator(sorted(at)) if at is not None else LogLocator(subs=(1.0,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
    if at is not None:
        axis.set_minor_locator(NullLocator())


def arm_keys(arms: Iterable[str], colours: Mapping[str, str], markers: Mapping[str, str]) -> list[Line2D]:
    """Return the entries of a legend, one per arm."""
    return [
        Line2D([], [], color=colour(colours, arm), marker=markers.get(arm, "o"), markersize=4, label=style.short(arm))
        for arm in arms
    ]


def colour(colours: Mapping[str, str], arm: str) -> str:
    """Return the colour of an arm; grey when nobody gave it one."""
    return colours.get(arm, style.NOT_CONTINUED)


def in_order(present: Iterable[str], colours: Mapping[str, str]) -> list[str]:
    """Return the arms that are present, in the order of `colours`, then those it does not know by name."""
    found = set(present)
    return [*(arm for arm in colours if arm in found), *sorted(found - set(colours))]
