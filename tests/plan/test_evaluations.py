"""Evaluations under names of their own: other datasets, the same component twice, and what is refused."""

import json

import pytest

from study.evaluations.linear_probe import LinearProbe
from study.plan.components import build
from study.plan.expand import required_evaluations
from study.plan.model import Phase, Plan
from tests.fakes.sweep_file import edited, plan_of, problems_of

TRANSFER = {
    "evaluation": "linear_probe",
    "dataset": {"name": "fashion_mnist", "num_ssl_images": 4000},
    "label_percent": [10, 50],
}
EVALUATIONS = {
    "linear_probe": {"label_percent": [1, 10, 100]},
    "knn": {},
    "few": {"evaluation": "linear_probe", "label_percent": [2]},
    "far": TRANSFER,
}


def far(**changes):
    return {"far": {**TRANSFER, **changes}}


def test_an_evaluation_has_a_name_a_component_and_a_dataset():
    plan = plan_of(evaluations=EVALUATIONS, primary="far/top1_mean")
    probe, _, few, far = plan.evaluations
    assert (probe.evaluation, probe.dataset) == (None, None)
    assert (few.name, few.component.name, few.dataset) == ("few", "linear_probe", None)
    assert far.dataset is not None and far.dataset.params["num_ssl_images"] == 4000
    assert far.dataset.params["num_validation_images"] == 5000, "defaults are filled in"
    assert build("evaluations", far.component) == LinearProbe((10, 50))


def test_keys_differ_by_name_and_dataset_and_stay_as_they_were_without():
    plan = plan_of(evaluations=EVALUATIONS)
    keys = [request.key for request in required_evaluations(plan, Phase.CONFIRM)]
    assert keys[0] == required_evaluations(plan_of(), Phase.CONFIRM)[0].key
    assert [key.rpartition("-")[0] for key in keys] == ["linear_probe-test", "knn-test", "few-test", "far-test"]
    other = plan_of("evaluations.far.dataset.num_ssl_images=4001", evaluations=EVALUATIONS)
    assert required_evaluations(other, Phase.CONFIRM)[3].key != keys[3]
    assert [request.key for request in required_evaluations(other, Phase.CONFIRM)][:3] == keys[:3]


def test_the_component_named_again_changes_nothing():
    plan = plan_of("evaluations.knn={evaluation: knn}")
    assert plan.evaluations == plan_of().evaluations


def test_a_plan_survives_json_and_one_of_before_is_the_same():
    plan = plan_of(evaluations=EVALUATIONS)
    stored = json.loads(json.dumps(plan.as_json()))
    assert json.loads(json.dumps(Plan.from_json(stored).as_json())) == stored
    old = json.loads(json.dumps(plan_of().as_json()))
    for evaluation in old["evaluations"]:
        del evaluation["evaluation"], evaluation["dataset"]
    assert json.dumps(Plan.from_json(old).as_json()) == json.dumps(plan_of().as_json())


def test_an_objective_may_have_a_name_of_its_own():
    plan = plan_of("tune.objective=far/top1_10pct", evaluations=EVALUATIONS)
    (request,) = required_evaluations(plan, Phase.TUNE)
    assert (request.evaluation.name, request.split) == ("far", "validation")


@pytest.mark.parametrize(
    ("evaluations", "path", "message"),
    [
        (far(dataset="no_such"), "evaluations.far.dataset", "no 'no_such' in study/datasets/"),
        (far(dataset=3), "evaluations.far.dataset", "must be a name, or a mapping with a name"),
        (far(dataset={"name": "fashion_mnist", "seed": 3}), "evaluations.far.dataset.seed", "has no field 'seed'"),
        (far(evaluation="probe"), "evaluations.far.evaluation", "no 'probe' in study/evaluations/"),
        (far(evaluation=3), "evaluations.far.evaluation", "must be a name, but got 3"),
        (far(labels=[1]), "evaluations.far.labels", "linear_probe has no field 'labels'"),
        ({"f/r": TRANSFER}, "evaluations.f/r", "a name may hold letters"),
        (far(dataset="cifar10"), "evaluations.far.dataset", "cifar10 has 3 channels, but the network is trained on 1"),
        (
            far(label_percent=[1], dataset={"name": "fashion_mnist", "num_ssl_images": 500}), "evaluations.far",
            "1 % of a pool of 500 images is 5 labels, fewer than its 10 classes",
        ),
    ],
)  # fmt: skip
def test_mistakes_are_named_with_their_place(evaluations, path, message):
    problems = problems_of(edited(evaluations={"linear_probe": {"label_percent": [1, 10, 100]}, **evaluations}))
    assert message in problems[path]


@pytest.mark.parametrize(
    ("evaluation", "objective", "why"),
    [
        ({"fine_tuning": {"label_percent": [10]}}, "fine_tuning/top1_10pct", "fine_tuning trains the network"),
        ({"far": TRANSFER}, "far/top1_10pct", "far has a dataset of its own"),
    ],
)
def test_what_is_too_much_after_every_epoch_prunes_nothing(evaluation, objective, why):
    text = edited(
        evaluations={"linear_probe": {"label_percent": [1, 10, 100]}, **evaluation}, tune__objective=objective
    )
    assert why in problems_of(text, "tune.pruning=median")["tune.pruning"]
    plan_of("tune.objective=" + objective, evaluations={"linear_probe": {"label_percent": [1, 10, 100]}, **evaluation})


def test_a_backbone_of_one_size_takes_no_other_images():
    problems = problems_of(
        edited(
            dataset={"name": "stl10"}, continuation__batch_size=50,
            evaluations={"linear_probe": {"label_percent": [10]}, "far": {"evaluation": "knn", "dataset": "cifar10"}},
        )
    )  # fmt: skip
    assert "conv_fc takes images of 96 pixels alone" in problems["evaluations.far.dataset"]
