"""A frozen file is the same study."""

from pathlib import Path

import pytest
import yaml

from study.plan.freeze import frozen
from study.plan.load import load_plan, load_plans
from tests.fakes.sweep_file import edited, plan_of, problems_of

SWEEPS = sorted((Path(__file__).parents[2] / "sweeps").glob("*.yaml"))


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_every_sweep_file_of_the_project_survives(path):
    for plan in load_plans(path.read_text(), path.name):
        assert load_plan(frozen(plan), "frozen") == plan


@pytest.mark.parametrize(
    "changes",
    [
        {"ablate__weights": "inherited"},
        {"ablate": {"arm": "e2mc", "swap": {"spacing": [5, [5, 11]], "nominal_batch_size": 512}}, "contrasts": []},
        {"arms__uniformity": {"criterion": "uniformity", "start": {"strength": 0.5}}},
        {"arms__uniformity": {"criterion": "uniformity", "strength": 0.5}},
        {"test": "sign_flip", "confirm__base_seeds": [1, 2, 3, 4, 5, 6, 7, 8]},
    ],
    ids=["inherited", "swapped", "searched strength", "fixed strength", "exact test"],
)
def test_so_do_other_settings(changes):
    plan = plan_of(**changes)
    assert load_plan(frozen(plan), "frozen") == plan


def test_nothing_is_left_open():
    plan = plan_of()
    file = yaml.safe_load(frozen(plan))
    assert "ablate" not in file
    assert list(file["arms"]) == [arm.name for arm in plan.arms]
    arm = file["arms"]["e2mc-no-entropy"]
    assert arm["entropy_weight"] == 0
    assert arm["generated"] == {"from": "e2mc", "dropped": ["entropy"], "swapped": [], "weights": "tuned"}
    given = {key: value for key, value in arm.items() if key not in ("criterion", "start", "space", "generated")}
    assert {**given, **arm["start"]}.keys() == plan.arm("e2mc").criterion.params.keys()


@pytest.mark.parametrize(
    ("generated", "where", "what"),
    [
        ({"from": "e2cm"}, "arms.own.generated.from", "no other arm 'e2cm'. Did you mean 'e2mc'?"),
        ({"from": "own"}, "arms.own.generated.from", "no other arm 'own'."),
        ({"from": "uniformity"}, "arms.own.generated.from", "has the criterion uniformity, but own has e2mc"),
        ({"from": "e2mc", "dropped": ["entropi"]}, "arms.own.generated.dropped[0]", "no component 'entropi'"),
        ({"from": "e2mc", "dropped": ["entropy"]}, "arms.own.generated.dropped[0]", "write entropy_weight: 0"),
        ({"from": "e2mc", "swapped": ["mop"]}, "arms.own.generated.swapped[0]", "has no field 'mop'"),
    ],
)
def test_what_cannot_have_been_generated_so_is_refused(generated, where, what):
    own = {"criterion": "e2mc", "start": {"entropy_weight": 1, "covariance_weight": 1}, "generated": generated}
    problems = problems_of(edited(arms__own=own))
    assert list(problems) == [where]
    assert what in problems[where]
