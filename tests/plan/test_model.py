import json

import pytest

from study.errors import JournalError
from study.plan.expand import base_spec, confirm_specs
from study.plan.model import SCHEMA_VERSION, Plan
from study.plan.spec import RunSpec
from tests.fakes.sweep_file import plan_of


def through_json(data):
    return json.loads(json.dumps(data))


@pytest.mark.parametrize("overrides", [(), ("ablate.weights=inherited", "equivalence_margin_pp=null")])
def test_a_plan_survives_json(overrides):
    plan = plan_of(*overrides)
    assert Plan.from_json(through_json(plan.as_json())) == plan


def test_a_spec_survives_json():
    plan = plan_of()
    for spec in [base_spec(plan, 1), *(s for arm in plan.arms for s in confirm_specs(plan, arm, arm.start))]:
        assert RunSpec.from_json(through_json(spec.as_json())) == spec


def test_another_schema_version_is_refused():
    data = {**plan_of().as_json(), "schema_version": SCHEMA_VERSION + 1}
    with pytest.raises(JournalError, match=r"'example' has schema version 2, but this code reads version 1; use the"):
        Plan.from_json(data)
    with pytest.raises(JournalError, match="the spec of run None has schema version None"):
        RunSpec.from_json({})


@pytest.mark.parametrize("change", [{"dataset": 5}, {"arms": [{}]}, {"contrasts": [[1]]}, {"extra": 1}, {"tune": {}}])
def test_a_damaged_plan_is_no_bug_of_ours(change):
    with pytest.raises(JournalError, match="the plan of study 'example' is damaged"):
        Plan.from_json({**through_json(plan_of().as_json()), **change})


def test_a_damaged_spec_is_no_bug_of_ours():
    with pytest.raises(JournalError, match="the spec of run 'x' is damaged"):
        RunSpec.from_json({"schema_version": SCHEMA_VERSION, "run_id": "x", "extra": 1})


def test_an_arm_by_name():
    plan = plan_of()
    assert plan.arm("e2mc").name == "e2mc"
    with pytest.raises(KeyError):
        plan.arm("nobody")
