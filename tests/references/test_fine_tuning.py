"""Fine-tuning against a transcription of its source's loop, on a network small enough to write its SGD out."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from study.errors import StudyError
from study.evaluations._labels import draw_labels
from study.evaluations.base import EvaluationTask, Representations, Trainable
from study.evaluations.fine_tuning import FineTuning
from study.tensors.images import Images
from study.tensors.streams import stream, stream_seed
from study.training.trainable import crop

NUM_CLASSES, SIZE = 3, 6
CPU = torch.device("cpu")


def linear_backbone() -> nn.Module:
    """Pixels → 5 numbers."""
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE * SIZE, 5, bias=False))
    weight = np.random.default_rng(7).normal(scale=0.05, size=(5, 3 * SIZE * SIZE))
    backbone[1].weight.data = torch.from_numpy(weight.astype(np.float32))
    return backbone


def make_task(
    num_train: int = 120,
    num_held_out: int = 90,
    noise: float = 60.0,
    backbone: Callable[[], nn.Module] = linear_backbone,
) -> EvaluationTask:
    """Images with the colour of their class under noise."""
    generator = np.random.default_rng(0)
    colours = np.array([[200, 80, 80], [80, 200, 80], [80, 80, 200]])

    def split(num_images: int) -> tuple[Representations, Tensor]:
        labels = generator.permutation(np.arange(num_images) % NUM_CLASSES)
        pixels = colours[labels][:, :, None, None] + generator.normal(scale=noise, size=(num_images, 3, SIZE, SIZE))
        images = torch.from_numpy(np.clip(pixels, 0, 255).astype(np.uint8))
        return Representations(np.zeros((num_images, 0), dtype=np.float32), labels), images

    (train, images), (held_out, others) = split(num_train), split(num_held_out)
    given = Trainable(backbone, 5, images, others, crop, CPU)
    return EvaluationTask(train, held_out, NUM_CLASSES, "synthetic", "3", trainable=given)


class Recorder:
    """The network after every step, seen from outside: what a backbone's parameters are when `pause` is called."""

    def __init__(self, task: EvaluationTask) -> None:
        self.backbone = linear_backbone()
        self.seen: list[Tensor] = []
        given = task.trainable
        assert given is not None
        self.task = replace(task, trainable=replace(given, backbone=lambda: self.backbone, pause=self._look))

    def _look(self) -> None:
        if self.backbone.training:
            self.seen.append(self.backbone[1].weight.detach().clone())  # type: ignore[index]


def transcription(task: EvaluationTask, tuning: FineTuning, rates: list[float]) -> tuple[list[Tensor], float]:
    """SGD as `torch.optim.SGD` documents it (g += λ·θ; v = μ·v + g; θ -= lr·v) with the gradient in closed form.

    Returns:
        The trunk's weights after every step, and top-1 in percent.
    """
    given = task.trainable
    assert given is not None and tuning.trunk_lr and tuning.head_lr
    (percent,) = tuning.label_percent
    drawn = draw_labels(task.train.labels, percent, dataset="synthetic", label_seed="3", draw=0)
    chosen = task.label_lists.get(percent, drawn)
    keys = ("fine tuning", "synthetic", percent, "3")
    with torch.random.fork_rng():
        torch.manual_seed(stream_seed(*keys))
        head = nn.Linear(5, NUM_CLASSES)
    trunk = linear_backbone()[1].weight.detach().double()  # type: ignore[index]
    weight, bias = head.weight.detach().double(), head.bias.detach().double()
    theta = [trunk, weight, bias]
    velocity = [torch.zeros_like(t) for t in theta]
    one_hot = torch.eye(NUM_CLASSES, dtype=torch.float64)[torch.from_numpy(task.train.labels[chosen])]
    seen = []
    for epoch, share in enumerate(rates):
        order = torch.randperm(len(chosen), generator=stream("order", *keys, epoch))
        size = tuning.batch_size
        for step in range(max(1, len(chosen) // size)):
            rows = order[step * size : (step + 1) * size]
            images = given.train[torch.from_numpy(chosen)[rows]]
            x = crop(images, stream("views", *keys, epoch, step), tuning.crop_area).flatten(1).double()
            features = x @ theta[0].T
            residual = (torch.softmax(features @ theta[1].T + theta[2], dim=1) - one_hot[rows]) / len(rows)
            gradients = [(residual @ theta[1]).T @ x, residual.T @ features, residual.sum(dim=0)]
            for i, rate in enumerate((tuning.trunk_lr[0], tuning.head_lr[0], tuning.head_lr[0])):
                velocity[i] = tuning.momentum * velocity[i] + gradients[i] + tuning.weight_decay * theta[i]
                theta[i] = theta[i] - share * rate * velocity[i]
            seen.append(theta[0])
    clean = (given.held_out[:].double() / 127.5 - 1).flatten(1)
    predicted = (clean @ theta[0].T @ theta[1].T + theta[2]).argmax(dim=1)
    return seen, 100 * float((predicted.numpy() == task.held_out.labels).mean())


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        # SwAV's eval_semisup.py: 20 epochs, ×0.2 at 12 and 16; here five, so at 3 and 4.
        ("step", [1, 1, 1, 0.2, 0.04]),
        # torch's CosineAnnealingLR from 1 to 0 over five epochs.
        ("cosine", [(1 + math.cos(math.pi * epoch / 5)) / 2 for epoch in range(5)]),
    ],
)
@pytest.mark.parametrize(("momentum", "is_listed"), [(0.0, False), (0.9, False), (0.9, True)])
def test_every_step_is_that_of_the_written_out_sgd(
    schedule: str, rates: list[float], momentum: float, is_listed: bool
) -> None:
    tuning = FineTuning(
        (50,), trunk_lr=(0.003,), head_lr=(0.05,), epochs=5, batch_size=16, momentum=momentum, weight_decay=0.01,
        schedule=schedule, crop_area=(0.5, 1.0),
    )  # fmt: skip
    task = replace(make_task(noise=250.0), label_lists={50: np.arange(60, 110)} if is_listed else {})
    recorder = Recorder(task)
    metrics = tuning(recorder.task)
    expected, top1 = transcription(task, tuning, rates)
    assert len(recorder.seen) == len(expected) == 5 * 3, "three full batches of 16 among 60, or 50 that are listed"
    for ours, theirs in zip(recorder.seen, expected, strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-4, atol=1e-5)
    assert metrics == {"top1_50pct": pytest.approx(top1, abs=100 / 90 + 1e-9)}
    assert 40 < top1 < 100, "the task must be neither hopeless nor trivial"


def test_the_published_schedule_falls_after_12_and_16_of_20_epochs() -> None:
    """Source: eval_semisup.py of SwAV, `--decay_epochs 12 16 --gamma 0.2`."""
    shares = [FineTuning()._decay(epoch) for epoch in range(20)]
    assert shares == pytest.approx([1] * 12 + [0.2] * 4 + [0.04] * 4)


def convolutional() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(8, 5),
    )  # fmt: skip


def test_it_learns_what_separates_the_classes_and_nothing_from_random_labels() -> None:
    task = make_task(num_train=300, num_held_out=300, backbone=convolutional)
    tuning = FineTuning((10, 100), trunk_lr=(0.05, 0.05), head_lr=(0.5, 0.5), epochs=10, batch_size=15)
    metrics = tuning(task)
    assert metrics["top1_100pct"] > 95, metrics
    assert metrics["top1_10pct"] > 90, metrics
    shuffled = np.random.default_rng(1).permutation(task.held_out.labels)
    blind = tuning(replace(task, held_out=replace(task.held_out, labels=shuffled)))
    assert all(abs(value - 100 / 3) < 12 for value in blind.values()), blind


def test_the_trunk_is_trained_with_its_own_rate() -> None:
    recorder = Recorder(make_task())
    FineTuning((50,), trunk_lr=(1e-12,), head_lr=(0.1,), epochs=1, batch_size=20)(recorder.task)
    torch.testing.assert_close(recorder.seen[-1], linear_backbone()[1].weight.detach(), rtol=0, atol=1e-9)  # type: ignore[index]


def test_head_order_and_views_are_those_of_the_label_seed() -> None:
    task = make_task(noise=120.0)
    tuning = FineTuning((50,), trunk_lr=(0.003,), head_lr=(0.05,), epochs=1, batch_size=16)

    def end(label_seed: str) -> Tensor:
        recorder = Recorder(replace(task, label_seed=label_seed))
        tuning(recorder.task)
        return recorder.seen[-1]

    assert torch.equal(end("3"), end("3"))
    assert not torch.equal(end("3"), end("4"))


def test_its_labels_are_the_first_draw_of_the_linear_probe() -> None:
    from study.evaluations.linear_probe import LinearProbe

    ours, theirs = make_task(num_train=900), make_task(num_train=900)
    FineTuning((1, 10), epochs=1)(ours)
    features = np.random.default_rng(0).normal(size=(900, 2)).astype(np.float32)
    pool, held_out = (Representations(features[: len(s.labels)], s.labels) for s in (theirs.train, theirs.held_out))
    LinearProbe((1, 10), (2, 2))(replace(theirs, train=pool, held_out=held_out))
    assert [rows.tolist() for rows in ours.drawn] == [theirs.drawn[0].tolist(), theirs.drawn[2].tolist()]


def test_rates_that_are_far_too_high_count_as_wrong_answers() -> None:
    tuning = FineTuning((100,), trunk_lr=(1e30,), head_lr=(1e30,), epochs=2, batch_size=16)
    assert tuning(make_task()) == {"top1_100pct": 0.0}


class LeftError(StudyError):
    pass


def test_it_can_be_left_in_the_middle() -> None:
    task, calls = make_task(), []

    def pause() -> None:
        calls.append(1)
        if len(calls) == 2:
            raise LeftError

    given = task.trainable
    assert given is not None
    with pytest.raises(LeftError):
        FineTuning((100,))(replace(task, trainable=replace(given, pause=pause)))


def test_without_a_network_there_is_nothing_to_tune() -> None:
    with pytest.raises(ValueError, match="the task has none"):
        FineTuning()(replace(make_task(), trainable=None))


def test_published_rates_are_the_defaults() -> None:
    """SwAV's README: 1 % trunk 0.02, head 5; 10 % trunk 0.01, head 0.2."""
    tuning = FineTuning()
    assert (tuning.label_percent, tuning.trunk_lr, tuning.head_lr) == ((1, 10), (0.02, 0.01), (5.0, 0.2))
    assert (tuning.epochs, tuning.batch_size, tuning.momentum, tuning.weight_decay) == (20, 256, 0.9, 0.0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"label_percent": ()}, r"label_percent must hold distinct percentages, at least one, got \(\)"),
        ({"label_percent": (0,)}, r"label_percent must hold whole numbers in \(0, 100\], got \(0,\)"),
        ({"trunk_lr": (0.1,)}, r"trunk_lr must hold one value per label_percent \(1, 10\), got \(0.1,\)"),
        ({"head_lr": (0.1, -1.0)}, r"head_lr must hold finite numbers > 0, got \(0.1, -1.0\)"),
        ({"epochs": 0}, "epochs must be a whole number ≥ 1, got 0"),
        ({"batch_size": 1}, "batch_size must be a whole number ≥ 2, got 1"),
        ({"momentum": 1.0}, r"momentum must lie in \[0, 1\), got 1.0"),
        ({"weight_decay": float("nan")}, "weight_decay must be finite and ≥ 0, got nan"),
        ({"schedule": "linear"}, "schedule must be step or cosine, got 'linear'"),
        ({"crop_area": (0.0, 1.0)}, r"0 < low <= high <= 1 must hold, but got crop_area=\(0.0, 1.0\)"),
    ],
)
def test_impossible_fields_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FineTuning(**fields)


def test_a_fraction_too_small_for_the_classes_is_refused_before_anything_runs() -> None:
    with pytest.raises(ValueError, match="1 % of a pool of 120 images is 1 labels, fewer than its 3 classes"):
        FineTuning((1,)).check_pool(120, NUM_CLASSES)


def test_crops_keep_the_colours() -> None:
    """One colour stays that colour, wherever the crop lies; two halves are flipped half of the time."""
    plain: Images = torch.full((40, 3, 8, 8), 200, dtype=torch.uint8)
    view = crop(plain[:], stream("a"), (0.08, 1.0))
    torch.testing.assert_close(view, torch.full_like(view, 200 / 127.5 - 1), rtol=0, atol=1e-5)
    halves = torch.zeros(200, 3, 8, 8, dtype=torch.uint8)
    halves[..., 4:] = 255
    whole = crop(halves, stream("b"), (1.0, 1.0))
    is_flipped = whole[:, 0, 4, 0] > whole[:, 0, 4, -1]
    assert 70 < int(is_flipped.sum()) < 130
