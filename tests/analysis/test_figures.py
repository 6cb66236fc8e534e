from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from analysis import style
from analysis.contrasts import Contrast
from analysis.figures.paired_differences import paired_differences
from analysis.statistics import paired_result
from study.plan.model import Arm, Component
from tests.fakes.study_home import make_plan

COLOURS = style.arm_colours(make_plan())


def contrast(left: str, right: str, values: list[float], missing: str = "") -> Contrast:
    differences = pd.Series(values, index=pd.RangeIndex(1, len(values) + 1, name="base_seed"), dtype=float)
    return Contrast(left, right, "test/linear_probe/top1_mean", differences, paired_result(differences, missing), 0.01)


CONTRASTS = [
    contrast("e2mc", "continued", [0.1, 0.3, 0.2, 0.5, -0.1]),
    contrast("e2mc", "e2mc-no-covariance", [1.1, 1.3, 1.2, 1.5, 1.4]),
    contrast("mmcr", "continued", [0.1, float("nan"), 0.2, 0.2, 0.3], "mmcr 4/5 (1 diverged)"),
    contrast("uniformity", "continued", [float("nan")] * 5, "uniformity 3/5 (2 diverged); continued 4/5"),
]  # fmt: skip


def draw(contrasts: list[Contrast] = CONTRASTS, margin_pp: float | None = 0.5) -> Figure:
    return paired_differences(contrasts, metric="linear_probe/top1_mean", colours=COLOURS, margin_pp=margin_pp)


def test_two_saves_are_equal_to_the_byte(tmp_path: Path) -> None:
    first, second = style.save(draw(), tmp_path / "first"), style.save(draw(), tmp_path / "v1.2")
    assert [path.name for path in first + second] == ["first.png", "first.pdf", "v1.2.png", "v1.2.pdf"]
    for a, b in zip(first, second, strict=True):
        assert a.read_bytes() == b.read_bytes()
    pdf = first[1].read_bytes()
    assert b"CreationDate" not in pdf
    assert b"matplotlib" not in first[0].read_bytes().lower()
    assert b"/Creator" not in pdf


def test_the_callers_settings_neither_leak_in_nor_change() -> None:
    expected = style.png(draw())
    with mpl.rc_context({"font.size": 20.0, "savefig.dpi": 50.0, "lines.linewidth": 9.0}):
        before = dict(mpl.rcParams)
        assert style.png(draw()) == expected
        assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("contrasts", [CONTRASTS, CONTRASTS[:1], CONTRASTS[2:]])
def test_no_text_overlaps_or_leaves_the_figure(contrasts: list[Contrast]) -> None:
    figure = draw(contrasts)
    with style.settings():
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        left, right = figure.axes
        ticks = [
            tick for tick in left.xaxis.get_major_ticks() if left.get_xlim()[0] < tick.get_loc() < left.get_xlim()[1]
        ]
        labels = [*(tick.label1 for tick in ticks), *left.get_yticklabels(), left.xaxis.label]
        labels += [*(tick.label2 for tick in right.yaxis.get_major_ticks()), *figure.legends[0].get_texts()]
        boxes = [label.get_window_extent() for label in labels if label.get_text()]
    width, height = canvas.get_width_height()
    assert len(boxes) > 2 * len(contrasts) + 3
    assert all(b.x0 >= 0 and b.y0 >= 0 and b.x1 <= width and b.y1 <= height for b in boxes)
    for i, a in enumerate(boxes):
        assert not any(a.overlaps(b) for b in boxes[i + 1 :])


def texts(figure: Figure) -> list[str]:
    return [t.get_text() for axes in figure.axes for t in axes.get_yticklabels()]


def test_says_what_it_shows() -> None:
    figure = draw()
    assert figure.axes[0].get_xlabel() == "Δ top-1 (percentage points), linear_probe/top1_mean"
    assert "e2mc − e2mc-no-covariance" in texts(figure)
    assert "+1.30 [+1.10, +1.50]  n = 5" in texts(figure)
    assert "no interval: mmcr 4/5 (1 diverged)" in texts(figure)
    assert figure.get_figwidth() == style.DOUBLE_IN


def test_a_missing_result_keeps_its_dots_but_has_no_interval() -> None:
    figure = draw([CONTRASTS[2]])
    assert len(figure.axes[0].containers) == 0
    assert len(figure.axes[0].collections[0].get_offsets()) == 4


@pytest.mark.parametrize("margin_pp", [None, 0.5])
def test_margin_and_zero_are_in_view(margin_pp: float | None) -> None:
    figure = draw([contrast("mmcr", "continued", [3.0, 3.2, 3.1])], margin_pp)
    low, high = figure.axes[0].get_xlim()
    assert low < -(margin_pp or 0.0) < 3.2 < high
    labels = [t.get_text() for t in figure.legends[0].get_texts()]
    assert ("within ±0.5 pp" in labels) == (margin_pp is not None)


def test_without_contrasts_there_is_a_note() -> None:
    figure = draw([], None)
    assert figure.texts[0].get_text() == "there is no contrast"
    assert style.png(figure)


def test_one_colour_per_arm_in_every_study() -> None:
    plan = make_plan()
    assert len(set(COLOURS.values())) == len(plan.arms)
    fewer = replace(plan, arms=tuple(a for a in plan.arms if a.name in ("continued", "mmcr")))
    assert style.arm_colours(fewer) == {name: COLOURS[name] for name in ("continued", "mmcr")}
    others = tuple(Arm(n, continued=True, criterion=Component(n)) for n in "abcdef")
    assert len(style.arm_colours(replace(plan, arms=(*plan.arms, *others)))) == len(plan.arms) + 6


def test_a_notebook_shows_what_is_saved() -> None:
    figure = draw()
    assert style.Picture(figure)._repr_png_() == style.png(figure)
