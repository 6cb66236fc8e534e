"""What is to be made anew is moved aside, all of it or nothing, and it is on record."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from study.errors import LeaseHeldError, UserError
from study.journal.files import create_once, read_json, write_json
from study.journal.process import this_process
from study.orchestration import actions, aside
from study.orchestration.aside import REDO, finish_moves, occasions, set_aside
from study.orchestration.lease import Lease
from study.orchestration.redo import Redone, redo
from study.orchestration.reuse import TrainedRuns
from study.paths import HomePaths, RunPaths
from study.plan.expand import base_spec, confirm_specs, required_evaluations, tune_specs
from study.plan.model import Phase
from study.plan.spec import RunSpec
from study.search.trial import Trial, TrialState
from tests.fakes.tiny_study import tiny_plan

PLAN = tiny_plan("confirm.base_seeds=[1, 2]")
ARM = PLAN.arm("uniformity")
BASES = [base_spec(PLAN, seed).run_id for seed in PLAN.base_seeds]


def write_run(home: HomePaths, spec: RunSpec, study: str = "tiny") -> RunPaths:
    """A completed run as its files say it."""
    phase = Phase(spec.labels["phase"])
    run = home.run_of(study, spec.run_id, phase)
    run.attempt(1).root.mkdir(parents=True)
    run.evaluations.mkdir()
    write_json(run.spec, spec.as_json())
    write_json(run.trained, {"attempt": 1, "code": "c0de"})
    requests = () if phase is Phase.PREPARE else required_evaluations(PLAN, phase)
    for number, request in enumerate(requests):
        record = {"evaluation": {"name": request.evaluation.name}, "split": request.split}
        write_json(run.evaluations / f"{request.key}.json", {**record, "metrics": {"top1": 70.0 + number}})
    return run


@pytest.fixture
def home(tmp_path: Path) -> HomePaths:
    """A finished study: bases, two trials of one arm, confirm runs of all arms."""
    home = HomePaths(tmp_path / "home")
    study = home.study("tiny")
    study.root.mkdir(parents=True)
    write_json(study.plan, PLAN.as_json())
    write_json(study.finished, {})
    for seed in PLAN.base_seeds:
        write_run(home, base_spec(PLAN, seed))
    trials = [Trial(n, {"criterion.weight": 0.5 + n}, TrialState.COMPLETE, 60.0 + n) for n in range(2)]
    for trial in trials:
        specs = tune_specs(PLAN, ARM, trial.params)
        actions.write_trial(study, ARM.name, trial, [spec.run_id for spec in specs])
        for spec in specs:
            write_run(home, spec)
    study.search_log(ARM.name).touch()
    for arm in PLAN.arms:
        for spec in confirm_specs(PLAN, arm, trials[1].params if arm.is_tuned else {}):
            write_run(home, spec)
    return home


def names(home: HomePaths) -> set[str]:
    return {run.root.name for run in home.study("tiny").existing_runs()}


def of(home: HomePaths, arm: str, phase: str = "confirm") -> list[str]:
    """Run ids of an arm and phase, in the order of their seeds."""
    found = [read_json(run.spec) for run in home.study("tiny").existing_runs()]
    return [s["run_id"] for s in found if (s["labels"]["arm"], s["labels"]["phase"]) == (arm, phase)]


def run_redo(home: HomePaths, *targets: str, evaluation: str | None = None, why: str = "") -> Redone:
    return redo(home, "tiny", targets, evaluation, why)


def test_a_run_is_moved_whole_and_its_worth_is_on_record(home: HomePaths) -> None:
    chosen, others = of(home, "continued")[0], names(home)
    done = run_redo(home, chosen, why="the node was odd")
    assert done.runs == (chosen,) and done.searches == ()
    assert names(home) == others - {chosen}
    moved = RunPaths(done.folder / "tiny" / "runs" / chosen)
    assert read_json(moved.trained)["code"] == "c0de" and len(list(moved.evaluations.iterdir())) == 2
    (record,) = occasions(home.study("tiny"))
    assert (record.kind, record.why, record.what, record.is_done) == (REDO, "the node was odd", chosen, True)
    (worth,) = record.runs
    assert worth["metrics"] == {"test/linear_probe/top1": 70.0, "test/knn/top1": 71.0} and worth["arm"] == "continued"
    assert not home.study("tiny").finished.exists(), "the next start does not repeat the old words"


def test_with_an_arm_goes_its_search(home: HomePaths) -> None:
    gone = {*of(home, "uniformity"), *of(home, "uniformity", "tune")}
    done = run_redo(home, "uniformity")
    assert set(done.runs) == gone and len(gone) == 4 and done.searches == ("uniformity",)
    study = home.study("tiny")
    assert not study.search_log("uniformity").exists() and not study.trials("uniformity")
    assert not names(home) & gone and of(home, "continued")
    assert (done.folder / "tiny/search/uniformity/0001.json").exists()


def test_with_bases_goes_what_continues_them(home: HomePaths) -> None:
    done = run_redo(home, BASES[1])
    assert BASES[1] in done.runs and not home.base(BASES[1]).root.exists() and home.base(BASES[2]).root.exists()
    assert all("-b1-" in run for run in set(done.runs) - {BASES[1]}) and len(done.runs) == 1 + len(PLAN.arms)
    run_redo(home, "bases")
    assert names(home) == set() and not list(home.bases.iterdir())
    assert not home.study("tiny").trials("uniformity"), "trials were judged on a base that is gone"


def test_bases_that_others_continue_are_theirs_as_well(home: HomePaths) -> None:
    (spec,) = [s for s in confirm_specs(PLAN, PLAN.arm("continued"), {}) if "-b1-" in s.run_id]
    write_run(home, spec, "other")
    before = names(home)
    with pytest.raises(UserError, match=r"the bases are shared with other, .* nothing was moved"):
        run_redo(home, "bases")
    assert names(home) == before and all(home.base(base).trained.exists() for base in BASES)
    run_redo(home, BASES[2])


def test_a_run_of_a_trial_is_not_made_anew_alone(home: HomePaths) -> None:
    chosen = of(home, "uniformity", "tune")[0]
    with pytest.raises(
        UserError, match=f"by which the search of uniformity chose; redo the arm: .* --home {home.root}"
    ):
        run_redo(home, chosen)
    assert chosen in names(home)
    assert chosen in run_redo(home, chosen, "uniformity").runs


def test_one_evaluation_is_made_anew_and_the_training_stays(home: HomePaths) -> None:
    runs = names(home)
    done = run_redo(home, evaluation="linear_probe")
    assert names(home) == runs and done.searches == ()
    assert set(done.runs) == {run for arm in PLAN.arms for run in of(home, arm.name)}
    for run in home.study("tiny").existing_runs():
        assert run.trained.exists()
        assert {read_json(f)["evaluation"]["name"] for f in run.evaluations.iterdir()} == {"knn"}
    assert all(set(run["metrics"]) == {"test/linear_probe/top1"} for run in occasions(home.study("tiny"))[0].runs)


def test_with_the_objective_the_searches_start_anew(home: HomePaths) -> None:
    done = run_redo(home, "uniformity", evaluation="knn")
    assert done.searches == ("uniformity",) and not home.study("tiny").trials("uniformity")
    assert len(of(home, "uniformity", "tune")) == 2, "trained they are"
    assert not any(list(home.study("tiny").run(run).evaluations.iterdir()) for run in of(home, "uniformity", "tune"))


@pytest.mark.parametrize(
    ("targets", "evaluation", "message"),
    [
        ((), None, "name what to make anew: bases, or an arm \\(base, continued, uniformity\\), or a run, e.g. "),
        (("uniformty",), None, "no run, arm or base 'uniformty'. Did you mean 'uniformity'\\?"),
        (("continued", "nothing"), None, "no run, arm or base 'nothing'"),
        ((), "kn", "no evaluation 'kn' in tiny. Did you mean 'knn'\\?"),
        (("bases",), "knn", "bases are not evaluated"),
    ],
)
def test_what_is_not_known_moves_nothing(home: HomePaths, targets: Any, evaluation: Any, message: str) -> None:
    before = sorted(path for path in home.root.rglob("*") if path.name != "lease.lock")
    with pytest.raises(UserError, match=message):
        run_redo(home, *targets, evaluation=evaluation)
    assert sorted(path for path in home.root.rglob("*") if path.name != "lease.lock") == before


def test_an_arm_without_runs_is_told(home: HomePaths) -> None:
    run_redo(home, "continued")
    with pytest.raises(UserError, match="arm continued of tiny has no runs yet"):
        run_redo(home, "continued")


def test_what_may_be_running_stays(home: HomePaths) -> None:
    chosen = home.study("tiny").run(of(home, "continued")[0])
    write_json(chosen.attempt(1).job, {"run_id": chosen.root.name})
    create_once(chosen.attempt(1).claim, this_process())
    with pytest.raises(UserError, match="may still be running"):
        run_redo(home, "continued")
    assert chosen.trained.exists()


def test_a_study_that_is_orchestrated_is_left_alone(home: HomePaths) -> None:
    lease = Lease.acquire(home.study("tiny").lease)
    with pytest.raises(LeaseHeldError):
        run_redo(home, "continued")
    lease.release()
    run_redo(home, "continued")
    assert not home.study("tiny").lease.exists()


@pytest.mark.parametrize("num_moved", [0, 1])
def test_a_kill_in_the_middle_is_finished_by_whoever_comes_next(
    home: HomePaths, monkeypatch: pytest.MonkeyPatch, num_moved: int
) -> None:
    study, runs = home.study("tiny"), of(home, "continued")
    left = [num_moved]
    rename = Path.rename

    def killed(self: Path, target: Path) -> Path:
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            set_aside(study, [study.run(run).root for run in runs], kind=REDO, what="continued")
    assert sum(not study.run(run).root.exists() for run in runs) == num_moved
    finish_moves(study)
    moved = runs
    assert all(not study.run(run).root.exists() for run in moved)
    assert all((study.aside / "0001" / "tiny" / "runs" / run / "trained.json").exists() for run in moved)
    study.run(moved[0]).root.mkdir()
    finish_moves(study)
    assert study.run(moved[0]).root.exists(), "what is made anew is not moved again"


def test_two_occasions_do_not_share_a_folder(home: HomePaths) -> None:
    first, second = (run_redo(home, run).folder for run in of(home, "continued"))
    assert [first.name, second.name] == ["0001", "0002"]
    assert json.loads((home.study("tiny").aside / "0002.json").read_text())["by"].endswith(os.uname().nodename)


def test_what_is_to_be_made_anew_is_not_taken_over_from_another_study(home: HomePaths) -> None:
    (spec,) = [s for s in confirm_specs(PLAN, PLAN.arm("continued"), {}) if "-b1-" in s.run_id]
    write_run(home, spec, "other")
    run_redo(home, spec.run_id)
    run = home.study("tiny").run(spec.run_id)
    assert not TrainedRuns(home, "tiny").take_over(run, spec, ())


def test_the_module_says_where_things_are() -> None:
    assert "<study>/aside/0001.json" in str(aside.__doc__)
