import math
import os
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from analysis.frames import runs_frame, steps_frame, trials_frame
from analysis.winners import has_parameters, tunable_values, winning_parameters, winning_trial
from study.errors import HomeError
from study.journal.events import EventWriter
from study.journal.files import read_json, write_json
from study.paths import StudyPaths
from study.plan.model import Confirm, Phase
from tests.benchmarks import frames as frames_benchmark
from tests.fakes.study_home import CHECKPOINT_STEP, CPU_S, LR, START_T, StudyHome, make_plan, trial_params, without


@pytest.fixture
def home(tmp_path: Path) -> StudyHome:
    plan = make_plan(confirm=Confirm((1, 2), (1,)))
    return StudyHome(tmp_path / "toy", plan, lambda arm, base, metric: 60.0 + len(arm) + base)


def test_one_row_per_run_with_parameters_and_metrics(home: StudyHome) -> None:
    runs = runs_frame(home.build().root).set_index("run_id")
    assert len(runs) == 6 * 2 + 7 * 2  # two trials for six tuned arms, two bases for all seven
    run_id = home.confirm_spec("e2mc", 2).run_id
    row = runs.loc[run_id]
    assert row[["arm", "phase", "base_seed", "continuation_seed", "status"]].tolist() == [
        "e2mc", "confirm", 2, 1, "completed",
    ]  # fmt: skip
    assert (row["num_attempts"], row["cpu_s"], row["criterion"], row["code"]) == (1, CPU_S, "e2mc", "c0de")
    assert (row["commit"], row["dataset"], row["cpu_model"], row["start_t"]) == ("c0ffee", "da7a", "a CPU", START_T)
    assert row["param/criterion.entropy_weight"] == 0.45
    assert row["param/continuation.optimizer.lr"] == pytest.approx(9e-4)
    assert row["param/continuation.epochs"] == 2
    assert row["test/linear_probe/top1_10pct"] == row["test/knn/top1"] == 60.0 + 4 + 2
    assert math.isnan(row["validation/linear_probe/top1_mean"])
    tuned = runs[runs["phase"] == "tune"]
    assert tuned["validation/linear_probe/top1_mean"].notna().all()
    assert tuned["test/linear_probe/top1_mean"].isna().all()


def test_the_arm_that_is_not_continued_has_one_run_per_base(home: StudyHome) -> None:
    runs = runs_frame(home.build().root)
    base = runs[runs["arm"] == "base"]
    assert base["continuation_seed"].tolist() == [0, 0]
    assert base["criterion"].tolist() == ["none", "none"]
    assert base["param/continuation.epochs"].tolist() == [0, 0]


def test_status_tells_outcomes_from_faults(home: StudyHome) -> None:
    specs = {base: home.confirm_spec("mmcr", base) for base in (1, 2)}
    others = {base: home.confirm_spec("uniformity", base) for base in (1, 2)}
    kept_out = {s.run_id for s in (*specs.values(), *others.values())}
    home.build(skip=lambda spec: spec.run_id in kept_out)
    home.write_failed_run(specs[1], "diverged")
    home.write_failed_run(specs[2], "memory")
    home.start_run(others[1])
    paths = home.write_run(others[2])
    next(paths.evaluations.glob("knn-*.json")).unlink()
    status = runs_frame(home.root).set_index("run_id")["status"]
    assert [status[specs[b].run_id] for b in (1, 2)] == ["diverged", "failed"]
    assert [status[others[b].run_id] for b in (1, 2)] == ["incomplete", "incomplete"]


def test_evaluations_are_recognised_by_content_and_weights(home: StudyHome) -> None:
    run = StudyPaths(home.build().root).run(home.confirm_spec("mmcr", 1).run_id)
    knn = next(run.evaluations.glob("knn-*.json"))
    record = read_json(knn)
    knn.rename(knn.with_name("knn-test-0000.json"))
    assert runs_frame(home.root).set_index("run_id").loc[run.root.name, "status"] == "completed"
    for change in (
        {"weights_sha256": "of other weights"},
        {"evaluation": {"name": "knn", "params": {"num_neighbours": 5}}},
    ):
        write_json(knn.with_name("knn-test-0000.json"), {**record, **change})
        row = runs_frame(home.root).set_index("run_id").loc[run.root.name]
        assert row["status"] == "incomplete"
        assert math.isnan(row["test/knn/top1"])


def test_runs_outside_the_plan_do_not_count(home: StudyHome) -> None:
    home.build()
    smaller = replace(home.plan, arms=home.plan.arms[:-1], contrasts=(), confirm=Confirm((1,), (1,)))
    write_json(StudyPaths(home.root).plan, smaller.as_json())
    used, everything = runs_frame(home.root), runs_frame(home.root, include_unused=True)
    assert "mmcr" not in set(used["arm"])
    assert set(used.loc[used["phase"] == "confirm", "base_seed"]) == {1}
    assert len(everything) == 26
    assert set(everything["unused"]) == {"", "the plan has no such arm", "the plan has no such seeds"}


def test_confirm_runs_of_an_earlier_winner_are_ignored(home: StudyHome) -> None:
    home.build()
    stale = home.confirm_spec("mmcr", 1, trial_params(home.plan.arm("mmcr"), 0))
    home.write_run(stale)
    everything = runs_frame(home.root, include_unused=True).set_index("run_id")
    assert everything.loc[stale.run_id, "unused"] == "not trained with the winner's parameters"
    confirm = runs_frame(home.root).query("arm == 'mmcr' and phase == 'confirm'")
    assert confirm["run_id"].tolist() == [home.confirm_spec("mmcr", b).run_id for b in (1, 2)]


def test_of_two_runs_for_one_cell_the_completed_one_counts(home: StudyHome) -> None:
    spec = home.confirm_spec("mmcr", 1)
    home.build(skip=lambda s: s.run_id == spec.run_id)
    first, second = replace(spec, run_id="mmcr-b1-c1-aaa"), replace(spec, run_id="mmcr-b1-c1-bbb")
    home.start_run(first)
    home.write_run(second)
    everything = runs_frame(home.root, include_unused=True).set_index("run_id")["unused"]
    assert everything[first.run_id] == "another run has the same arm and seeds"
    assert everything[second.run_id] == ""


def test_without_a_finished_search_no_confirm_run_counts(home: StudyHome) -> None:
    home.build()
    for file in StudyPaths(home.root).trials("mmcr"):
        write_json(file, {**read_json(file), "state": "infeasible", "objective": None})
    everything = runs_frame(home.root, include_unused=True)
    reasons = everything.query("arm == 'mmcr' and phase == 'confirm'")["unused"]
    assert set(reasons) == {"the search has no winner yet"}


def test_winner_is_the_best_completed_trial_the_first_of_equals(home: StudyHome) -> None:
    home.write_plan()
    for number, (state, objective) in enumerate(
        [("complete", 60.0), ("infeasible", None), ("complete", 62.0), ("complete", 62.0), ("running", None)]
    ):
        home.write_trial("mmcr", number, state, objective)
    trials = trials_frame(home.root)
    best = winning_trial(trials, "mmcr")
    assert best is not None
    assert best["number"] == 2
    assert winning_trial(trials, "e2mc") is None
    expected = pytest.approx({"criterion.weight": 0.1 * 0.81, LR: 1e-3 * 0.81})
    assert winning_parameters(home.plan.arm("mmcr"), home.plan, trials) == expected
    assert winning_parameters(home.plan.arm("e2mc"), home.plan, trials) is None
    assert winning_parameters(home.plan.arm("base"), home.plan, trials) == {}


def test_an_inheriting_arm_uses_its_parents_winner_without_what_it_drops(tmp_path: Path) -> None:
    plan = make_plan(contrasts=())
    child = without(plan.arm("e2mc"), "entropy", inherits=True)
    plan = replace(plan, arms=(*(a for a in plan.arms if a.name != child.name), child))
    home = StudyHome(tmp_path / "toy", plan).build()
    params = winning_parameters(child, plan, trials_frame(home.root))
    assert params == pytest.approx({"criterion.covariance_weight": 0.45, LR: 9e-4})
    runs = runs_frame(home.root)
    assert (runs.loc[runs["arm"] == child.name, "status"] == "completed").sum() == 5


def test_parameters_match_by_dotted_name_up_to_rounding() -> None:
    training = {
        "criterion": {"name": "e2mc", "params": {"entropy_weight": 0.1 + 0.2, "map": "normal"}, "strength": 0.5},
        "epochs": 2, "batch_size": 250, "optimizer": {"name": "adamw", "lr": 1e-3},
    }  # fmt: skip
    assert has_parameters(training, {"criterion.entropy_weight": 0.3, LR: 1e-3})
    assert has_parameters(training, {})
    assert not has_parameters(training, {"criterion.entropy_weight": 0.3001})
    assert not has_parameters(training, {LR: 2e-3})
    assert not has_parameters(training, {"criterion.weight": 0.3})
    assert has_parameters(training, {"strength": 0.5}) and not has_parameters(training, {"strength": 0.4})
    assert tunable_values(training)["continuation.optimizer.lr"] == 1e-3


def test_steps_are_tidy_and_settled(home: StudyHome) -> None:
    home.build()
    finished, started = (
        home.confirm_spec("mmcr", 1).run_id,
        replace(home.confirm_spec("mmcr", 1), run_id="half"),
    )
    with EventWriter(home.start_run(started).attempt(1).events) as events:
        events.append("started", attempt=1, num_steps=8, resumed_step=0)
        for step in range(1, 7):
            events.append("step", step=step, metrics={"train/loss": 1.0})
            if step == CHECKPOINT_STEP:
                events.append("checkpoint", step=step)
    steps = steps_frame(home.root, [finished, "half"])
    assert steps.columns.tolist() == ["run_id", "step", "metric", "value"]
    assert steps.groupby("run_id")["step"].max().to_dict() == {finished: 8, "half": CHECKPOINT_STEP}


def test_an_empty_study_gives_empty_frames_with_columns(home: StudyHome) -> None:
    home.write_plan()
    assert runs_frame(home.root).empty
    assert {"run_id", "arm", "phase", "status"} <= set(runs_frame(home.root).columns)
    assert trials_frame(home.root).columns.tolist() == ["arm", "number", "state", "objective", "run_ids"]


def test_a_directory_without_plan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HomeError, match=r"no plan\.json"):
        runs_frame(tmp_path)


def test_the_fake_asks_for_what_the_phases_ask_for(home: StudyHome) -> None:
    runs = runs_frame(home.build().root)
    assert set(runs.loc[runs["phase"] == Phase.TUNE, "base_seed"]) == {101}


def test_of_runs_that_are_over_no_journal_is_read_again(tmp_path: Path) -> None:
    """Speed itself is in the benchmark `frames`."""
    study = frames_benchmark.write_study(tmp_path / "toy", num_runs=210)
    for file in study.runs.rglob("*"):
        os.utime(file, (START_T, START_T))
    runs = runs_frame(study.root)
    assert len(runs) == 210 and (runs["status"] == "completed").all()
    for journal in study.runs.glob("*/attempts/*/events.jsonl"):
        journal.write_bytes(b"x" * journal.stat().st_size)  # whoever parsed it would say that it is damaged
        os.utime(journal, (START_T, START_T))
    pd.testing.assert_frame_equal(runs_frame(study.root), runs)
