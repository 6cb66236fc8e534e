"""How figures look: one colour per arm everywhere, paper widths, and files that are equal to the byte."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

from study.journal.files import write_atomic
from study.plan.model import Plan

SINGLE_IN, DOUBLE_IN = 3.25, 6.75  # widths of one and of two columns of a paper

# Okabe and Ito, "Color universal design" (https://jfly.uni-koeln.de/color/): distinct with any colour vision.
_BLACK, _ORANGE, _SKY, _GREEN, _YELLOW, _BLUE, _VERMILLION, _PURPLE = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7",
)  # fmt: skip
# The muted scheme of Paul Tol (https://sronpersonalpages.nl/~pault/), for what the eight colours above leave over.
_WINE, _INDIGO, _OLIVE, _TEAL = "#882255", "#332288", "#999933", "#44AA99"
NOT_CONTINUED, SHADE, INK = "#777777", "#E8E8E8", "#444444"
_OF_CRITERION = {
    "none": _BLACK, "e2mc": _BLUE, "uniformity": _ORANGE, "mmcr": _VERMILLION, "vc": _GREEN, "koleo": _PURPLE,
    "infonce": _SKY, "barlow": _WINE, "sigreg": _INDIGO, "coding_rate": _OLIVE, "wasserstein": _TEAL,
}  # fmt: skip
_SPARE = ("#6B8E23", "#B22222", "#8B6914", "#708090")  # for criteria that are not shipped
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "*")  # a second cue, where colours are alike
_LONGEST = 28  # characters of a name

_RC: Mapping[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 8,
    "legend.fontsize": 7.5,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "text.parse_math": False,  # `$` in a name is a dollar
    "savefig.dpi": 300,
    "pdf.fonttype": 42,  # text stays text
}


@contextmanager
def settings() -> Iterator[None]:
    """Make and save figures with these settings, whatever the caller's are; those come back afterwards."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_RC)
        yield


def arm_colours(plan: Plan) -> dict[str, str]:
    """Return the colour of every arm: that of its criterion, the same in every study.

    Further arms of a criterion, such as its ablations, get lighter shades; criteria without a colour of their
    own get the remaining ones in the order of the plan.
    """
    spare, used = iter(_SPARE), dict[str, int]()
    known, colours = dict(_OF_CRITERION), dict[str, str]()
    for arm in plan.arms:
        if not arm.continued:
            colours[arm.name] = NOT_CONTINUED
            continue
        name = arm.criterion.name
        if name not in known:
            known[name] = next(spare, NOT_CONTINUED)
        colours[arm.name] = lighter(known[name], 1 - 0.7 ** used.get(name, 0))
        used[name] = used.get(name, 0) + 1
    return colours


def arm_markers(arms: Iterable[str]) -> dict[str, str]:
    """Return a marker for every arm, in their order; the thirteenth arm has that of the first."""
    return dict(zip(arms, itertools.cycle(_MARKERS), strict=False))


def short(name: str) -> str:
    """Return a name as a figure can carry it: printable, on one line, the middle of a long one left out."""
    line = "".join(c if c.isprintable() else " " for c in name)
    half = _LONGEST // 2
    return line if len(line) <= _LONGEST else f"{line[:half]}…{line[-half + 1 :]}"


def lighter(colour: str, share: float) -> str:
    """Mix `colour` with a share of white, from 0 (unchanged) to 1 (white)."""
    red, green, blue = (channel + share * (1 - channel) for channel in to_rgb(colour))
    return to_hex((red, green, blue))


def png(figure: Figure) -> bytes:
    """Return `figure` as PNG; equal figures give equal bytes."""
    return _rendered(figure, "png", {"Software": None})


def pdf(figure: Figure) -> bytes:
    """Return `figure` as PDF; equal figures give equal bytes."""
    return _rendered(figure, "pdf", {"Creator": None, "Producer": None, "CreationDate": None})


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write `<stem>.png` and `<stem>.pdf`, atomically and without dates; return the two paths."""
    return [
        _write(stem.with_name(f"{stem.name}.png"), png(figure)),
        _write(stem.with_name(f"{stem.name}.pdf"), pdf(figure)),
    ]


@dataclass(frozen=True)
class Picture:
    """Shows a figure in a notebook exactly as `save` would write it."""

    figure: Figure

    def _repr_png_(self) -> bytes:
        return png(self.figure)


def _write(path: Path, data: bytes) -> Path:
    write_atomic(path, lambda file: file.write(data))
    return path


def _rendered(figure: Figure, kind: str, metadata: Mapping[str, None]) -> bytes:
    buffer = io.BytesIO()
    with settings():
        figure.savefig(buffer, format=kind, metadata=dict(metadata))
    return buffer.getvalue()
