"""An arm that came to nothing: what is said, and that what is advised loads and lies below what has failed."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from study.plan.fruitless import Fruitless, Loss, fruitless_confirmation, fruitless_search, sentences, without_result
from study.plan.load import load_plan
from study.plan.model import Arm, Plan
from tests.fakes.sweep_file import edited

LR = "continuation.optimizer.lr"
NOT_FINITE = "diverged: step {}: train/base_loss, train/loss not finite"


def losses(arm: Arm, *failures: str) -> list[Loss]:
    """A trial per failure, at and around the start."""
    return [
        Loss({name: value * (1 + number) for name, value in arm.start.items()}, failure)
        for number, failure in enumerate(failures or (NOT_FINITE.format(3), NOT_FINITE.format(7)))
    ]


def advised(found: Fruitless, plan: Plan) -> list[str]:
    """The overrides as a shell reads them."""
    line = sentences([found], plan)[-1]
    assert line.startswith("To try other values, add to the command: study=example-2 ")
    return shlex.split(line.partition("command: ")[2])


@pytest.mark.parametrize(
    ("arm", "changes"),
    [
        ("e2mc", {}),
        ("uniformity", {}),
        ("e2mc", {"arms__e2mc": {"criterion": "e2mc", "start": {"strength": 2.0}}}),
        ("e2mc-no-entropy", {}),
        ("e2mc", {"arms__e2mc": {"criterion": "e2mc", "preset": "vicreg", "space": {"covariance_weight": {"low": 0.5,
        "high": 50}}}}),
        ("uniformity", {"arms__uniformity": {"criterion": "uniformity", "space": {
            "weight": {"low": 1e-7, "high": 2e-5}, "kernel_scale": {"low": 1, "high": 4}}, "start": {"weight": 1e-6}}}),
    ],
)  # fmt: skip
def test_what_is_advised_loads_and_lies_lower(arm: str, changes: dict[str, Any]) -> None:
    text = edited(**changes)
    plan = load_plan(text, "example.yaml")
    own = plan.arm(arm)
    tried = losses(own)
    overrides = advised(fruitless_search(plan, own, tried, for_all=False), plan)
    better = load_plan(text, "example.yaml", overrides)
    assert better.study == "example-2"
    new = better.arm(arm)
    assert new.space.keys() == own.space.keys(), "nothing else is searched"
    for name in own.space:
        smallest = min(loss.params[name] for loss in tried)
        if name.endswith("weight") or name == "strength":
            assert new.space[name].high < smallest and new.start[name] in new.space[name]
        else:
            assert new.space[name] == own.space[name], "what all share stays, and so does what need not be lower"
    others = [
        other.name for other in plan.arms if other.name not in (arm, own.parent) and other.parent != (own.parent or arm)
    ]
    assert all(better.arm(name) == plan.arm(name) for name in others), "their runs are taken over"
    assert better.base_seeds == plan.base_seeds and better.pretraining == plan.pretraining


def test_the_learning_rate_is_lowered_when_no_arm_has_a_winner_or_nothing_else_is_searched() -> None:
    plan = load_plan(edited(), "example.yaml")
    for arm, for_all in (("e2mc", True), ("continued", False)):
        own = plan.arm(arm)
        overrides = advised(fruitless_search(plan, own, losses(own), for_all=for_all), plan)
        better = load_plan(edited(), "example.yaml", overrides)
        assert better.arm("mmcr" if arm == "mmcr" else "uniformity").space[LR].high < own.start[LR]
        assert better.continuation.optimizer["lr"] < plan.continuation.optimizer["lr"]


@pytest.mark.parametrize(
    ("arms", "name", "fields"),
    [
        ({"arms__uniformity": {"criterion": "uniformity", "weight": 3.0}}, "uniformity", {"weight": 0.3}),
        ({"arms__uniformity": {"criterion": "uniformity", "start": {"weight": 3.0}}}, "uniformity", {"weight": 0.3}),
        ({"arms__e2mc": {"criterion": "e2mc", "preset": "vicreg"}}, "e2mc", {"entropy_weight": 1.0}),
    ],
)
def test_confirming_runs_of_fixed_weights(arms: dict[str, Any], name: str, fields: dict[str, float]) -> None:
    text = edited(tune="none", **arms)
    plan = load_plan(text, "example.yaml")
    found = fruitless_confirmation(plan, plan.arm(name), [Loss({}, NOT_FINITE.format(1))] * 3)
    assert "all 3 confirming runs diverged (step 1: train/base_loss, train/loss not finite), with " in found.what
    better = load_plan(text, "example.yaml", advised(found, plan))
    assert {key: better.arm(name).criterion.params[key] for key in fields} == fields


def test_confirming_runs_with_a_strength_and_without_any_criterion() -> None:
    text = edited(tune="none", arms__uniformity={"criterion": "uniformity", "start": {"strength": 5.0}})
    plan = load_plan(text, "example.yaml")
    found = fruitless_confirmation(plan, plan.arm("uniformity"), [Loss({}, NOT_FINITE.format(1))])
    assert load_plan(text, "example.yaml", advised(found, plan)).arm("uniformity").strength == 0.5
    found = fruitless_confirmation(plan, plan.arm("continued"), [Loss({}, NOT_FINITE.format(1))])
    assert load_plan(text, "example.yaml", advised(found, plan)).continuation.optimizer["lr"] == 1e-4


def test_a_winner_that_diverges_on_every_other_base() -> None:
    plan = load_plan(edited(), "example.yaml")
    own = plan.arm("uniformity")
    found = fruitless_confirmation(plan, own, [Loss(own.start, NOT_FINITE.format(n)) for n in (2, 9)])
    assert "uniformity has no result: all 2 confirming runs diverged (steps 2 to 9: " in found.what
    assert "with weight 0.5" in found.what and "lr 0.001" in found.what
    assert (
        load_plan(edited(), "example.yaml", advised(found, plan)).arm("uniformity").space["criterion.weight"].high < 0.5
    )


def test_memory_is_no_matter_of_weights() -> None:
    plan = load_plan(edited(), "example.yaml")
    own = plan.arm("e2mc")
    found = fruitless_search(
        plan, own, losses(own, "memory: CUDA out of memory", "memory: CUDA out of memory"), for_all=False
    )
    assert "all 2 trials ran out of memory (CUDA out of memory)" in found.what
    assert found.added == ("numerics.micro_batch_size=125",)
    assert load_plan(edited(), "example.yaml", advised(found, plan)).numerics["micro_batch_size"] == 125
    smaller = load_plan(edited(numerics={"micro_batch_size": 2}), "example.yaml")
    assert fruitless_search(smaller, own, losses(own, "memory: x"), for_all=False).added == ()
    mixed = fruitless_search(plan, own, losses(own, "memory: x", NOT_FINITE.format(1), ""), for_all=False)
    assert "of 3 trials 1 ran out of memory, 1 diverged, 1 ended without a finite value" in mixed.what
    assert [added.partition("=")[0] for added in mixed.added] == [
        "numerics.micro_batch_size", "arms.e2mc.start", "arms.e2mc.space",
    ]  # fmt: skip


def test_what_is_said() -> None:
    plan = load_plan(edited(ablate__weights="inherited"), "example.yaml")
    own = plan.arm("e2mc")
    found = fruitless_search(plan, own, losses(own), for_all=False)
    assert found.what == (
        "e2mc has no winner: all 2 trials diverged (steps 3 to 7: train/base_loss, train/loss not finite). Tried: "
        "entropy_weight 0.5, 1 of [0.1, 30]; covariance_weight 0.5, 1 of [0.1, 30]; lr 0.001, 0.002 of "
        "[0.0003, 0.003]. It was not confirmed, and neither were e2mc-no-entropy, e2mc-no-covariance."
    )
    assert without_result([found]) == {
        "e2mc": "no winner: all 2 trials diverged",
        "e2mc-no-entropy": "no winner of e2mc",
        "e2mc-no-covariance": "no winner of e2mc",
    }
    many = fruitless_search(
        plan, own, losses(own, *(f"diverged: step {n}: {'a' if n % 2 else 'b'} not finite" for n in range(6)),
        "diverged: c"),
        for_all=False,
    )  # fmt: skip
    assert "(3 × steps 0 to 4: b not finite; 3 × steps 1 to 5: a not finite; 1 other message)" in many.what
    assert "entropy_weight 0.5 to 3.5 of" in many.what


def test_the_next_name_is_another_one() -> None:
    for study, expected in (("example", "example-2"), ("example-2", "example-3"), ("a-b-9", "a-b-10")):
        plan = load_plan(edited(study=study), "example.yaml")
        found = fruitless_search(plan, plan.arm("uniformity"), losses(plan.arm("uniformity")), for_all=False)
        assert f" study={expected} " in sentences([found], plan)[-1]


def test_of_two_arms_that_one_was_made_into_the_first_speaks() -> None:
    plan = load_plan(edited(), "example.yaml")
    found = [
        fruitless_search(plan, plan.arm(name), losses(plan.arm(name)), for_all=False)
        for name in ("e2mc", "e2mc-no-entropy", "e2mc-no-covariance")
    ]
    line = sentences(found, plan)[-1]
    assert line.count("arms.e2mc.space=") == 1
    load_plan(edited(), "example.yaml", shlex.split(line.partition("command: ")[2]))
