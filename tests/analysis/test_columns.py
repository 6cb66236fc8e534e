"""Columns that are wrong or missing, and runs that cannot be read: one clear message, and the rest still counts."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest

from analysis.audit import failures_table
from analysis.columns import RUN_COLUMNS, ColumnsError, tidy
from analysis.contrasts import gaps
from analysis.frames import load_study
from analysis.records import trials_of
from analysis.report import write_report
from analysis.statistics import unit_values
from analysis.tables import comparison_table
from study.errors import JournalError
from study.journal.files import read_json, write_json
from study.paths import StudyPaths
from study.plan.model import Confirm
from tests.fakes.study_home import StudyHome, make_plan

METRIC = "test/linear_probe/top1_mean"


@pytest.fixture
def home(tmp_path: Path) -> StudyHome:
    plan = make_plan(confirm=Confirm((1, 2, 3), (1,)))
    return StudyHome(tmp_path / "toy", plan, lambda arm, base, metric: 60.0 + len(arm) % 3 * base).build()


def test_missing_columns_are_all_named(home: StudyHome) -> None:
    runs = load_study(home.root).runs
    with pytest.raises(ColumnsError, match="the frame of runs has no column 'arm', 'status'"):
        unit_values(runs.drop(columns=["arm", "status"]), "mmcr", METRIC, home.plan)


def test_a_metric_that_is_no_number_names_its_run(home: StudyHome) -> None:
    runs = load_study(home.root).runs
    wrong = runs.assign(**{METRIC: runs[METRIC].astype(object).where(runs.index != 3, "ninety")})
    with pytest.raises(ColumnsError, match=f"must hold numbers, but of run {runs['run_id'][3]} it is 'ninety'"):
        unit_values(wrong, "mmcr", METRIC, home.plan)


def test_types_depend_on_the_values_alone() -> None:
    rows = [
        {"run_id": "a", "base_seed": 1, "param/x": 1, "param/y": 1, "param/z": True, "param/u": "text", "test/k/t": 1},
        {"run_id": "b", "base_seed": 2, "param/x": 2, "param/y": 0.5, "param/z": None, "param/u": 3, "param/v": None},
    ]
    frame = tidy(rows, ("run_id", "base_seed"))
    assert frame.columns.tolist() == [
        "run_id", "base_seed", "param/u", "param/v", "param/x", "param/y", "param/z", "test/k/t",
    ]  # fmt: skip
    assert frame.dtypes.map(str).to_dict() == {
        "run_id": "str", "base_seed": "int64", "param/u": "str", "param/v": "str", "param/x": "int64",
        "param/y": "float64", "param/z": "str", "test/k/t": "float64",
    }  # fmt: skip
    assert frame["param/u"].tolist() == ["text", "3"] and frame["param/z"][0] == "true"
    assert frame["param/v"].isna().all() and math.isnan(frame["test/k/t"][1])
    assert tidy([], RUN_COLUMNS).dtypes.equals(tidy([], RUN_COLUMNS).dtypes)


def spoil_schema(home: StudyHome, arm: str, base: int) -> str:
    run = StudyPaths(home.root).run(home.confirm_spec(arm, base).run_id)
    write_json(run.spec, {**read_json(run.spec), "schema_version": 99})
    return run.root.name


def test_mixed_schema_versions_and_damaged_runs_leave_the_rest(home: StudyHome) -> None:
    newer = spoil_schema(home, "mmcr", 1)
    torn = StudyPaths(home.root).run(home.confirm_spec("uniformity", 2).run_id)
    next(torn.evaluations.glob("knn-*.json")).write_text("{half")
    odd = StudyPaths(home.root).run(home.confirm_spec("e2mc", 3).run_id)
    record = next(odd.evaluations.glob("knn-*.json"))
    write_json(record, {**read_json(record), "metrics": {"top1": None}})
    (StudyPaths(home.root).runs / "somebody's notes.txt").write_text("x")
    (StudyPaths(home.root).runs / "empty").mkdir()

    frames = load_study(home.root)
    reasons = frames.everything.set_index("run_id")["unused"]
    assert "schema version 99, but this code reads version 1; use the code that wrote it" in reasons[newer]
    assert "is damaged" in reasons[torn.root.name]
    assert "do not hold what they should" in reasons[odd.root.name]
    assert (reasons == "").sum() == len(reasons) - 3
    lacking = {arm for arm, text in gaps(frames.runs, frames.plan).items() if text}
    assert lacking == {"mmcr", "uniformity", "e2mc"}
    failures = failures_table(frames.everything, frames.plan).set_index("run")
    assert not failures["status"].eq("not there yet").any(), "they are there, but cannot be read"
    assert (failures.loc[[newer, torn.root.name, odd.root.name], "status"] == "unreadable").all()
    text = " ".join(write_report(home.root).text.split())
    assert "Not used: 3 run(s), cannot be read (see the table of failures)." in text
    assert "uniformity 2/3" in text


def test_a_plan_of_another_version_is_one_error(home: StudyHome) -> None:
    plan = StudyPaths(home.root).plan
    write_json(plan, {**read_json(plan), "schema_version": 2})
    with pytest.raises(JournalError, match="schema version 2, but this code reads version 1"):
        write_report(home.root)


def test_a_damaged_trial_is_named() -> None:
    with pytest.raises(JournalError, match="the record of trial 3 of arm 'mmcr' is damaged"):
        trials_of([{"arm": "mmcr", "number": 3, "params": {}}])


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_metric_that_is_not_finite_is_missing_not_averaged(home: StudyHome, value: float) -> None:
    run = StudyPaths(home.root).run(home.confirm_spec("mmcr", 2).run_id)
    record = next(run.evaluations.glob("linear_probe-*.json"))
    content = read_json(record)
    write_json(record, {**content, "metrics": {**content["metrics"], "top1_mean": value}})
    frames = load_study(home.root)
    shown = comparison_table(frames.runs, frames.plan).set_index("arm").loc["mmcr"]
    assert shown["mean"] == "n=2/3" and shown["n"] == "2/3" and "±" in shown["kNN"]


def test_a_missing_metric_is_said_to_be_missing(home: StudyHome) -> None:
    for record in StudyPaths(home.root).runs.glob("mmcr-*/evaluations/linear_probe-test*.json"):
        content = read_json(record)
        write_json(record, {**content, "metrics": {"top1_10pct": 50.0}})
    frames = load_study(home.root)
    shown = comparison_table(frames.runs, frames.plan).set_index("arm").loc["mmcr"]
    assert shown["mean"] == "n=0/3" and shown["10 %"] == "50.00 (n=3)"


@pytest.mark.parametrize(("num_arms", "bases"), [(1, (1, 2)), (2, (1,))])
def test_one_arm_and_one_unit_give_what_there_is(tmp_path: Path, num_arms: int, bases: tuple[int, ...]) -> None:
    plan = make_plan(confirm=Confirm(bases, (1,)))
    contrasts = (("continued", "base"),) if num_arms == 2 else ()
    plan = replace(plan, arms=plan.arms[2 - num_arms : 2], contrasts=contrasts)
    home = StudyHome(tmp_path / "toy", plan, lambda arm, base, metric: 70.0 + base * len(arm)).build()
    text = write_report(home.root).text
    assert f"{num_arms * len(bases)} of {num_arms * len(bases)} confirm runs completed" in text
    assert ("n=1: no interval" in text) == (num_arms == 2 and len(bases) == 1)
    assert ("declares no contrasts" in text) == (num_arms == 1)
    page = (StudyPaths(home.root).report / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"\bnan\b", re.sub(r"base64,[^\"]*", "", page))
