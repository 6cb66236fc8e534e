"""Optimisers do what their papers say, and the learning rate follows its closed form."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import torch
from safetensors.torch import save
from torch import nn

from study.execution.local import LocalExecutor
from study.paths import HomePaths
from study.plan.expand import base_spec
from study.training.checkpoint import load_checkpoint
from study.training.loop import StepRecord, Trainer
from study.training.optimizers import build_optimizer, learning_rate
from tests.fakes.tiny_study import continuation, pretraining, submit, tiny_plan, wait_for_end, weights_of

MakeTrainer = Callable[[Mapping[str, Any]], Trainer]
Train = Callable[..., list[StepRecord]]


def rates(num_steps: int, steps_per_epoch: int, **settings: Any) -> list[float]:
    full = {"lr": 2.0, "schedule": "constant", "warmup_epochs": 0, **settings}
    return [learning_rate(full, step, num_steps, steps_per_epoch) for step in range(num_steps)]


def test_constant() -> None:
    assert rates(30, 10) == [2.0] * 30


def test_cosine_begins_at_the_peak_and_would_reach_zero_one_step_after_the_last() -> None:
    expected = [1.0 + math.cos(math.pi * step / 30) for step in range(30)]
    assert rates(30, 10, schedule="cosine") == pytest.approx(expected)
    settings = {"lr": 2.0, "schedule": "cosine", "warmup_epochs": 0}
    assert learning_rate(settings, 30, 30, 10) == pytest.approx(0.0)


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_warmup_rises_in_equal_steps_to_the_peak_and_hands_over(schedule: str) -> None:
    values = rates(50, 10, schedule=schedule, warmup_epochs=2)
    assert values[:20] == pytest.approx([2.0 * (step + 1) / 20 for step in range(20)])
    assert values[20] == 2.0
    tail = [2.0] * 30 if schedule == "constant" else [1.0 + math.cos(math.pi * step / 30) for step in range(30)]
    assert values[20:] == pytest.approx(tail)


def test_warmup_as_long_as_the_run() -> None:
    assert rates(20, 10, schedule="cosine", warmup_epochs=2)[-1] == 2.0


def test_the_loop_uses_it(make_trainer: MakeTrainer, train: Train) -> None:
    training = pretraining(2).training
    shown = [record.metrics["train/lr"] for record in train(make_trainer(training))]
    assert shown == [learning_rate(training["optimizer"], step, 20, 10) for step in range(20)]
    assert shown[:10] == pytest.approx([1e-4 * (step + 1) for step in range(10)])


def _step(settings: Mapping[str, Any], num_steps: int) -> torch.Tensor:
    """Weights after steps along a constant gradient of (1, -3)."""
    network = nn.Linear(2, 1, bias=False)
    network.weight.data = torch.tensor([[0.5, -0.25]])
    optimizer = build_optimizer(network, settings)
    for _ in range(num_steps):
        network.weight.grad = torch.tensor([[1.0, -3.0]])
        optimizer.step()
    return network.weight.data.flatten().double()


def test_adamw_decays_weights_apart_from_the_gradient() -> None:
    """Along a constant gradient each bias-corrected step is lr · sign, after decay by 1 - lr · weight_decay."""
    weights = _step({"name": "adamw", "lr": 0.1, "weight_decay": 0.5}, 3)
    expected = torch.tensor([0.5, -0.25], dtype=torch.float64)
    for _ in range(3):
        expected = expected * (1 - 0.1 * 0.5) - 0.1 * torch.tensor([1.0, -1.0])
    torch.testing.assert_close(weights, expected, rtol=1e-5, atol=1e-6)


def test_sgd_has_momentum_and_decay_in_the_gradient() -> None:
    weights = _step({"name": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 0.5}, 3)
    expected, velocity = torch.tensor([0.5, -0.25], dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    for _ in range(3):
        velocity = 0.9 * velocity + torch.tensor([1.0, -3.0]) + 0.5 * expected
        expected = expected - 0.1 * velocity
    torch.testing.assert_close(weights, expected, rtol=1e-5, atol=1e-6)


def test_frozen_parameters_are_left_out() -> None:
    network = nn.Linear(2, 1)
    network.bias.requires_grad_(False)
    optimizer = build_optimizer(network, {"name": "adamw", "lr": 0.1, "weight_decay": 0.0})
    assert [p.shape for group in optimizer.param_groups for p in group["params"]] == [network.weight.shape]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> HomePaths:
    return HomePaths(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def executor(home: HomePaths) -> Iterator[LocalExecutor]:
    """With a base in `home`."""
    executor = LocalExecutor(slots=1)
    assert wait_for_end(submit(home, base_spec(tiny_plan(), 1), executor)) == "finished"
    yield executor
    executor.close()


class TestState:
    """`state: keep` starts from the base's optimiser, `reset` from a fresh one; both from the base's weights."""

    @pytest.mark.parametrize("state", ["reset", "keep"])
    def test_where_a_continuation_starts(
        self, home: HomePaths, executor: LocalExecutor, make_trainer: MakeTrainer, train: Train, state: str
    ) -> None:
        plan = tiny_plan(f"continuation.optimizer.state={state}")
        spec = continuation(plan)
        attempt = submit(home, spec, executor)
        assert wait_for_end(attempt) == "finished"

        base = load_checkpoint(home.base(base_spec(plan, 1).run_id).attempt(1).checkpoint)
        by_hand = make_trainer(spec.training)
        by_hand.network.load_state_dict(base["network"])
        if state == "keep":
            by_hand.optimizer.load_state_dict(base["optimizer"])
        train(by_hand)
        assert weights_of(attempt.run) == _sha256(by_hand)


def _sha256(trainer: Trainer) -> str:
    state = {name: value.detach().contiguous() for name, value in trainer.network.state_dict().items()}
    return hashlib.sha256(save(state)).hexdigest()
