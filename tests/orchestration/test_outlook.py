"""What is left of a study, counted from its files and those of its home."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from study.execution.local import LocalExecutor
from study.journal.files import write_json
from study.orchestration.outlook import Outlook, PhaseOutlook, slots_of
from study.paths import HomePaths
from study.plan.expand import base_spec, confirm_specs, tune_specs
from study.plan.model import Phase, Plan
from study.plan.site import Mode, Site, Slurm
from study.plan.spec import RunSpec
from tests.fakes.study_home import StudyHome, make_plan, trial_params

PREPARE, TUNE, CONFIRM = Phase


@pytest.fixture
def home(tmp_path: Path) -> HomePaths:
    return HomePaths(tmp_path)


def left(home: HomePaths, plan: Plan | None = None) -> dict[Phase, PhaseOutlook]:
    return Outlook(home).of(plan or make_plan())


def prepare(home: HomePaths, plan: Plan, seeds: tuple[int, ...]) -> None:
    for seed in seeds:
        run = home.base(base_spec(plan, seed).run_id)
        run.root.mkdir(parents=True)
        write_json(run.trained, {})


def built(home: HomePaths, plan: Plan, skip: Callable[[RunSpec], bool] = lambda spec: False) -> StudyHome:
    return StudyHome(home.study(plan.study).root, plan).build(skip=skip)


def test_a_new_study_in_an_empty_home(home: HomePaths) -> None:
    assert left(home) == {
        PREPARE: PhaseOutlook(6, num_to_train=6),
        TUNE: PhaseOutlook(12, num_to_train=12),
        CONFIRM: PhaseOutlook(35, num_to_train=30, num_to_evaluate=5, num_to_hand_over=5),
    }
    assert not list(home.root.iterdir())


def test_bases_of_the_home_count_though_the_study_is_new(home: HomePaths) -> None:
    prepare(home, make_plan(), (101, 1, 2, 3, 4))
    assert left(home)[PREPARE] == PhaseOutlook(6, num_done=5, num_to_train=1)
    assert left(home, make_plan(study="another"))[PREPARE].num_done == 5
    other = make_plan(pretraining=make_plan().continuation.__class__(3, 250, {"name": "adamw"}))
    assert left(home, other)[PREPARE].num_done == 0, "other epochs make other bases"


def test_a_search_that_is_half_done(home: HomePaths) -> None:
    """One of two trials of an arm has ended, one runs; nothing is decided."""
    study = StudyHome(home.study("toy").root)
    study.write_plan()
    study.write_trial("e2mc", 0, "complete", 60.0)
    study.write_trial("e2mc", 1, "running", None)
    study.write_trial("mmcr", 0, "infeasible", None)
    assert left(home)[TUNE] == PhaseOutlook(12, num_done=1, num_to_train=11), "the run of the complete one has gone"
    study.write_run(tune_specs(study.plan, study.plan.arm("e2mc"), trial_params(study.plan.arm("e2mc"), 0))[0])
    assert left(home)[TUNE] == PhaseOutlook(12, num_done=2, num_to_train=10)
    assert left(home)[CONFIRM].num_to_train == 30


def test_a_study_that_is_finished_has_nothing_left(home: HomePaths) -> None:
    plan = make_plan()
    built(home, plan)
    prepare(home, plan, plan.base_seeds)
    outlook = left(home)
    assert not any(one.num_left for one in outlook.values())
    assert {phase: one.num_done for phase, one in outlook.items()} == {PREPARE: 6, TUNE: 12, CONFIRM: 35}


def test_what_lacks_is_trained_or_evaluated(home: HomePaths) -> None:
    plan = make_plan()
    study = built(home, plan, skip=lambda spec: spec.labels["base_seed"] == 5)
    first = confirm_specs(plan, plan.arm("mmcr"), study.winner(plan.arm("mmcr")))[0]
    next(study.root.glob(f"runs/{first.run_id}/evaluations/knn-*")).unlink()
    confirm = left(home)[CONFIRM]
    assert confirm == PhaseOutlook(35, num_done=27, num_to_train=6, num_to_evaluate=2, num_to_hand_over=1)


def test_arms_without_a_winner_leave_nothing_to_confirm(home: HomePaths) -> None:
    study = StudyHome(home.study("toy").root)
    study.write_plan()
    for number in range(2):
        study.write_trial("uniformity", number, "infeasible", None)
    assert left(home)[CONFIRM].num_to_train == 25


def test_blocks_share_their_bases(home: HomePaths) -> None:
    """Epochs of the continuation leave the bases alone, and runs that are not continued."""
    first = make_plan(study="one")
    second = make_plan(study="two", continuation=first.continuation.__class__(4, 250, first.continuation.optimizer))
    outlook = Outlook(home)
    assert outlook.of(first)[PREPARE] == PhaseOutlook(6, num_to_train=6)
    then = outlook.of(second)
    assert then[PREPARE] == PhaseOutlook(6, num_found=6)
    assert then[TUNE].num_to_train == 12
    assert (then[CONFIRM].num_found, then[CONFIRM].num_to_train) == (5, 30)
    fresh = Outlook(home, reuse=False)
    fresh.of(first)
    assert (fresh.of(second)[PREPARE].num_found, fresh.of(second)[CONFIRM].num_found) == (6, 0)


@pytest.mark.parametrize(
    ("site", "given", "number", "source"),
    [
        (Site(), 3, 3, "--slots"),
        (Site(slots=5), None, 5, "slots of site.yaml"),
        (Site(slots=5), 2, 2, "--slots"),
        (Site(executor="inline"), None, 1, "executor: inline"),
        (Site(executor="slurm", slurm=Slurm(mode=Mode.JOBS)), None, 8, "usual with SLURM"),
    ],
)
def test_slots_and_what_says_so(site: Site, given: int | None, number: int, source: str) -> None:
    slots = slots_of(site, Path("site.yaml"), given)
    assert (slots.number, slots.source) == (number, source)


@pytest.mark.parametrize(
    ("gpus", "processes", "number", "source"),
    [
        ("0,1,2", 1, 3, "GPUs of this machine"),
        ("0,1,2", 2, 1, "GPUs of this machine, 2 for a run"),
        ("", 1, None, "cores"),
    ],
)
def test_slots_of_this_machine_are_those_of_a_start(
    gpus: str, processes: int, number: int | None, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", gpus)
    slots = slots_of(Site(processes_per_run=processes), None, None)
    executor = LocalExecutor(None, processes)
    executor.close()
    assert slots.number == executor.slots and number in (None, slots.number)
    assert slots.source.startswith(source)
