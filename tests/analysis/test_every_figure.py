"""Every figure: equal bytes, partial and hostile input, and drawn numbers that are the frame's."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from scipy import stats

from analysis import style
from analysis.accuracies import epochs_frame, intervals, label_fractions_frame, units_frame
from analysis.contrasts import declared_contrasts
from analysis.embeddings import EVALUATION, correlations_frame, marginals_frame
from analysis.figures.budget import budget
from analysis.figures.correlations import correlations
from analysis.figures.epochs import epochs
from analysis.figures.importance import importance
from analysis.figures.label_fractions import label_fractions
from analysis.figures.marginals import marginals
from analysis.figures.paired_differences import paired_differences
from analysis.figures.slopes import slopes
from analysis.figures.timeline import timeline
from analysis.figures.weight_sensitivity import weight_sensitivity
from analysis.frames import runs_frame, trials_frame
from analysis.histories import bands_frame, confirm_histories
from analysis.importance import chance_level, explained, importance_frame
from analysis.reasons import (
    why_no_contrasts,
    why_no_embeddings,
    why_no_fractions,
    why_no_trials,
    why_no_values,
)
from analysis.sensitivity import sensitivity_frame
from analysis.timeline import attempts_frame, spending_frame
from study import registry
from study.journal.files import read_json, write_json
from study.paths import StudyPaths
from study.plan.expand import confirm_specs, tune_specs
from study.plan.model import Confirm, Plan, PlannedEvaluation, Tune
from tests.fakes.study_home import StudyHome, make_plan, trial_params

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


@dataclass(frozen=True)
class Situation:
    """A study, and what each figure must say about it; "" where it must draw something."""

    plan: Plan
    build: Callable[[StudyHome], object]
    said: Mapping[str, str]


def without_values(home: StudyHome) -> None:
    """Every confirm run has diverged, every trial too."""
    home.write_plan()
    for arm in home.plan.arms:
        for number in range(2 if arm.is_tuned else 0):
            (spec,) = tune_specs(home.plan, arm, trial_params(arm, number))
            home.write_failed_run(spec)
            home.write_trial(arm.name, number, "infeasible", None, [spec.run_id])
        for spec in confirm_specs(home.plan, arm, home.winner(arm)):
            home.write_failed_run(spec)


KNN = replace(
    PLAN, primary="knn/top1", evaluations=(PlannedEvaluation("knn", {"num_neighbours": 20}),), contrasts=(),
    tune=replace(PLAN.tune, objective="knn/top1"),
)  # fmt: skip
UNTUNED = replace(PLAN, arms=tuple(replace(arm, space={}, start={}) for arm in PLAN.arms),
                  tune=Tune(PLAN.primary, 0, (), (), "random"))  # fmt: skip
STATISTICS = replace(PLAN, evaluations=(*PLAN.evaluations, PlannedEvaluation("emb", {}, "embedding_statistics")))
NO_STATISTICS = "the plan has no evaluation embedding_statistics: add `embedding_statistics: {}` to the evaluations"
NO_ENTROPY = "no settled training step has logged an entropy"
ALL_DIVERGED = "no confirm run is completed: 3 diverged"  # those of searches without a winner do not count
SITUATIONS = {
    "just begun": Situation(STATISTICS, StudyHome.write_plan, {
        "slopes": "no unit has both values", "label_fractions": "no confirm run has started",
        "epochs": f"no confirm run has started; {NO_ENTROPY}", "weight_sensitivity": "no trial has ended",
        "importance": "0 trial(s) with an objective, needs 5", "marginals": "no confirm run has started",
        "correlations": "no confirm run has started", "timeline": "no attempt has started",
        "budget": "no attempt has started", "paired_differences": "no interval: e2mc 0/3 continued 0/3",
    }),
    "all diverged": Situation(PLAN, without_values, {
        "label_fractions": ALL_DIVERGED, "epochs": f"{ALL_DIVERGED}; {NO_ENTROPY}", "marginals": NO_STATISTICS,
        "weight_sensitivity": "none of the 12 trials that ended has an objective: they diverged, were",
        "importance": "0 trial(s) with an objective, needs 5", "correlations": NO_STATISTICS, "timeline": "",
        "budget": "",
    }),
    "nothing tuned, no contrasts": Situation(replace(UNTUNED, contrasts=()), StudyHome.build, {
        "weight_sensitivity": "nothing was tuned", "importance": "no parameter was searched",
        "slopes": "the plan declares no contrasts", "paired_differences": "the plan declares no contrasts",
        "epochs": NO_ENTROPY, "label_fractions": "",
    }),
    "no label fractions": Situation(KNN, StudyHome.build, {
        "label_fractions": "none of the 21 completed confirm runs has an accuracy of knn at a label fraction",
        "epochs": NO_ENTROPY, "marginals": NO_STATISTICS,
    }),
    "details missing": Situation(STATISTICS, StudyHome.build, {
        "marginals": "none of the 21 completed confirm runs has kept what emb has seen", "weight_sensitivity": "",
    }),
    "one unit": Situation(replace(PLAN, confirm=Confirm((1,), (1,))), StudyHome.build, {
        "label_fractions": "hollow: no interval, because n=1 (base, continued, e2mc, e2mc-no-covariance,",
        "epochs": "one unit: no interval", "paired_differences": "no interval: n=1",
    }),
    "all equal": Situation(PLAN, lambda home: replace(home, value=lambda *_: 70.0, objectives=(60.0,) * 6).build(), {
        "label_fractions": "hollow: no interval, because all values are equal: no spread to judge by (base, cont",
        "importance": "all objectives are equal", "weight_sensitivity": "", "epochs": "",
        "paired_differences": "no interval: all values are zero",
    }),
}  # fmt: skip


@pytest.mark.parametrize("name", SITUATIONS)
def test_a_figure_says_why_it_shows_nothing(name: str, tmp_path: Path) -> None:
    """And the reason is true of the study."""
    situation = SITUATIONS[name]
    plan, root = situation.plan, tmp_path / "toy"
    situation.build(StudyHome(root, plan, value))
    runs, trials = runs_frame(root), trials_frame(root)
    colours, primary = style.arm_colours(plan), f"test/{plan.primary}"
    attempts = attempts_frame(root, plan)
    contrasts, none = declared_contrasts(runs, plan), why_no_contrasts(plan)
    fractions, embeddings = why_no_fractions(runs, plan), why_no_embeddings(runs, plan, EVALUATION)
    figures = {
        "slopes": lambda: slopes(
            units_frame(runs, plan, primary), plan.contrasts, metric="", colours=colours, nothing=none
        ),
        "paired_differences": lambda: paired_differences(contrasts, metric="", colours=colours, nothing=none),
        "label_fractions": lambda: label_fractions(
            label_fractions_frame(runs, plan), reference="continued", metric="", colours=colours, nothing=fractions
        ),
        "epochs": lambda: epochs(
            epochs_frame(runs, plan, primary), bands_frame(confirm_histories(root, runs), plan), metric="",
            colours=colours, nothing=why_no_values(runs, plan.primary),
        ),
        "weight_sensitivity": lambda: weight_sensitivity(
            sensitivity_frame(trials, plan), objective="", nothing=why_no_trials(trials, plan)
        ),
        "importance": lambda: importance(importance_frame(trials, plan), objective="", colours=colours),
        "marginals": lambda: marginals(
            marginals_frame(root, runs, plan), before="base", colours=colours, nothing=embeddings
        ),
        "correlations": lambda: correlations(
            correlations_frame(root, runs, plan), colours=colours, nothing=embeddings
        ),
        "timeline": lambda: timeline(attempts, colours=colours),
        "budget": lambda: budget(spending_frame(attempts), colours=colours),
    }  # fmt: skip
    for which, expected in situation.said.items():
        figure = figures[which]()
        assert style.png(figure)
        said = notes_of(figure)
        assert expected in said if expected else figure.axes, (which, said)
        assert "yet" not in said.split()


def notes_of(figure: Figure) -> str:
    """All that is written into a figure, on one line."""
    texts = [text for axes in figure.axes for text in (*axes.texts, *axes.get_yticklabels())]
    below = [figure._supxlabel] if figure._supxlabel else []  # type: ignore[attr-defined]
    return " ".join(" ".join(text.get_text() for text in (*figure.texts, *texts, *below)).split())


def test_an_evaluation_under_a_name_of_its_own_is_drawn(tmp_path: Path) -> None:
    """`emb: {evaluation: embedding_statistics}` keeps histograms as well."""
    home = StudyHome(tmp_path / "toy", STATISTICS, value).build()
    details = {"density": {q: [1.0] * 4 for q in ("low", "median", "high")}, "correlation": [[1.0, 0.0], [0.0, 1.0]]}
    (file,) = StudyPaths(home.root).run(home.confirm_spec("e2mc", 1).run_id).evaluations.glob("emb-*.json")
    write_json(file, {**read_json(file), "details": details})
    runs = runs_frame(home.root)
    assert marginals_frame(home.root, runs, STATISTICS)["arm"].unique().tolist() == ["e2mc"]
    assert len(correlations_frame(home.root, runs, STATISTICS)) == 4


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
