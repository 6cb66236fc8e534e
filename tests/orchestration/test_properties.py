"""Whatever happens to its runs, a study asks every arm for the same number of trials and does nothing twice."""

from __future__ import annotations

from collections import Counter

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from study.orchestration.decide import Ask, Submit, Tell, known_specs
from study.orchestration.snapshot import RunStatus, RunView
from study.plan.expand import base_spec, confirm_specs, tune_specs
from study.plan.load import load_plan
from study.plan.model import Phase, Plan
from study.search.trial import Trial, TrialState
from tests.fakes.sweep_file import TEXT
from tests.fakes.tiny_study import SWEEP
from tests.orchestration.test_decide import World

SEEDS = st.lists(st.integers(1, 50), min_size=1, max_size=4, unique=True)
QUICK = settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
OUTCOMES = st.sampled_from(["completed"] * 4 + ["diverged", "lost", "failed"])


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Plans with any seeds, budgets and arms that are searched or not."""
    more = "  mmcr: {criterion: mmcr, start: {weight: 0.01}}\nreference" if draw(st.booleans()) else "reference"
    overrides = (
        f"confirm.base_seeds={draw(SEEDS)}",
        f"confirm.continuation_seeds={draw(SEEDS)}",
        f"tune.base_seeds={[100 + seed for seed in draw(SEEDS)]}",
        f"tune.trials_per_arm={draw(st.integers(1, 4))}",
    )
    return load_plan(SWEEP.replace("reference", more, 1), "tiny.yaml", overrides)


@given(plans())
@QUICK
def test_the_expansion_is_complete_and_free_of_duplicates(plan: Plan) -> None:
    trials = {
        arm.name: [
            Trial(n, {name: r.at((n + 1) / 10) for name, r in arm.space.items()}, TrialState.COMPLETE, float(n))
            for n in range(plan.tune.trials_per_arm)
        ]
        for arm in plan.arms
        if arm.is_tuned
    }
    specs = [spec for spec, _ in known_specs(plan, trials)]
    assert len({spec.run_id for spec in specs}) == len({spec.identity for spec in specs}) == len(specs)
    per_trial = len(plan.tune.base_seeds) * len(plan.tune.continuation_seeds)
    confirming = len(plan.confirm.base_seeds) * (1 + len(plan.confirm.continuation_seeds) * (len(plan.arms) - 1))
    expected = len(plan.base_seeds) + len(trials) * plan.tune.trials_per_arm * per_trial + confirming
    assert len(specs) == expected
    again = Plan.from_json(yaml.safe_load(yaml.safe_dump(_plain(plan.as_json()))))
    assert [spec.run_id for spec, _ in known_specs(again, trials)] == [spec.run_id for spec in specs]


@given(st.permutations(list(yaml.safe_load(TEXT))), st.permutations(list(yaml.safe_load(TEXT)["arms"])))
@QUICK
def test_identities_do_not_depend_on_the_order_of_the_file(keys: list[str], arms: list[str]) -> None:
    data = yaml.safe_load(TEXT)
    shuffled = {key: data[key] for key in keys} | {"arms": {name: data["arms"][name] for name in arms}}
    plan, other = (load_plan(yaml.safe_dump(d, sort_keys=False), "x.yaml") for d in (data, shuffled))
    for arm in plan.arms:
        runs = confirm_specs(plan, arm, arm.start), confirm_specs(other, other.arm(arm.name), arm.start)
        assert [spec.run_id for spec in runs[0]] == [spec.run_id for spec in runs[1]]


@given(plans(), st.data(), st.integers(1, 5))
@QUICK
def test_budgets_are_equal_under_any_pattern_of_failures(plan: Plan, data: st.DataObject, slots: int) -> None:
    """Diverged trials count; lost and failed attempts are tried again, failed ones when the command is started anew."""
    world = World(plan, slots)
    attempts: Counter[str] = Counter()
    over: set[str] = set()
    while True:
        for _ in range(10_000):
            actions = world.decide()
            if not actions:
                break
            for action in actions:
                match action:
                    case Ask(arm):
                        world.trial(arm)
                    case Tell(arm, number, state, objective):
                        old = world.trials[arm][number]
                        assert old.state is TrialState.RUNNING, "told once"
                        world.trials[arm][number] = Trial(number, old.params, state, objective)
                    case Submit(spec, _):
                        assert spec.run_id not in over, "what has ended is not repeated"
                        attempts[spec.run_id] += 1
                        is_base = spec.labels["phase"] == Phase.PREPARE
                        outcome = "completed" if is_base or attempts[spec.run_id] > 3 else data.draw(OUTCOMES)
                        if outcome == "completed":
                            world.complete(spec)
                        else:
                            status = {"diverged": RunStatus.INFEASIBLE, "lost": RunStatus.WAITING}
                            world.runs[spec.run_id] = RunView(status.get(outcome, RunStatus.FAILED))
                        if outcome in ("completed", "diverged"):
                            over.add(spec.run_id)
        failed = [run_id for run_id, view in world.runs.items() if view.status is RunStatus.FAILED]
        if not failed:
            break
        for run_id in failed:  # the command is started again
            world.runs[run_id] = RunView(RunStatus.WAITING)
    ended = {
        name: [t for t in own if t.state in (TrialState.COMPLETE, TrialState.INFEASIBLE)]
        for name, own in world.trials.items()
    }
    assert {len(own) for own in ended.values()} <= {plan.tune.trials_per_arm}
    for name, own in world.trials.items():
        assert len(own) == len(ended[name]) and [t.number for t in own] == list(range(plan.tune.trials_per_arm))
        for trial in own:
            statuses = {
                world.runs[s.run_id].status
                for s in tune_specs(plan, plan.arm(name), trial.params)
                if s.run_id in world.runs
            }
            assert (trial.state is TrialState.INFEASIBLE) == (RunStatus.INFEASIBLE in statuses)
    assert all(world.runs[base_spec(plan, seed).run_id].status is RunStatus.COMPLETED for seed in plan.base_seeds)


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
