"""What to do next is a function of plan, trials and runs alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import fmean

import pytest

from study.orchestration.decide import (
    Action,
    Ask,
    Situation,
    Submit,
    Tell,
    decide,
    evaluations_for,
    final_params,
    known_specs,
)
from study.orchestration.ledger import Ledger
from study.orchestration.snapshot import RunStatus, RunView
from study.plan.expand import base_spec, confirm_specs, tune_specs
from study.plan.model import Phase, Plan
from study.plan.spec import RunSpec
from study.search.trial import Trial, TrialState
from tests.fakes.study_home import make_plan, trial_params, without
from tests.fakes.tiny_study import tiny_plan

TUNED = ("continued", "e2mc", "e2mc-no-entropy", "e2mc-no-covariance", "uniformity", "mmcr")


@dataclass
class World:
    """A study as it could stand: trials and runs by hand."""

    plan: Plan = field(default_factory=make_plan)
    slots: int = 100
    trials: dict[str, list[Trial]] = field(default_factory=dict)
    runs: dict[str, RunView] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.trials = {arm.name: [] for arm in self.plan.arms if arm.is_tuned} | self.trials

    def bases(self, *seeds: int, status: RunStatus = RunStatus.COMPLETED) -> World:
        """Bases of these seeds, by default of all."""
        for seed in seeds or (*self.plan.tune.base_seeds, *self.plan.confirm.base_seeds):
            self.runs[base_spec(self.plan, seed).run_id] = RunView(status)
        return self

    def trial(self, arm: str, state: TrialState = TrialState.RUNNING, objective: float | None = None) -> Trial:
        """The next trial of an arm."""
        number = len(self.trials[arm])
        trial = Trial(number, trial_params(self.plan.arm(arm), number), state, objective)
        self.trials[arm].append(trial)
        if state is TrialState.COMPLETE:
            for spec in self.runs_of(arm, trial):
                self.runs.setdefault(spec.run_id, RunView(RunStatus.COMPLETED))
        return trial

    def runs_of(self, arm: str, trial: Trial) -> list[RunSpec]:
        return tune_specs(self.plan, self.plan.arm(arm), trial.params)

    def complete(self, spec: RunSpec, value: float = 50.0) -> None:
        """The run ended well, with this objective."""
        name, metric = self.plan.tune.objective.split("/")
        phase = Phase(spec.labels["phase"])
        evaluations = {
            request.key: {"metrics": {metric: value} if request.evaluation.name == name else {}}
            for request in evaluations_for(self.plan, phase)
        }
        self.runs[spec.run_id] = RunView(RunStatus.COMPLETED, evaluations=evaluations)

    def mark(self, spec: RunSpec, status: RunStatus) -> None:
        self.runs[spec.run_id] = RunView(status)

    def tuned(self, *arms: str) -> World:
        """The searches of these arms are over, by default of all."""
        for arm in arms or tuple(self.trials):
            for number in range(self.plan.tune.trials_per_arm):
                self.trial(arm, TrialState.COMPLETE, float(number))
        return self

    def ledger(self) -> Ledger:
        """What an orchestrator that starts now would know."""
        ledger = Ledger(self.plan)
        for spec, phase in known_specs(self.plan, self.trials):
            ledger.add(spec, phase, self.runs.get(spec.run_id))
        return ledger

    def decide(self) -> list[Action]:
        return decide(self.plan, Situation(self.trials, self.ledger(), self.slots))


def submitted(actions: Iterable[Action]) -> list[str]:
    return [action.spec.run_id for action in actions if isinstance(action, Submit)]


def names(actions: Iterable[Action]) -> list[tuple[str, int]]:
    """(arm, base seed) of every run that is started; bases have no arm."""
    return [
        (action.spec.labels.get("arm", ""), action.spec.labels["base_seed"])
        for action in actions
        if isinstance(action, Submit)
    ]


def test_an_objective_that_is_no_number_is_an_outcome() -> None:
    world = World().bases()
    (spec,) = world.runs_of("e2mc", world.trial("e2mc"))
    world.complete(spec, math.nan)
    assert world.decide() == [Tell("e2mc", 0, TrialState.INFEASIBLE, None)]


def test_a_run_of_a_complete_trial_that_has_gone_is_made_again() -> None:
    """What a search chose by must be there; of a trial without outcome, not every run was needed."""
    world = World().bases().tuned()
    (gone,) = world.runs_of("e2mc", world.trials["e2mc"][0])
    lost = world.trial("mmcr", TrialState.INFEASIBLE)
    before = submitted(world.decide())
    del world.runs[gone.run_id]
    actions = world.decide()
    assert submitted(actions) == [gone.run_id, *before]
    assert isinstance(actions[0], Submit) and actions[0].pruning is None
    assert not {spec.run_id for spec in world.runs_of("mmcr", lost)} & set(before)


def test_bases_come_first_and_those_of_the_searches_before_the_others() -> None:
    actions = World().decide()
    assert names(actions) == [("", seed) for seed in (101, 1, 2, 3, 4, 5)]
    assert all(isinstance(action, Submit) and action.evaluations == () for action in actions)


@pytest.mark.parametrize("slots", [-1, 0, 1, 3, 6, 100])
def test_slots_are_respected(slots: int) -> None:
    assert len(World(slots=slots).decide()) == max(0, min(slots, 6))


def test_without_a_free_slot_nothing_is_asked_but_outcomes_are_told() -> None:
    world = World(slots=0).bases()
    assert world.decide() == []
    trial = world.trial("e2mc")
    (spec,) = world.runs_of("e2mc", trial)
    world.complete(spec, 61.5)
    assert world.decide() == [Tell("e2mc", 0, TrialState.COMPLETE, 61.5)]


@pytest.mark.parametrize("status", [RunStatus.WAITING, RunStatus.ACTIVE, RunStatus.FAILED, RunStatus.INFEASIBLE])
def test_no_search_begins_before_its_bases_are_done(status: RunStatus) -> None:
    world = World(make_plan(tune=make_plan().tune.__class__("linear_probe/top1_mean", 2, (101, 102), (1,), "tpe")))
    world.bases().bases(102, status=status)
    assert not any(isinstance(action, Ask) for action in world.decide())
    world.bases(102)
    assert isinstance(world.decide()[0], Ask)


def test_asking_is_the_last_action_because_the_runs_are_not_known_yet() -> None:
    world = World().bases(101)
    assert world.decide() == [Ask("continued")], "the other bases may wait: searches are sequential"
    running = world.trial("continued")
    actions = world.decide()
    assert submitted(actions) == [spec.run_id for spec in world.runs_of("continued", running)]
    assert actions[-1] == Ask("e2mc")


def test_budgets_grow_evenly() -> None:
    """Always the arm with the fewest trials, in the order of the plan; never more than the plan allows."""
    world, asked = World().bases(), []
    while isinstance(action := world.decide()[0], Ask):
        asked.append(action.arm)
        world.trial(action.arm, TrialState.COMPLETE, 1.0)
    assert asked == [*TUNED, *TUNED]


def test_a_slow_arm_does_not_hold_up_the_others() -> None:
    world = World(slots=1).bases()
    stuck = world.trial("continued")
    world.mark(world.runs_of("continued", stuck)[0], RunStatus.ACTIVE)
    for arm in TUNED[1:]:
        world.trial(arm, TrialState.COMPLETE, 1.0)
    assert world.decide() == [Ask("continued")]
    world.mark(world.runs_of("continued", world.trial("continued"))[0], RunStatus.ACTIVE)
    assert world.decide() == [Ask("e2mc")]


def two_runs_per_trial() -> World:
    plan = make_plan()
    tune = plan.tune.__class__(plan.tune.objective, 2, (101, 102), (1,), "tpe")
    return World(make_plan(tune=tune)).bases(101, 102)


def test_a_trial_is_told_once_all_of_its_runs_are_complete() -> None:
    world = two_runs_per_trial()
    trial = world.trial("e2mc")
    first, second = world.runs_of("e2mc", trial)
    world.complete(first, 60.0)
    assert not any(isinstance(action, Tell) for action in world.decide())
    assert second.run_id in submitted(world.decide()) and first.run_id not in submitted(world.decide())
    world.complete(second, 63.0)
    assert world.decide() == [Tell("e2mc", 0, TrialState.COMPLETE, fmean([60.0, 63.0]))]


def test_one_infeasible_run_decides_the_trial_at_once() -> None:
    world = two_runs_per_trial()
    first, second = world.runs_of("e2mc", world.trial("e2mc"))
    world.mark(first, RunStatus.INFEASIBLE)
    world.mark(second, RunStatus.ACTIVE)
    assert world.decide() == [Tell("e2mc", 0, TrialState.INFEASIBLE, None)]


def test_infeasible_trials_count_in_the_budget() -> None:
    world = World(make_plan(), slots=1).bases()
    for arm in TUNED:
        world.trial(arm, TrialState.INFEASIBLE)
        world.trial(arm, TrialState.COMPLETE, 1.0)
    (action,) = world.decide()
    assert isinstance(action, Submit) and action.spec.labels["phase"] == Phase.CONFIRM


def test_an_arm_without_a_feasible_trial_is_not_confirmed_and_the_others_are() -> None:
    world = World().bases().tuned(*(arm for arm in TUNED if arm != "mmcr"))
    for _ in range(2):
        world.trial("mmcr", TrialState.INFEASIBLE)
    assert {arm for arm, _ in names(world.decide())} == {"base", *TUNED} - {"mmcr"}


def test_a_failed_run_leaves_its_trial_running_and_its_arm_undecided() -> None:
    world = World().bases().tuned(*(arm for arm in TUNED if arm != "e2mc"))
    world.trial("e2mc", TrialState.COMPLETE, 1.0)
    failed = world.trial("e2mc")
    world.mark(world.runs_of("e2mc", failed)[0], RunStatus.FAILED)
    actions = world.decide()
    assert not any(isinstance(action, Ask | Tell) for action in actions)
    assert {arm for arm, _ in names(actions)} == {"base", *TUNED} - {"e2mc"}
    world.mark(world.runs_of("e2mc", failed)[0], RunStatus.WAITING)  # the next start tries it again
    assert names(world.decide())[0] == ("e2mc", 101)


def test_each_arm_is_confirmed_as_soon_as_its_own_search_is_over() -> None:
    world = World().bases().tuned("e2mc")
    for arm in TUNED:
        if arm != "e2mc":
            for _ in range(2):
                world.mark(world.runs_of(arm, world.trial(arm))[0], RunStatus.ACTIVE)
    assert {arm for arm, _ in names(world.decide())} == {"base", "e2mc"}


def test_confirming_goes_base_by_base_with_the_winners_parameters() -> None:
    world = World().bases().tuned()
    world.complete(confirm_specs(world.plan, world.plan.arm("base"), {})[0])
    actions = world.decide()
    expected = [(arm.name, seed) for seed in (1, 2, 3, 4, 5) for arm in world.plan.arms]
    assert names(actions) == expected[1:], "the first of them is done"
    winner = trial_params(world.plan.arm("e2mc"), 1)
    runs = [spec.run_id for spec in confirm_specs(world.plan, world.plan.arm("e2mc"), winner)]
    assert [a.spec.run_id for a in actions if isinstance(a, Submit) and a.spec.labels["arm"] == "e2mc"] == runs
    for action in actions:
        assert isinstance(action, Submit)
        assert {request.split for request in action.evaluations} == {"test"} and len(action.evaluations) == 2


def test_confirming_waits_for_its_base() -> None:
    world = World().tuned().bases(101, 1, 3)
    actions = world.decide()
    assert names(actions)[:3] == [("", 2), ("", 4), ("", 5)]
    assert {seed for arm, seed in names(actions) if arm} == {1, 3}


def test_runs_in_hand_and_runs_that_ended_are_not_started_again() -> None:
    world = World().bases().tuned()
    specs = [action.spec for action in world.decide() if isinstance(action, Submit)]
    over = (RunStatus.ACTIVE, RunStatus.COMPLETED, RunStatus.INFEASIBLE, RunStatus.FAILED)
    for spec, status in zip(specs, over, strict=False):
        world.mark(spec, status)
    assert submitted(world.decide()) == [spec.run_id for spec in specs[4:]]


def test_there_is_nothing_to_do_when_all_is_done() -> None:
    world = World().bases().tuned()
    while actions := world.decide():
        for action in actions:
            assert isinstance(action, Submit)
            world.complete(action.spec)
    assert world.runs.keys() == {spec.run_id for spec, _ in known_specs(world.plan, world.trials)}
    assert len(world.runs) == 6 + len(TUNED) * 2 + len(world.plan.arms) * 5


class TestCanaries:
    """Of an arm that has not shown that it works, one run goes first."""

    PLAN = tiny_plan("tune=none", "arms.uniformity={criterion: uniformity, weight: 0.5}", "confirm.base_seeds=[1,2,3]")

    @pytest.fixture
    def world(self) -> World:
        return World(self.PLAN).bases(1, 2, 3)

    def test_one_run_of_every_arm_goes_first(self, world: World) -> None:
        assert names(world.decide()) == [("base", 1), ("continued", 1), ("uniformity", 1)]

    @pytest.mark.parametrize("status", [RunStatus.ACTIVE, RunStatus.FAILED])
    def test_the_others_wait_for_it(self, world: World, status: RunStatus) -> None:
        world.mark(confirm_specs(self.PLAN, self.PLAN.arm("uniformity"), {})[0], status)
        assert "uniformity" not in {arm for arm, _ in names(world.decide())}

    @pytest.mark.parametrize("view", [RunView(RunStatus.ACTIVE, step=1), RunView(RunStatus.COMPLETED)])
    def test_after_its_first_step_they_start(self, world: World, view: RunView) -> None:
        world.runs[confirm_specs(self.PLAN, self.PLAN.arm("uniformity"), {})[0].run_id] = view
        assert [seed for arm, seed in names(world.decide()) if arm == "uniformity"] == [2, 3]

    def test_a_trial_that_has_ended_has_shown_it_too(self) -> None:
        world = World().bases().tuned()
        assert [seed for arm, seed in names(world.decide()) if arm == "e2mc"] == [1, 2, 3, 4, 5]


def test_two_trials_at_the_same_point_share_their_runs() -> None:
    world = World().bases()
    first = world.trial("e2mc")
    world.trials["e2mc"].append(Trial(1, first.params, TrialState.RUNNING))
    assert submitted(world.decide()) == [spec.run_id for spec in world.runs_of("e2mc", first)]
    world.complete(world.runs_of("e2mc", first)[0], 5.0)
    assert world.decide() == [Tell("e2mc", n, TrialState.COMPLETE, 5.0) for n in (0, 1)]


class TestInheritance:
    @pytest.fixture
    def world(self) -> World:
        plan = make_plan()
        e2mc = plan.arm("e2mc")
        arms = (*(arm for arm in plan.arms if not arm.parent), without(e2mc, "entropy", inherits=True))
        return World(make_plan(arms=arms, contrasts=(("e2mc", "e2mc-no-entropy"),)))

    def test_an_heir_has_no_search(self, world: World) -> None:
        assert "e2mc-no-entropy" not in world.trials
        world.bases()
        while isinstance(action := world.decide()[0], Ask):
            assert action.arm != "e2mc-no-entropy"
            world.trial(action.arm, TrialState.COMPLETE, 1.0)

    def test_it_waits_for_its_parent_and_takes_the_winner_without_what_it_drops(self, world: World) -> None:
        world.bases().tuned("continued", "uniformity", "mmcr")
        heir = world.plan.arm("e2mc-no-entropy")
        assert final_params(world.plan, heir, world.trials) is None
        world.tuned("e2mc")
        winner = dict(trial_params(world.plan.arm("e2mc"), 1))
        del winner["criterion.entropy_weight"]
        assert final_params(world.plan, heir, world.trials) == winner
        assert ("e2mc-no-entropy", 1) in names(world.decide())


def drive(plan: Plan, slots: int) -> tuple[World, list[str]]:
    """Run a whole study in the head: every run takes one turn."""
    world, started = World(plan, slots), []
    active: list[RunSpec] = []
    for _ in range(1000):
        world.slots = slots - len(active)
        actions = world.decide()
        if not actions and not active:
            return world, started
        for action in actions:
            match action:
                case Submit(spec, _):
                    assert len(active) < slots and spec.run_id not in started
                    started.append(spec.run_id)
                    active.append(spec)
                    world.mark(spec, RunStatus.ACTIVE)
                case Ask(arm):
                    world.trial(arm)
                case Tell(arm, number, state, objective):
                    old = world.trials[arm][number]
                    assert old.state is TrialState.RUNNING
                    world.trials[arm][number] = Trial(number, old.params, state, objective)
        if active:
            world.complete(active.pop(0))
    raise AssertionError("it never ends")


@pytest.mark.parametrize("slots", [1, 2, 7, 1000])
@pytest.mark.parametrize("plan", [make_plan(), tiny_plan()], ids=lambda plan: plan.study)
def test_a_whole_study_starts_every_run_once(plan: Plan, slots: int) -> None:
    world, started = drive(plan, slots)
    expected = {spec.run_id for spec, _ in known_specs(plan, world.trials)}
    assert set(started) == expected and len(started) == len(expected)
    tuned = [arm for arm in plan.arms if arm.is_tuned]
    bases = len(plan.tune.base_seeds) + len(plan.confirm.base_seeds)
    trials = len(tuned) * plan.tune.trials_per_arm
    assert len(expected) == bases + trials + len(plan.arms) * len(plan.confirm.base_seeds)


def test_known_specs_grow_with_what_is_decided() -> None:
    world = World()

    def phases() -> Mapping[Phase, int]:
        found = [phase for _, phase in known_specs(world.plan, world.trials)]
        return {phase: found.count(phase) for phase in Phase}

    assert phases() == {Phase.PREPARE: 6, Phase.TUNE: 0, Phase.CONFIRM: 5}
    world.trial("e2mc")
    assert phases()[Phase.TUNE] == 1
    world.trials["e2mc"] = []
    world.tuned("e2mc")
    assert phases() == {Phase.PREPARE: 6, Phase.TUNE: 2, Phase.CONFIRM: 10}
