"""Run ids and specs are, to the digit, those that earlier code made: studies on disk are found again by them.

`golden_specs.json` was written by the code that made every spec from scratch. A difference means that stored runs are
trained anew; see `test_identity`.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from study.orchestration.decide import known_specs
from study.plan.expand import base_spec, run_spec
from study.plan.identity import digest
from study.plan.model import SCHEMA_VERSION, Component, Confirm, Imported, Phase, Plan, Recipe
from study.plan.spec import RunSpec
from study.search.trial import Trial, TrialState
from tests.fakes.study_home import make_plan, trial_params, without
from tests.fakes.sweep_file import DELETED, plan_of

GOLDEN = json.loads(Path(__file__).with_name("golden_specs.json").read_text())
_OPTIMIZER = {"name": "sgd", "lr": 0.1, "schedule": "cosine", "state": "keep"}
_IMPORTED = Imported("https://host/file.pth", "simsiam", "ab" * 32, {"name": "sgd", "exclude_bias_and_norm": True})


def _inheriting() -> Plan:
    plan = make_plan()
    e2mc = plan.arm("e2mc")
    arms = [without(e2mc, "entropy", inherits=True) if arm.name == "e2mc-no-entropy" else arm for arm in plan.arms]
    return replace(plan, arms=tuple(arms))


PLANS = {
    "many seeds": make_plan(confirm=Confirm((1, 2, 3, 40), (1, 7)), tune=replace(make_plan().tune, base_seeds=(9, 10))),
    "inherited weights": _inheriting(),
    "imported base": make_plan(imported=_IMPORTED, pretraining=Recipe(0, 0, {}), unit="continuation"),
    "imported without a hash": make_plan(imported=Imported("file.pth", "swav", None), unit="continuation"),
    "unit continuation": make_plan(unit="continuation", confirm=Confirm((1,), (1, 2, 3))),
    "tune.overrides": make_plan(
        tune=replace(
            make_plan().tune,
            dataset=Component("fashion_mnist", {"num_ssl_images": 100, "classes": ("a", "ü")}),
            continuation=Recipe(1, 50, _OPTIMIZER),
        )
    ),
    "from a file": plan_of(),
    "strength": plan_of(arms__uniformity={"criterion": "uniformity", "start": {"strength": 0.5}}),
    "fixed strength": plan_of(
        arms__e2mc={"criterion": "e2mc", "strength": 2}, ablate=DELETED, contrasts=[["e2mc", "base"]]
    ),
    "no searches": plan_of(
        tune="none", ablate={"arm": "e2mc", "swap": {"spacing": [5, 11]}}, contrasts=[["e2mc", "base"]]
    ),
}


def trials_of(plan: Plan) -> dict[str, list[Trial]]:
    """Searches that are over."""
    return {
        arm.name: [
            Trial(number, trial_params(arm, number), TrialState.COMPLETE, float(number))
            for number in range(plan.tune.trials_per_arm)
        ]
        for arm in plan.arms
        if arm.is_tuned
    }


def specs_of(plan: Plan) -> Iterator[RunSpec]:
    """All specs of a plan, and one that is asked for alone."""
    yield from (spec for spec, _ in known_specs(plan, trials_of(plan)))
    for arm in plan.arms:
        yield run_spec(plan, arm, arm.start, 3, 2, Phase.CONFIRM)


def summary_of(plan: Plan) -> dict[str, object]:
    specs = list(specs_of(plan))
    lines = "".join(json.dumps(spec.as_json()) + "\n" for spec in specs)
    return {
        "run_ids": [spec.run_id for spec in specs],
        "specs_sha256": hashlib.sha256(lines.encode()).hexdigest(),
        "last": specs[-1].as_json(),
    }


@pytest.mark.parametrize("name", PLANS)
def test_specs_are_those_of_earlier_code(name: str) -> None:
    assert json.loads(json.dumps(summary_of(PLANS[name]))) == GOLDEN[name]


@pytest.mark.parametrize("name", PLANS)
def test_an_identity_is_the_hash_of_all_that_is_trained(name: str) -> None:
    plan = PLANS[name]
    for spec in (*specs_of(plan), base_spec(plan, 12)):
        assert spec.identity == digest({"schema_version": SCHEMA_VERSION, "training": spec.training})
        assert spec.run_id.endswith(spec.identity[:12])


def test_specs_of_one_plan_are_made_once() -> None:
    plan = make_plan()
    trials = trials_of(plan)
    first, second = ([spec for spec, _ in known_specs(plan, trials)] for _ in range(2))
    assert all(a is b for a, b in zip(first, second, strict=True))
    assert [spec.run_id for spec, _ in known_specs(replace(plan, numerics={}), trials)] != [s.run_id for s in first]
