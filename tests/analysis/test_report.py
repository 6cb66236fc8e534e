import csv
import math
from dataclasses import replace
from pathlib import Path

import pytest

from analysis.findings import search_name
from analysis.report import write_report
from study.errors import HomeError
from study.paths import StudyPaths
from study.plan.model import Confirm
from tests.fakes.study_home import StudyHome, make_plan, trial_params

FILES = {
    "budget.csv", "budget.md", "comparison.csv", "comparison.md", "comparison.tex", "contrasts.csv", "contrasts.md",
    "contrasts.tex", "paired_differences.pdf", "paired_differences.png", "report.md", "runs.csv", "winners.md",
}  # fmt: skip
NOISE = {1: -0.1, 2: 0.0, 3: 0.1}


def value(arm: str, base: int, metric: str) -> float:
    gain = {
        "mmcr": 1.0 + NOISE.get(base, 0),
        "uniformity": NOISE.get(base, 0),
        "e2mc": 6 * NOISE.get(base, 0),
    }
    return 69.0 + base + gain.get(arm, 0.0)


@pytest.fixture
def home(tmp_path: Path) -> StudyHome:
    plan = make_plan(
        confirm=Confirm((1, 2, 3), (1,)),
        contrasts=(
            ("mmcr", "continued"),
            ("uniformity", "continued"),
            ("e2mc", "continued"),
            ("continued", "base"),
        ),
    )
    return StudyHome(tmp_path / "toy", plan, value)


def test_a_finished_study(home: StudyHome) -> None:
    report = write_report(home.build().root)
    assert {path.name for path in report.files} == FILES
    assert {path.name for path in StudyPaths(home.root).report.iterdir()} == FILES
    assert max(map(len, report.text.splitlines())) <= max(100, len(str(home.root)) + 20)
    assert "21 of 21 confirm runs completed. Per arm: 3 base × 1 continuation seeds." in report.text
    said = " ".join(report.text.split())
    assert "Significant after Holm's correction over the 4 declared contrasts" in said
    assert "α = 0.05): mmcr − continued (+1.00 pp)." in said
    assert "not corrected for multiplicity): uniformity − continued." in said
    assert "Undetermined, neither significant nor shown to be small: e2mc − continued." in said
    assert "Without a verdict, for the reason in the table: continued − base." in said
    assert "Unfinished" not in report.text


def test_every_number_leads_to_its_runs(home: StudyHome) -> None:
    write_report(home.build().root)
    folder = StudyPaths(home.root).report
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert home.plan.study in text
    assert home.plan.question in text
    assert "![" in text and "paired_differences.png" in text
    for run in StudyPaths(home.root).existing_runs():
        assert f"`{run.root.name}`" in text
    with (folder / "runs.csv").open(encoding="utf-8") as file:
        assert {row["run_id"] for row in csv.DictReader(file)} == {
            run.root.name for run in StudyPaths(home.root).existing_runs()
        }
    with (folder / "contrasts.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["metric"] == "test/linear_probe/top1_mean"]
    assert float(rows[0]["mean"]) == pytest.approx(1.0)
    assert float(rows[0]["sd"]) == pytest.approx(0.1)
    assert float(rows[0]["t"]) == pytest.approx(1.0 / (0.1 / math.sqrt(3)))


def test_the_same_runs_give_the_same_bytes(home: StudyHome) -> None:
    first = {path: path.read_bytes() for path in write_report(home.build().root).files}
    assert {path: path.read_bytes() for path in write_report(home.root).files} == first


def test_an_unfinished_study_says_what_is_missing(home: StudyHome) -> None:
    diverged, absent = home.confirm_spec("mmcr", 2), home.confirm_spec("mmcr", 3)
    home.build(skip=lambda s: s.run_id in (diverged.run_id, absent.run_id)).write_failed_run(diverged)
    report = write_report(home.root)
    assert "19 of 21 confirm runs completed" in report.text
    assert "Unfinished, completed confirm runs: mmcr 1/3 (1 diverged)." in report.text
    text = (StudyPaths(home.root).report / "report.md").read_text(encoding="utf-8")
    assert "mmcr, confirm, not there yet: b3-c1" in text
    assert f"`{diverged.run_id}` (diverged)" in text


def test_a_study_without_a_finished_run(home: StudyHome) -> None:
    home.write_plan()
    report = write_report(home.root)
    assert {path.name for path in report.files} == FILES
    assert "0 of 21 confirm runs completed" in report.text
    assert "can be judged yet" in " ".join(report.text.split())
    assert "no winner yet" in (StudyPaths(home.root).report / "winners.md").read_text(encoding="utf-8")


def test_unused_runs_are_mentioned_with_their_cost(home: StudyHome) -> None:
    home.build().write_run(home.confirm_spec("mmcr", 1, trial_params(home.plan.arm("mmcr"), 0)))
    said = " ".join(write_report(home.root).text.split())
    assert "Not used: 1 run(s), 10 CPU s: not trained with the winner's parameters" in said


def test_runs_of_another_code_version_are_marked(home: StudyHome) -> None:
    spec = home.confirm_spec("mmcr", 2)
    home.build(skip=lambda s: s.run_id == spec.run_id).write_run(spec, code="0ther")
    assert "2 versions of the code; arms with runs of another version than most: mmcr." in " ".join(
        write_report(home.root).text.split()
    )


@pytest.mark.parametrize(("sampler", "num_trials", "name"), [
    ("tpe", 4, "random search with a start point"), ("tpe", 10, "random search with a start point"),
    ("tpe", 11, "TPE search with a start point"), ("random", 40, "random search with a start point"),
])  # fmt: skip
def test_a_search_is_called_what_it_is(sampler: str, num_trials: int, name: str) -> None:
    plan = make_plan()
    assert (
        search_name(replace(plan, tune=replace(plan.tune, sampler=sampler, trials_per_arm=num_trials)))
        == name
    )


def test_unequal_budgets_are_reported(home: StudyHome) -> None:
    home.build()
    StudyPaths(home.root).trial("mmcr", 1).unlink()
    assert "not ended with equal budgets: mmcr 1/2 trials." in " ".join(write_report(home.root).text.split())


def test_one_checkpoint_is_said_to_be_one(tmp_path: Path) -> None:
    plan = make_plan(unit="continuation", confirm=Confirm((1,), (1, 2, 3)))
    home = StudyHome(tmp_path / "toy", plan, continuation_spread=0.2).build()
    text = " ".join(write_report(home.root).text.split())
    assert "over continuation seeds; for this checkpoint, tuned on it" in text
    caption = (StudyPaths(home.root).report / "contrasts.tex").read_text(encoding="utf-8")
    assert "for this checkpoint, tuned on it" in caption


def test_another_directory_is_refused_and_left_alone(tmp_path: Path) -> None:
    with pytest.raises(HomeError):
        write_report(tmp_path)
    assert not list(tmp_path.iterdir())
