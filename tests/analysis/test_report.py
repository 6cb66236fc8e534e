import csv
import io
import math
from dataclasses import replace
from pathlib import Path

import pytest

from analysis.findings import caveats, search_name
from analysis.frames import runs_frame, trials_frame
from analysis.report import Report, write_report
from study.errors import HomeError
from study.paths import StudyPaths
from study.plan.model import Confirm
from tests.fakes.study_home import StudyHome, make_plan, trial_params

TABLES = ("budget", "comparison", "components", "contrasts", "environment", "secondary", "winners")
FILES = {f"{table}.{kind}" for table in TABLES for kind in ("csv", "md", "tex")} | {
    "paired_differences.pdf", "paired_differences.png", "report.html", "report.md", "runs.csv",
}  # fmt: skip
UNFINISHED = FILES | {"failures.csv", "failures.md", "failures.tex"}
NOISE = {1: -0.1, 2: 0.0, 3: 0.1}
CONTRASTS = (("mmcr", "continued"), ("uniformity", "continued"), ("e2mc", "continued"), ("continued", "base"))


def value(arm: str, base: int, metric: str) -> float:
    noise = NOISE.get(base, 0.0)
    return 69.0 + base + {"mmcr": 1.0 + noise, "uniformity": noise, "e2mc": 6 * noise}.get(arm, 0.0)


def make_home(folder: Path) -> StudyHome:
    return StudyHome(folder / "toy", make_plan(confirm=Confirm((1, 2, 3), (1,)), contrasts=CONTRASTS), value)


@pytest.fixture
def home(tmp_path: Path) -> StudyHome:
    return make_home(tmp_path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[StudyHome, Report]:
    home = make_home(tmp_path_factory.mktemp("finished")).build()
    return home, write_report(home.root)


def in_one_line(text: str) -> str:
    return " ".join(text.split())


def read_report(home: StudyHome, name: str = "report.md") -> str:
    return (StudyPaths(home.root).report / name).read_text(encoding="utf-8")


def all_caveats(home: StudyHome) -> str:
    return " ".join(caveats(runs_frame(home.root), trials_frame(home.root), home.plan))


def test_a_finished_study(finished: tuple[StudyHome, Report]) -> None:
    home, report = finished
    assert {path.name for path in report.files} == FILES
    assert {path.name for path in StudyPaths(home.root).report.iterdir()} == FILES
    assert all(len(line) <= 100 for line in report.text.splitlines() if not line.startswith("Report: "))
    assert "21 of 21 confirm runs completed. Per arm: 3 base × 1 continuation seeds." in report.text
    said = in_one_line(report.text)
    assert "Significant after Holm's correction over the 4 declared contrasts" in said
    assert "α = 0.05): mmcr − continued (+1.00 pp)." in said
    assert "not corrected for multiplicity): uniformity − continued." in said
    assert "Undetermined, neither significant nor shown to be small: e2mc − continued." in said
    assert "Without a verdict, for the reason in the table: continued − base." in said
    assert "Incomplete" not in said


def test_every_number_leads_to_its_runs(finished: tuple[StudyHome, Report]) -> None:
    home, _ = finished
    text = read_report(home)
    for expected in (home.plan.study, home.plan.question, "](paired_differences.png)"):
        assert expected in text
    for origin in ("`c0de`", "`c0ffee`", "`da7a`", "`a CPU`", "2025-11-22 08:26 to 2025-11-22 08:26 UTC"):
        assert origin in text
    run_ids = {run.root.name for run in StudyPaths(home.root).existing_runs()}
    assert all(f"`{run_id}`" in text for run_id in run_ids)
    assert {row["run_id"] for row in csv.DictReader(io.StringIO(read_report(home, "runs.csv")))} == run_ids


def test_csv_holds_the_numbers_unrounded(finished: tuple[StudyHome, Report]) -> None:
    home, _ = finished
    rows = list(csv.DictReader(io.StringIO(read_report(home, "contrasts.csv"))))
    row = next(r for r in rows if r["left"] == "mmcr" and r["metric"] == "test/linear_probe/top1_mean")
    assert float(row["mean"]) == pytest.approx(1.0)
    assert float(row["sd"]) == pytest.approx(0.1)
    assert float(row["t"]) == pytest.approx(1.0 / (0.1 / math.sqrt(3)))
    assert float(row["p_holm"]) == pytest.approx(4 * float(row["p"]))
    assert len(rows) == 4 * 5  # four contrasts, five metrics
    assert len(list(csv.DictReader(io.StringIO(read_report(home, "comparison.csv"))))) == 7 * 5


def test_the_same_runs_give_the_same_bytes(finished: tuple[StudyHome, Report]) -> None:
    home, report = finished
    before = {path: path.read_bytes() for path in report.files}
    assert {path: path.read_bytes() for path in write_report(home.root).files} == before


def test_an_unfinished_study_says_what_is_missing(home: StudyHome) -> None:
    diverged, absent = home.confirm_spec("mmcr", 2), home.confirm_spec("mmcr", 3)
    home.build(skip=lambda s: s.run_id in (diverged.run_id, absent.run_id)).write_failed_run(diverged)
    home.write_run(home.confirm_spec("e2mc", 1, trial_params(home.plan.arm("e2mc"), 0)))
    said = in_one_line(write_report(home.root).text)
    assert "19 of 21 confirm runs completed" in said
    assert "Incomplete, completed confirm runs: mmcr 1/3 (1 diverged)." in said
    assert "Not used: 1 run(s), 10 CPU s: not trained with the winner's parameters (see runs.csv)." in said
    assert "mmcr, confirm, not there yet: b3-c1" in read_report(home)
    assert f"`{diverged.run_id}` (diverged)" in read_report(home)


def test_a_study_without_a_finished_run(home: StudyHome) -> None:
    home.write_plan()
    report = write_report(home.root)
    assert {path.name for path in report.files} == UNFINISHED
    assert "0 of 21 confirm runs completed" in report.text
    assert "can be judged." in in_one_line(report.text)
    assert "no winner yet" in read_report(home, "winners.md")


def test_one_checkpoint_is_said_to_be_one(tmp_path: Path) -> None:
    plan = make_plan(unit="continuation", confirm=Confirm((1,), (1, 2, 3)))
    home = StudyHome(tmp_path / "toy", plan, continuation_spread=0.2).build()
    assert "over continuation seeds; for this checkpoint, tuned on it" in write_report(home.root).text
    assert "for this checkpoint, tuned on it" in read_report(home, "contrasts.tex")
    assert "for this checkpoint, tuned on it" in read_report(home, "comparison.tex")


def test_runs_of_another_code_version_are_marked(home: StudyHome) -> None:
    spec = home.confirm_spec("mmcr", 2)
    home.build(skip=lambda s: s.run_id == spec.run_id).write_run(spec, code="0ther")
    assert "Some confirm runs were made by other code than most (mmcr: unknown code 0ther)." in all_caveats(home)


def test_unequal_budgets_are_reported(home: StudyHome) -> None:
    home.build()
    assert "equal budgets" not in all_caveats(home)
    StudyPaths(home.root).trial("mmcr", 1).unlink()
    assert "not ended with equal budgets: mmcr 1/2 trials." in all_caveats(home)


def test_arms_that_were_not_searched_are_named(tmp_path: Path) -> None:
    plan = make_plan()
    arms = tuple(replace(arm, space={}, start={}) if arm.name == "continued" else arm for arm in plan.arms)
    home = StudyHome(tmp_path / "toy", replace(plan, arms=arms)).build()
    assert "Not searched, though others were, and so at a disadvantage: continued." in all_caveats(home)


def test_an_untuned_study_is_called_exploratory(tmp_path: Path) -> None:
    plan = make_plan()
    arms = tuple(replace(arm, space={}, start={}) for arm in plan.arms)
    home = StudyHome(tmp_path / "toy", replace(plan, arms=arms)).build()
    assert "Exploratory: nothing was tuned" in all_caveats(home) and "at a disadvantage" not in all_caveats(home)


SEARCHES = [
    ("tpe", 4, "random search with a start point"),
    ("tpe", 10, "random search with a start point"),
    ("tpe", 11, "TPE search with a start point"),
    ("random", 40, "random search with a start point"),
]


@pytest.mark.parametrize(("sampler", "num_trials", "name"), SEARCHES)
def test_a_search_is_called_what_it_is(sampler: str, num_trials: int, name: str) -> None:
    plan = make_plan()
    assert search_name(replace(plan, tune=replace(plan.tune, sampler=sampler, trials_per_arm=num_trials))) == name


def test_another_directory_is_refused_and_left_alone(tmp_path: Path) -> None:
    with pytest.raises(HomeError):
        write_report(tmp_path)
    assert not list(tmp_path.iterdir())
