"""Searches that train shorter or on fewer images than the runs that confirm."""

import json

import pytest

from study.orchestration.forecast import forecast
from study.plan.expand import base_spec, confirm_specs, tune_specs, tuning_differences
from study.plan.model import Phase, Plan
from tests.fakes.sweep_file import edited, plan_of, problems_of

GIVEN = {"continuation.epochs": 1, "dataset.num_ssl_images": 2000, "continuation.batch_size": 100}
IMPORTED = {
    "dataset": {"name": "image_folder", "num_ssl_images": 9000, "num_validation_images": 80, "num_classes": 2},
    "base": {"method": "simsiam", "backbone": "resnet18", "family": "simsiam", "checkpoint": "/a", "sha256": 64 * "0"},
    "unit": "continuation",
    "tune__base_seeds": [1],
    "tune__continuation_seeds": [101],
    "confirm": {"base_seeds": [1], "continuation_seeds": [1, 2]},
}


def both(plan, arm="uniformity"):
    chosen = plan.arm(arm)
    return tune_specs(plan, chosen, chosen.start)[0], confirm_specs(plan, chosen, chosen.start)[0]


@pytest.mark.parametrize("changes", [{}, IMPORTED])
def test_trials_train_with_the_overrides_and_the_others_with_the_plans_values(changes):
    plain, plan = plan_of(**changes), plan_of(tune__overrides=GIVEN, **changes)
    tuning, confirming = both(plan)
    assert confirming == both(plain)[1], "nothing changes for them, not even the name"
    training = tuning.training
    assert (training["epochs"], training["batch_size"]) == (1, 100)
    assert training["dataset"]["params"]["num_ssl_images"] == 2000
    rest = {k: v for k, v in training.items() if k not in ("epochs", "batch_size", "dataset")}
    assert rest == {k: v for k, v in both(plain)[0].training.items() if k in rest}
    assert tuning.identity != both(plain)[0].identity


@pytest.mark.parametrize("changes", [{}, IMPORTED])
def test_the_base_is_that_of_the_plan(changes):
    plain, plan = plan_of(**changes), plan_of(tune__overrides=GIVEN, **changes)
    seed = plan.tune.base_seeds[0]
    assert base_spec(plan, seed) == base_spec(plain, seed)
    assert both(plan)[0].training["initial"] == {"base": base_spec(plain, seed).identity}


def test_a_plan_survives_json_and_one_of_before_is_the_same():
    stored = json.loads(json.dumps(plan_of(tune__overrides=GIVEN).as_json()))
    assert json.loads(json.dumps(Plan.from_json(stored).as_json())) == stored
    assert both(Plan.from_json(stored))[0] == both(plan_of(tune__overrides=GIVEN))[0]
    old = json.loads(json.dumps(plan_of().as_json()))
    del old["tune"]["dataset"], old["tune"]["continuation"]
    assert json.dumps(Plan.from_json(old).as_json()) == json.dumps(plan_of().as_json())


def test_what_differs_is_said_and_what_does_not_is_not():
    plan = plan_of(tune__overrides={**GIVEN, "continuation.optimizer.weight_decay": 0.0})
    assert tuning_differences(plan) == ["epochs 1", "batch_size 100", "weight_decay 0.0", "num_ssl_images 2000"]
    same = plan_of(tune__overrides={"continuation.epochs": 2})
    assert same == plan_of() and not tuning_differences(same)


def test_a_forecast_knows_both_lengths():
    """At 1,000 images per second: 2 × 10,000 images confirm in 20 s, 1 × 2,000 tune in 2 s, and evaluations on top.

    Of the six arms that confirm, `base` trains nothing; no arm that tunes does so.
    """
    changes = {"evaluations": {"knn": {}}, "primary": "knn/top1", "tune__objective": "knn/top1"}
    plain, plan = (forecast(plan_of(**c, **changes), 1000.0).seconds for c in ({}, {"tune__overrides": GIVEN}))
    assert plain[Phase.CONFIRM] == plan[Phase.CONFIRM] == pytest.approx(20 * 5 / 6 + 15 * 0.25)
    assert plain[Phase.TUNE] == pytest.approx(20 + 15 * 0.25)
    assert plan[Phase.TUNE] == pytest.approx(2 + 15 * 0.1)


@pytest.mark.parametrize(
    ("given", "path", "message"),
    [
        ({"continuation.epoch": 1}, ".continuation.epoch", "no key 'epoch' in continuation. Did you mean 'epochs'?"),
        ({"continuation.epochs": 0}, ".continuation.epochs", "must be at least 1, but got 0"),
        ({"base.epochs": 1}, ".base.epochs", "only keys of continuation and dataset may differ"),
        ({"dataset": {"name": "cifar10"}}, ".dataset", "only keys of continuation and dataset may differ"),
        ({"dataset.name": "cifar10"}, ".dataset.name", "is that of the base model"),
        ({"dataset.num_images": 9}, ".dataset.num_images", "fashion_mnist has no field 'num_images'"),
        ({"continuation.optimizer.state": "keep"}, ".continuation.optimizer.state", "is that of the base model"),
        ({"continuation.optimizer.lr": 0.1}, ".continuation.optimizer.lr", "is searched"),
        ({"dataset.num_ssl_images": 300}, "", "with these, evaluations.linear_probe: 1 % of a pool of 300 images"),
        ([1], "", "must be a mapping of keys to values"),
    ],
)  # fmt: skip
def test_mistakes_are_named_with_their_place(given, path, message):
    problems = problems_of(edited(tune__overrides=given))
    assert list(problems) == [f"tune.overrides{path}"]
    assert message in problems[f"tune.overrides{path}"]


def test_only_the_objective_must_fit_the_smaller_dataset():
    evaluations = {"linear_probe": {"label_percent": [1]}, "knn": {}}
    changes = {"evaluations": evaluations, "tune__objective": "knn/top1", "primary": "knn/top1"}
    plan = plan_of(tune__overrides={"dataset.num_ssl_images": 300, "continuation.batch_size": 50}, **changes)
    assert plan.tune.dataset is not None and plan.tune.dataset.params["num_ssl_images"] == 300


def test_images_that_are_too_few_for_the_bases_batches_are_enough_for_trials():
    plan = plan_of("base.batch_size=2500", tune__overrides=GIVEN)
    assert base_spec(plan, 1).training["batch_size"] == 2500
