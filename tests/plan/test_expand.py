import json

from study.plan.expand import (
    base_spec,
    configured,
    confirm_specs,
    inherited,
    required_evaluations,
    run_spec,
    tune_specs,
)
from study.plan.model import Phase
from tests.fakes.sweep_file import plan_of

LR = "continuation.optimizer.lr"


def test_a_trial_is_put_into_criterion_and_recipe():
    plan = plan_of()
    arm = plan.arm("uniformity")
    (spec,) = tune_specs(plan, arm, {"criterion.weight": 0.25, LR: 2e-3})
    params = {"weight": 0.25, "kernel_scale": 2.0}
    assert spec.training["criterion"] == {"name": "uniformity", "params": params, "strength": None}
    assert spec.training["optimizer"]["lr"] == 2e-3
    assert plan.continuation.optimizer["lr"] == 1e-3, "the plan is not touched"
    assert arm.criterion.params["weight"] == 0.5


def test_a_tuned_strength_is_put_beside_the_criterion():
    plan = plan_of(arms__uniformity={"criterion": "uniformity", "start": {"strength": 0.5}})
    (spec,) = tune_specs(plan, plan.arm("uniformity"), {"strength": 0.125, LR: 2e-3})
    assert spec.training["criterion"]["strength"] == 0.125
    assert spec.training["criterion"]["params"] == {"weight": 1.0, "kernel_scale": 2.0}


def test_seeds_of_the_phases():
    plan = plan_of(confirm={"base_seeds": [1, 2], "continuation_seeds": [5, 6]}, tune__base_seeds=[101, 102])
    arm = plan.arm("continued")
    assert [s.labels["base_seed"] for s in tune_specs(plan, arm, {})] == [101, 102]
    pairs = [(s.labels["base_seed"], s.labels["continuation_seed"]) for s in confirm_specs(plan, arm, {})]
    assert pairs == [(1, 5), (1, 6), (2, 5), (2, 6)]
    not_continued = confirm_specs(plan, plan.arm("base"), {})
    assert [(s.labels["base_seed"], s.labels["continuation_seed"]) for s in not_continued] == [(1, 0), (2, 0)]


def test_everything_but_criterion_and_recipe_is_equal_across_arms():
    plan = plan_of()
    specs = [run_spec(plan, arm, arm.start, 1, 1, Phase.CONFIRM) for arm in plan.arms if arm.continued]
    for key in (
        "dataset",
        "method",
        "backbone",
        "augmentation",
        "initial",
        "seeds",
        "numerics",
        "epochs",
        "batch_size",
    ):
        assert len({json.dumps(spec.training[key], sort_keys=True) for spec in specs}) == 1, key
    assert len({spec.run_id for spec in specs}) == len(specs)


def test_the_arm_that_is_not_continued_starts_from_the_same_base_and_trains_nothing():
    plan = plan_of()
    (spec, *_) = confirm_specs(plan, plan.arm("base"), {})
    assert spec.training["epochs"] == 0
    assert spec.training["initial"] == {"base": base_spec(plan, 1).identity}
    assert "optimizer" not in spec.training


def test_tuning_reads_the_objective_on_validation_and_confirming_everything_on_test():
    plan = plan_of(tune__objective="knn/top1")
    assert [(r.evaluation.name, r.split) for r in required_evaluations(plan, Phase.TUNE)] == [("knn", "validation")]
    confirming = required_evaluations(plan, Phase.CONFIRM)
    assert [(r.evaluation.name, r.split) for r in confirming] == [("linear_probe", "test"), ("knn", "test")]
    assert all(request.key.startswith(f"{request.evaluation.name}-test-") for request in confirming)


def test_an_inheriting_arm_takes_the_winner_without_what_it_drops():
    plan = plan_of(ablate__weights="inherited")
    arm = plan.arm("e2mc-no-entropy")
    winner = {"criterion.entropy_weight": 0.7, "criterion.covariance_weight": 0.3, LR: 2e-3}
    params = inherited(arm, winner)
    assert params == {"criterion.covariance_weight": 0.3, LR: 2e-3}
    criterion, recipe = configured(plan, arm, params)
    assert criterion["params"]["entropy_weight"] == 0.0
    assert criterion["params"]["covariance_weight"] == 0.3
    assert recipe.optimizer["lr"] == 2e-3
