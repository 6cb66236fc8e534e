"""Optimisers do what their papers say, and the learning rate follows its closed form."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from lightly.utils import lars as lightly_lars
from safetensors.torch import save
from torch import nn

from study.execution.local import LocalExecutor
from study.paths import HomePaths
from study.plan.expand import base_spec
from study.training.checkpoint import load_checkpoint
from study.training.loop import StepRecord, Trainer
from study.training.optimizers import build_optimizer, carry_over, learning_rate
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


def _settings(name: str, **changes: Any) -> dict[str, Any]:
    return {"name": name, "lr": 0.1, "weight_decay": 0.0, "exclude_bias_and_norm": False, **changes}


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
    weights = _step(_settings("adamw", weight_decay=0.5), 3)
    expected = torch.tensor([0.5, -0.25], dtype=torch.float64)
    for _ in range(3):
        expected = expected * (1 - 0.1 * 0.5) - 0.1 * torch.tensor([1.0, -1.0])
    torch.testing.assert_close(weights, expected, rtol=1e-5, atol=1e-6)


def test_sgd_has_momentum_and_decay_in_the_gradient() -> None:
    weights = _step(_settings("sgd", momentum=0.9, weight_decay=0.5), 3)
    expected, velocity = torch.tensor([0.5, -0.25], dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    for _ in range(3):
        velocity = 0.9 * velocity + torch.tensor([1.0, -3.0]) + 0.5 * expected
        expected = expected - 0.1 * velocity
    torch.testing.assert_close(weights, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["lars", "larc"])
@pytest.mark.parametrize("is_excluded", [False, True])
def test_lars_and_larc_against_a_transcription(name: str, is_excluded: bool) -> None:
    """LARS: facebookresearch/vicreg main_vicreg.py; LARC: NVIDIA/apex parallel/LARC.py with clip=False, then SGD."""
    lr, momentum, decay, trust = 0.3, 0.9, 0.5, 0.02
    settings = _settings(
        name, lr=lr, momentum=momentum, weight_decay=decay, trust_coefficient=trust, exclude_bias_and_norm=is_excluded
    )
    network = nn.Linear(3, 2).double()
    optimizer = build_optimizer(network, settings)
    weights = {key: value.detach().numpy().copy() for key, value in network.named_parameters()}
    velocity = {key: np.zeros_like(value) for key, value in weights.items()}
    rng = np.random.default_rng(0)
    for _ in range(4):
        for key, parameter in network.named_parameters():
            gradient = rng.standard_normal(parameter.shape)
            parameter.grad = torch.from_numpy(gradient)
            w, v = weights[key], velocity[key]
            if is_excluded and w.ndim == 1:
                step = gradient
            elif name == "lars":
                step = gradient + decay * w
                step = step * trust * np.linalg.norm(w) / np.linalg.norm(step)
            else:
                rate = trust * np.linalg.norm(w) / (np.linalg.norm(gradient) + decay * np.linalg.norm(w))
                step = (gradient + decay * w) * rate
            velocity[key] = momentum * v + step
            weights[key] = w - lr * velocity[key]
        optimizer.step()
    for key, parameter in network.named_parameters():
        np.testing.assert_allclose(parameter.detach().numpy(), weights[key], rtol=1e-12)


def test_larc_against_another_library() -> None:
    """What lightly calls LARS has LARC's denominator, ‖g‖ + λ‖w‖."""
    ours, theirs = (nn.Linear(3, 2).double() for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    settings = _settings("larc", lr=0.3, momentum=0.9, weight_decay=0.5, trust_coefficient=0.02)
    optimizers = [
        build_optimizer(ours, settings),
        lightly_lars.LARS(theirs.parameters(), lr=0.3, momentum=0.9, weight_decay=0.5, trust_coefficient=0.02),
    ]
    generator = torch.Generator().manual_seed(0)
    for _ in range(4):
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            a.grad = torch.randn(a.shape, generator=generator, dtype=torch.float64)
            b.grad = a.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", ["lars", "larc"])
def test_layers_without_weights_or_without_gradient_take_a_plain_step(name: str) -> None:
    network = nn.Linear(2, 1)
    network.weight.data.zero_()
    optimizer = build_optimizer(network, _settings(name, momentum=0.0, weight_decay=0.5, trust_coefficient=0.02))
    network.weight.grad, network.bias.grad = torch.tensor([[1.0, -3.0]]), torch.zeros(1)
    optimizer.step()
    torch.testing.assert_close(network.weight.data, torch.tensor([[-0.1, 0.3]]))
    assert network.bias.isfinite().all()


def test_bias_and_norm_can_be_kept_from_decaying() -> None:
    network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    groups = build_optimizer(network, _settings("adamw", weight_decay=0.5, exclude_bias_and_norm=True)).param_groups
    decays = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    names = {name: decays[id(p)] for name, p in network.named_parameters()}
    assert names == {"0.weight": 0.5, "0.bias": 0.0, "1.weight": 0.0, "1.bias": 0.0}


def test_a_submodule_with_a_rate_of_its_own(make_trainer: MakeTrainer, train: Train) -> None:
    training = pretraining(2, **{"base.method": "{name: simsiam, predictor_lr: 0.02}"}).training
    trainer = make_trainer(training)
    records = train(trainer, 15)
    rates = {
        name: group["lr"]
        for group in trainer.optimizer.param_groups
        for p in group["params"]
        for name, q in trainer.network.named_parameters()
        if p is q
    }
    assert {rate for name, rate in rates.items() if name.startswith("predictor.")} == {0.02}
    others = {rate for name, rate in rates.items() if not name.startswith("predictor.")}
    assert others == {records[-1].metrics["train/lr"]} != {0.02}


def test_carrying_moments_over_leaves_the_settings_alone() -> None:
    first, second = nn.Linear(2, 1), nn.Linear(2, 1)
    earlier = build_optimizer(first, _settings("adamw", weight_decay=0.5))
    for parameter in first.parameters():
        parameter.grad = torch.ones_like(parameter)
    earlier.step()
    later = build_optimizer(second, _settings("adamw", lr=0.7, weight_decay=0.25))
    carry_over(later, earlier.state_dict())
    assert [(group["lr"], group["weight_decay"]) for group in later.param_groups] == [(0.7, 0.25)]
    moments = zip(later.state.values(), earlier.state.values(), strict=True)
    assert all(torch.equal(a["exp_avg"], b["exp_avg"]) and a["step"] == b["step"] for a, b in moments)


def test_frozen_parameters_are_left_out() -> None:
    network = nn.Linear(2, 1)
    network.bias.requires_grad_(False)
    optimizer = build_optimizer(network, _settings("adamw"))
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
