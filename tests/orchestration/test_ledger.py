"""What a ledger keeps is what counting all runs anew would say, whatever has happened to them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from study.orchestration.decide import Situation, decide, known_specs
from study.orchestration.ledger import Ledger
from study.orchestration.snapshot import RunStatus, RunView
from study.plan.model import Confirm, Phase
from study.search.trial import Trial
from tests.fakes.study_home import make_plan
from tests.orchestration.test_decide import TUNED, World

PLAN = make_plan(confirm=Confirm((3, 1, 2), (1, 2)))
TRIALS = World(PLAN).tuned(*TUNED[:3]).trials  # three arms are decided, the others are searched
for _name in TUNED[3:]:
    TRIALS[_name] = World(PLAN).tuned(_name).trials[_name][:1]
SPECS = list(known_specs(PLAN, TRIALS))
VIEWS = st.builds(
    lambda status, step, spent_s, trouble: RunView(
        status,
        step if status is RunStatus.ACTIVE else 0,
        8,
        spent_s=spent_s,
        evaluations={"a": {"cpu_s": 2.0}} if status is RunStatus.COMPLETED else {},
        train_cpu_s=spent_s,
        trouble=trouble,
    ),
    st.sampled_from(RunStatus),
    st.integers(0, 1),
    st.sampled_from([0.0, 1.5, 8.0]),
    st.sampled_from([(), ("attempt 1: lost",), ("attempt 1: lost", "attempt 2: lost")]),
)


def scratch(ledger: Ledger) -> Ledger:
    """The same runs, as an orchestrator that starts now would count them."""
    anew = Ledger(PLAN)
    for spec, phase in SPECS:
        if spec.run_id in ledger:
            anew.add(spec, phase, ledger[spec.run_id])
    return anew


def kept(ledger: Ledger, trials: dict[str, list[Trial]] = TRIALS) -> dict[str, Any]:
    return {
        "counts": {(s, p): ledger.count(s, p) for s in RunStatus for p in (None, *Phase)},
        "over": [(ledger.num_over(phase), ledger.num_known(phase)) for phase in Phase],
        "sets": [set(runs) for runs in (ledger.active, ledger.troubled, ledger.lacking_bases, ledger.tuning)],
        "costs": (pytest.approx(ledger.spent_s), {k: pytest.approx(v) for k, v in ledger.mean_costs_s().items()}),
        "arms": [(ledger.is_proven(arm.name), ledger.is_held(arm.name)) for arm in PLAN.arms],
        "waiting": [[run_id for _, run_id in ledger.confirming(arm.name)] for arm in PLAN.arms],
        "decisions": [decide(PLAN, Situation(trials, ledger, free)) for free in (1, 3, 100)],
    }


@given(st.lists(st.tuples(st.integers(0, len(SPECS) - 1), VIEWS), max_size=60))
@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
def test_it_says_what_counting_anew_says(happenings: list[tuple[int, RunView]]) -> None:
    ledger = Ledger(PLAN)
    for number, (spec, phase) in enumerate(SPECS):
        ledger.add(spec, phase)
        if number % 3 == 0:
            ledger.update(spec.run_id, RunView(RunStatus.COMPLETED))
    for number, view in happenings:
        run_id, before, version = SPECS[number][0].run_id, kept(ledger)["decisions"], ledger.version
        ledger.update(run_id, view)
        assert ledger.version != version or kept(ledger)["decisions"] == before, "who waits for a change would miss it"
    assert kept(ledger) == kept(scratch(ledger))


def test_runs_wait_base_by_base_in_the_order_of_the_plan_also_after_they_were_tried() -> None:
    ledger = Ledger(PLAN)
    for spec, phase in reversed(SPECS):
        ledger.add(spec, phase)
    own = [spec for spec, phase in SPECS if phase is Phase.CONFIRM and spec.labels["arm"] == "base"]
    for spec in own:
        ledger.update(spec.run_id, RunView(RunStatus.ACTIVE))
    assert not ledger.confirming("base")
    for spec in own:
        ledger.update(spec.run_id, RunView(RunStatus.WAITING))
    assert [run_id for _, run_id in ledger.confirming("base")] == [spec.run_id for spec in own]
    assert [spec.labels["base_seed"] for spec in own] == [3, 1, 2]


def test_news_are_kept_in_the_order_in_which_they_came() -> None:
    ledger = Ledger(PLAN)
    (first, phase), (second, _) = SPECS[:2]
    ledger.add(first, phase, RunView(RunStatus.COMPLETED))
    ledger.add(second, phase)
    ledger.update(second.run_id, RunView(trouble=("attempt 1: lost",)))
    ledger.update(second.run_id, RunView(RunStatus.FAILED, trouble=("attempt 1: lost", "attempt 2: lost")))
    assert ledger.ended == [first.run_id, second.run_id]
    assert ledger.troubles == [f"{second.run_id}: attempt {number}: lost" for number in (1, 2)]


def test_the_first_step_of_a_canary_is_news() -> None:
    """The other runs of its arm wait for it, and for nothing else."""
    plan = PLAN
    world = World(plan).bases().tuned()
    ledger = world.ledger()
    first = [a.spec for a in decide(plan, Situation(world.trials, ledger, 100)) if a.spec.labels["arm"] == "base"]
    assert len(first) == 1
    ledger.update(first[0].run_id, RunView(RunStatus.ACTIVE))
    version = ledger.version
    others = [a.spec.labels["arm"] for a in decide(plan, Situation(world.trials, ledger, 100))]
    assert "base" not in others
    ledger.update(first[0].run_id, RunView(RunStatus.ACTIVE, step=0, spent_s=3.0))
    assert ledger.version == version
    ledger.update(first[0].run_id, RunView(RunStatus.ACTIVE, step=1))
    assert ledger.version != version
    others = [a.spec.labels["arm"] for a in decide(plan, Situation(world.trials, ledger, 100))]
    assert others.count("base") == len(plan.confirm.base_seeds) - 1
