"""float16 loses no small gradient and leaves out steps that overflow; compiled backbones train the same."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from study.criteria.base import Criterion, CriterionResult, Views
from study.errors import DivergedError
from study.methods.base import MethodOutput
from study.training.add_on import AddOn
from study.training.checkpoint import load_checkpoint, save_checkpoint
from study.training.loop import StepRecord, Trainer, backpropagate, check_finite
from study.training.precision import Precision
from tests.fakes.tiny_study import continuation, tiny_plan

MakeTrainer = Callable[[Mapping[str, Any]], Trainer]
Train = Callable[..., list[StepRecord]]
TRAINING = continuation(tiny_plan("continuation.epochs=1"), "uniformity").training


def with_numerics(**numerics: Any) -> dict[str, Any]:
    return {**copy.deepcopy(dict(TRAINING)), "numerics": {**TRAINING["numerics"], **numerics}}


class Line(Criterion):
    """The sum of all projections times a weight: its gradient is the weight everywhere."""

    def __init__(self, weight: float) -> None:
        self.weight = weight

    def compute(self, views: Views) -> CriterionResult:
        return CriterionResult(self.weight * views.projections.float().sum(), {})


def test_float16_trains_here_in_float32_weights(make_trainer: MakeTrainer, train: Train) -> None:
    trainer = make_trainer(with_numerics(dtype="float16"))
    records = train(trainer, 3)
    check_finite(records)
    assert {value.dtype for value in trainer.network.parameters()} == {torch.float32}
    exact = train(make_trainer(TRAINING), 3)
    assert [r.metrics["train/loss"] for r in records] != [r.metrics["train/loss"] for r in exact]
    assert records[0].metrics["train/loss"] == pytest.approx(exact[0].metrics["train/loss"], abs=0.01)
    assert records[0].metrics["train/gradient_ratio"] == pytest.approx(exact[0].metrics["train/gradient_ratio"], 0.02)
    assert "train/loss_scale" in records[0].metrics and "train/loss_scale" not in exact[0].metrics


def test_a_resumed_float16_run_repeats_every_bit(make_trainer: MakeTrainer, train: Train, tmp_path: Path) -> None:
    training = with_numerics(dtype="float16")
    whole, first = make_trainer(training), make_trainer(training)
    for trainer in (whole, first):  # a scale that is not the initial one must come back
        trainer.load_state({**trainer.state(), "loss_scaler": {**trainer.state()["loss_scaler"], "scale": 2.0**30}})
    expected = train(whole, 5)
    scales = {record.metrics["train/loss_scale"] for record in expected}
    assert len(scales) > 1, "some steps overflow, so that the scale changes on the way"
    before = train(first, 2)
    save_checkpoint(tmp_path / "checkpoint.pt", first.state())
    second = make_trainer(training)
    second.load_state(load_checkpoint(tmp_path / "checkpoint.pt"))
    found = before + train(second, 5)
    assert [repr(r.metrics) for r in found] == [repr(r.metrics) for r in expected], "NaN, where a step overflows, too"
    weights = second.network.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in whole.network.state_dict().items())


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_gradients_below_what_float16_can_hold_arrive(half: torch.dtype) -> None:
    """Projections x·w: the criterion's gradient at w is its weight times the sum of x, the loss's 1e-9 times that."""
    weight = nn.Parameter(torch.tensor([[0.5, -0.25]]))
    x = torch.full((1, 4, 1), 2.0)
    projections = (x @ weight).to(half)
    output = MethodOutput(1e-9 * projections.float().sum(), projections)
    scale = 2.0**16
    base = backpropagate(output, AddOn(Line(3e-9)).pull(output, scale), scale)
    assert weight.grad is not None
    torch.testing.assert_close(weight.grad / scale, torch.full((1, 2), 8 * 4e-9), rtol=0.01, atol=0)
    torch.testing.assert_close(base.float(), torch.full((1, 4, 2), 1e-9), rtol=0.1, atol=0)


def test_without_the_scale_they_would_not() -> None:
    projections = torch.ones(1, 4, 2, dtype=torch.float16, requires_grad=True)
    output = MethodOutput(1e-9 * projections.float().sum(), projections)
    backpropagate(output, AddOn(Line(3e-9)).pull(output))
    assert projections.grad is not None
    assert not projections.grad.any()


def test_a_step_whose_gradient_overflows_is_left_out_and_the_scale_halves() -> None:
    weight = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    precision = Precision({"dtype": "float16"}, torch.device("cpu"))
    scale = precision.loss_scale
    assert scale is not None
    weight.grad = torch.tensor([1.0, float("inf")])
    precision.step(optimizer)
    assert torch.equal(weight.detach(), torch.ones(2))
    assert precision.loss_scale == scale / 2
    weight.grad = torch.full((2,), 0.25 * scale / 2)
    precision.step(optimizer)
    torch.testing.assert_close(weight.detach(), torch.full((2,), 0.75))


def test_a_training_that_only_leaves_steps_out_ends() -> None:
    metrics = {"train/loss": 1.0, "train/base_loss": 1.0, "train/criterion": 0.0}
    check_finite([StepRecord(1, {**metrics, "train/loss_scale": 1.0})])
    with pytest.raises(DivergedError, match=r"step 2: gradients stay beyond float16 at a loss scale of 0\.5"):
        check_finite([StepRecord(2, {**metrics, "train/loss_scale": 0.5})])


@pytest.mark.slow
def test_a_compiled_backbone_trains_the_same(make_trainer: MakeTrainer, train: Train, tmp_path: Path) -> None:
    """Sums are taken in another order (AdamW would make much of that); a resumed run is the same to the bit."""
    sgd = continuation(tiny_plan("continuation.epochs=1", "continuation.optimizer={name: sgd, lr: 0.01}"), "uniformity")
    training = {**sgd.training, "numerics": {**sgd.training["numerics"], "compile": True}}
    compiled, plain = make_trainer(training), make_trainer(sgd.training)
    assert compiled.network.state_dict().keys() == plain.network.state_dict().keys()
    before = train(compiled, 3)
    save_checkpoint(tmp_path / "checkpoint.pt", compiled.state())
    after = train(compiled)
    for record, expected in zip(before + after, train(plain), strict=True):
        assert record.metrics["train/loss"] == pytest.approx(expected.metrics["train/loss"], abs=1e-4)
    resumed = make_trainer(training)
    resumed.load_state(load_checkpoint(tmp_path / "checkpoint.pt"))
    assert [dict(r.metrics) for r in train(resumed)] == [dict(r.metrics) for r in after]
