"""That random points are common to all arms is said when trials show it, and denied when they do not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from analysis.common_points import common_points_sentence
from analysis.findings import caveats
from analysis.frames import load_study
from study.plan.space import FloatRange
from tests.fakes.study_home import LR, StudyHome, make_plan

PLAN = make_plan()
ARMS = [arm.name for arm in PLAN.arms if arm.is_tuned]


def trials(num: int = 4) -> pd.DataFrame:
    """Arms try the same values in trials of equal number."""
    spaces = {arm.name: arm.space for arm in PLAN.arms}
    rows = [
        {"arm": arm, "number": number, "state": "complete", "objective": 1.0,
         **{f"param/{name}": 10.0 ** -(number + len(name) / 10) for name in spaces[arm]}}
        for arm in ARMS for number in range(num)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_what_was_compared_is_counted() -> None:
    said = common_points_sentence(trials(), PLAN, 10)
    assert said == "Random points are the same for all arms: 3 trials of 6 arms compared, in what they share."


@pytest.mark.parametrize(("name", "arms"), [(LR, ARMS), ("criterion.entropy_weight", ["e2mc", "e2mc-no-covariance"])])
def test_a_trial_that_differs_is_named(name: str, arms: list[str]) -> None:
    wrong = trials()
    wrong.loc[(wrong["arm"] == arms[-1]) & (wrong["number"] == 2), f"param/{name}"] *= 1.001
    said = common_points_sentence(wrong, PLAN, 10)
    assert said.startswith("Random trials of equal number tried other values of parameters in common: ")
    assert f"trial 2 of {arms[0]} and {arms[-1]} ({name})" in said


@pytest.mark.parametrize("number", [0, 3])
def test_starts_and_guesses_of_the_sampler_may_differ(number: int) -> None:
    other = trials()
    other.loc[(other["arm"] == "mmcr") & (other["number"] == number), f"param/{LR}"] *= 2
    assert common_points_sentence(other, PLAN, 3).startswith("Random points are the same")


def test_nothing_is_said_where_nothing_can_be_compared() -> None:
    single = trials()[lambda f: f["arm"] == "mmcr"]
    assert common_points_sentence(single, PLAN, 10) == common_points_sentence(trials(1), PLAN, 10) == ""
    narrow = FloatRange(3e-4, 1e-3, log=True)
    arms = tuple(replace(arm, space={**arm.space, LR: narrow}) if arm.name == "mmcr" else arm for arm in PLAN.arms)
    few = trials()[lambda f: f["arm"].isin(["mmcr", "continued"])]
    assert common_points_sentence(few, replace(PLAN, arms=arms), 10) == "", "other ranges give other values"


def test_numbers_of_the_test_split_in_a_tuning_run_are_told(tmp_path: Path) -> None:
    study = load_study(StudyHome(tmp_path / "toy").build().root)
    sentences = caveats(study.runs, study.trials, study.plan)
    assert any(s.startswith("Random points are the same for all arms: 1 trial of 6 arms") for s in sentences)
    assert not any("test split" in sentence for sentence in sentences)
    runs = study.runs.copy()
    runs.loc[runs["phase"] == "tune", "test/knn/top1"] = 1.0
    ahead = (
        f"The test split was looked at while tuning: {(runs['phase'] == 'tune').sum()} tuning runs hold numbers of it."
    )
    assert ahead in caveats(runs, study.trials, study.plan)
