"""Every figure: equal bytes, partial and hostile input, and drawn numbers that are the frame's."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from scipy import stats

from analysis import style
from analysis.accuracies import epochs_frame, intervals, label_fractions_frame, units_frame
from analysis.figures.budget import budget
from analysis.figures.correlations import correlations
from analysis.figures.epochs import epochs
from analysis.figures.importance import importance
from analysis.figures.label_fractions import label_fractions
from analysis.figures.marginals import marginals
from analysis.figures.slopes import slopes
from analysis.figures.timeline import timeline
from analysis.figures.weight_sensitivity import weight_sensitivity
from analysis.frames import runs_frame, trials_frame
from analysis.histories import bands_frame, confirm_histories
from analysis.importance import chance_level, explained, importance_frame
from analysis.sensitivity import sensitivity_frame
from analysis.timeline import attempts_frame, spending_frame
from study import registry
from study.plan.model import Confirm
from tests.fakes.study_home import StudyHome, make_plan

HOSTILE = r"$\frac_{x}^&%#<b>'" + "\n" + "y" * 60
PLAN = make_plan(confirm=Confirm((1, 2, 3), (1,)))
COLOURS = style.arm_colours(PLAN)
PRIMARY = f"test/{PLAN.primary}"


def value(arm: str, base: int, metric: str) -> float:
    return 60.0 + base * len(arm) % 7 + len(metric) % 5


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return StudyHome(tmp_path_factory.mktemp("home") / "toy", PLAN, value).build().root


@pytest.fixture(scope="module")
def frames(study: Path) -> dict[str, pd.DataFrame]:
    runs, trials = runs_frame(study), trials_frame(study)
    attempts = attempts_frame(study, PLAN)
    generator = np.random.default_rng(0)
    edges = np.linspace(0, 1, 9)
    histograms = pd.concat(
        pd.DataFrame({"arm": arm, "left": edges[:-1], "right": edges[1:], "low": 0.5, "high": 1.5, "num_runs": 3,
                      "median": generator.uniform(0.8, 1.2, 8)})
        for arm in ("base", "e2mc")
    )  # fmt: skip
    row, column = np.indices((4, 4))
    matrices = pd.DataFrame(
        {"arm": "e2mc", "run_id": "r", "row": row.ravel(), "column": column.ravel(), "value": np.eye(4).ravel()}
    )
    return {
        "values": units_frame(runs, PLAN, PRIMARY), "fractions": label_fractions_frame(runs, PLAN),
        "accuracies": epochs_frame(runs, PLAN, PRIMARY), "histograms": histograms, "matrices": matrices,
        "bands": bands_frame(confirm_histories(study, runs, ["train/loss"]), PLAN),
        "points": sensitivity_frame(trials, PLAN), "shares": importance_frame(trials, PLAN),
        "attempts": attempts, "spending": spending_frame(attempts),
    }  # fmt: skip


Draw = Callable[[dict[str, pd.DataFrame]], Figure]
FIGURES: dict[str, Draw] = {
    "slopes": lambda f: slopes(f["values"], PLAN.contrasts, metric=PLAN.primary, colours=COLOURS),
    "label_fractions": lambda f: label_fractions(
        f["fractions"], reference="continued", metric="linear_probe", colours=COLOURS
    ),
    "epochs": lambda f: epochs(f["accuracies"], f["bands"], metric=PLAN.primary, colours=COLOURS),
    "weight_sensitivity": lambda f: weight_sensitivity(f["points"], objective=PLAN.tune.objective),
    "importance": lambda f: importance(f["shares"], objective=PLAN.tune.objective, colours=COLOURS),
    "marginals": lambda f: marginals(f["histograms"], before="base", colours=COLOURS),
    "correlations": lambda f: correlations(f["matrices"], colours=COLOURS),
    "timeline": lambda f: timeline(f["attempts"], colours=COLOURS),
    "budget": lambda f: budget(f["spending"], colours=COLOURS),
}


@pytest.fixture(params=list(FIGURES))
def draw(request: pytest.FixtureRequest) -> Draw:
    return FIGURES[request.param]


@pytest.mark.slow  # the notebooks' test compares the same bytes, in one go
def test_two_drawings_are_equal_to_the_byte(draw: Draw, frames: dict[str, pd.DataFrame]) -> None:
    assert style.png(draw(frames)) == style.png(draw(frames))
    first, second = style.pdf(draw(frames)), style.pdf(draw(frames))
    assert first == second and b"CreationDate" not in first
    assert draw(frames).get_figwidth() in (style.SINGLE_IN, style.DOUBLE_IN)


def test_empty_frames_give_a_note(draw: Draw, frames: dict[str, pd.DataFrame]) -> None:
    figure = draw({name: frame.iloc[:0] for name, frame in frames.items()})
    assert style.png(figure)
    notes = [text.get_text() for text in figure.texts] + [t.get_text() for a in figure.axes for t in a.texts]
    assert any(note.strip() for note in notes)


def test_missing_numbers_and_hostile_names_are_drawn(draw: Draw, frames: dict[str, pd.DataFrame]) -> None:
    broken = {}
    for name, frame in frames.items():
        copy = frame.copy().reset_index(drop=True)
        copy.loc[copy["arm"] == "e2mc", "arm"] = HOSTILE
        for column in ("value", "mean", "low", "objective", "end_t", "median", "importance"):
            if column in copy:
                copy.loc[copy.index % 3 == 0, column] = math.nan
        broken[name] = copy
    assert style.png(draw(broken))
    one_arm = {name: frame[frame["arm"] == frame["arm"].iloc[0]] for name, frame in frames.items()}
    assert style.png(draw(one_arm))


def test_slopes_are_the_units(frames: dict[str, pd.DataFrame]) -> None:
    table = frames["values"].pivot_table(index="unit", columns="arm", values="value")
    for axes, (left, right) in zip(FIGURES["slopes"](frames).axes, PLAN.contrasts, strict=False):
        drawn = [tuple(line.get_ydata()) for line in axes.lines]
        assert drawn == [tuple(row) for row in table[[right, left]].to_numpy()]


def test_label_fractions_are_the_means_and_bounds(frames: dict[str, pd.DataFrame]) -> None:
    frame = frames["fractions"]
    left = FIGURES["label_fractions"](frames).axes[0]
    drawn = [segment[:, 1] for c in left.containers for line in c.lines[2] for segment in line.get_segments()]
    judged = frame[np.isfinite(frame["low"])].sort_values("label_percent", kind="stable")
    expected = [judged.loc[judged["arm"] == a.name, ["low", "high"]].to_numpy() for a in PLAN.arms]
    assert np.sort(np.array(drawn), axis=0) == pytest.approx(np.sort(np.concatenate(expected), axis=0))


def test_matrix_and_histogram_are_the_frames(frames: dict[str, pd.DataFrame]) -> None:
    image = FIGURES["correlations"](frames).axes[0].images[0]
    assert np.array_equal(image.get_array(), np.eye(4))
    panel = FIGURES["marginals"](frames).axes[0]
    rows = frames["histograms"][frames["histograms"]["arm"] == "e2mc"]
    drawn = [patch.get_data()[0] for patch in panel.patches]  # type: ignore[attr-defined]
    assert any(np.array_equal(values, rows["median"]) for values in drawn)


def test_bars_of_the_budget_add_up(frames: dict[str, pd.DataFrame]) -> None:
    axes = FIGURES["budget"](frames).axes[0]
    widths = [bar.get_width() for c in axes.containers[::2] for bar in c]  # type: ignore[union-attr]
    divisor = {"CPU s": 1, "CPU min": 60, "CPU h": 3600}[axes.get_xlabel()]
    assert sum(widths) * divisor == pytest.approx(frames["spending"]["cpu_s"].sum())


def test_a_bar_per_attempt_on_the_timeline(frames: dict[str, pd.DataFrame]) -> None:
    bars = FIGURES["timeline"](frames).axes[0].patches
    assert len(bars) == len(frames["attempts"])


def test_intervals_are_scipys() -> None:
    numbers = [1.0, 2.0, 4.0, 8.0]
    frame = pd.DataFrame({"arm": "a", "unit": [1, 2, 3, 4], "value": numbers})
    (row,) = intervals(frame, ["arm"]).to_dict(orient="records")
    expected = stats.t.interval(0.95, 3, loc=np.mean(numbers), scale=stats.sem(numbers))
    assert (row["low"], row["high"]) == pytest.approx(expected)


def test_importance_sees_an_optimum_inside_and_keeps_its_level() -> None:
    x = np.linspace(-1, 1, 41)
    assert explained(x, x) == pytest.approx(1)
    assert explained(x, -((x - 0.1) ** 2)) > 0.8
    generator = np.random.default_rng(0)
    null = [explained(generator.normal(size=12), generator.normal(size=12)) for _ in range(1000)]
    assert np.mean(np.array(null) > chance_level(12)) == pytest.approx(0.05, abs=0.025)


def test_every_criterion_has_a_colour_of_its_own() -> None:
    assert set(registry.names("criteria")) <= set(style._OF_CRITERION)
    assert len(set(style._OF_CRITERION.values())) == len(style._OF_CRITERION)
