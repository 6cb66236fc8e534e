"""What every evaluation promises, whatever it measures; a new file in its folder is judged here unasked."""

from __future__ import annotations

import dataclasses
import json
import math
import pickle
import re

import numpy as np
import pytest
import torch
from torch import nn

from study import registry
from study.datasets.base import LabelledImages
from study.evaluations.base import Evaluation, EvaluationTask, Representations, Trainable
from study.tensors.streams import global_draws, global_states, seed_global_generators
from study.training.trainable import crop, trainable

NUM_CLASSES = 3


def make_task(num_train: int = 600, num_held_out: int = 150, dim: int = 8, seed: int = 0) -> EvaluationTask:
    """Read-only Gaussian classes."""
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(NUM_CLASSES, dim))

    def split(num_images: int) -> Representations:
        labels = generator.permutation(np.arange(num_images) % NUM_CLASSES)
        features = (centres[labels] + generator.normal(size=(num_images, dim))).astype(np.float32)
        features.flags.writeable = labels.flags.writeable = False
        return Representations(features, labels)

    train, held_out = split(num_train), split(num_held_out)
    images = pictures(train, centres, seed + 1), pictures(held_out, centres, seed + 2)
    return EvaluationTask(
        train, held_out, NUM_CLASSES, "synthetic", "1", projections=held_out.features,
        trainable=Trainable(tiny_backbone, 4, *images, crop, torch.device("cpu")),
    )  # fmt: skip


class ReadLater:
    """Images that are no tensor: all that may be asked of them is how many there are, and what stands in some rows."""

    def __init__(self, pixels: torch.Tensor) -> None:
        self._pixels = pixels

    def __len__(self) -> int:
        return len(self._pixels)

    def __getitem__(self, rows: torch.Tensor | slice, /) -> torch.Tensor:
        return self._pixels[rows].clone()


def pictures(split: Representations, centres: np.ndarray, seed: int) -> ReadLater:
    """Noisy images whose colours tell the class."""
    noise = np.random.default_rng(seed).normal(scale=20, size=(len(split.labels), 3, 4, 4))
    colours = 127 + 40 * centres[split.labels, :3, None, None]
    return ReadLater(torch.from_numpy(np.clip(colours + noise, 0, 255).astype(np.uint8)))


def tiny_backbone() -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.1), nn.Flatten(), nn.Linear(16, 4)
    )
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3, generator=generator)
    return network


@pytest.fixture(params=registry.names("evaluations"))
def evaluation(request: pytest.FixtureRequest) -> Evaluation:
    """One evaluation with its defaults."""
    made = registry.component("evaluations", request.param)()
    assert isinstance(made, Evaluation)
    return made


def test_is_a_frozen_dataclass_that_can_be_hashed_compared_and_pickled(evaluation: Evaluation) -> None:
    assert dataclasses.is_dataclass(evaluation)
    for field in dataclasses.fields(evaluation):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(evaluation, field.name, getattr(evaluation, field.name))
    same = type(evaluation)()
    assert same == evaluation and hash(same) == hash(evaluation)
    assert pickle.loads(pickle.dumps(evaluation)) == evaluation


def test_rebuilding_from_the_fields_gives_the_same_evaluation(evaluation: Evaluation) -> None:
    assert dataclasses.is_dataclass(evaluation)
    fields = {field.name: getattr(evaluation, field.name) for field in dataclasses.fields(evaluation)}
    assert type(evaluation)(**fields) == evaluation


def test_returns_the_metrics_it_names(evaluation: Evaluation) -> None:
    metrics = evaluation(make_task())
    assert tuple(metrics) == evaluation.metric_names()
    assert len(set(evaluation.metric_names())) == len(metrics) > 0
    assert all(re.fullmatch(r"[a-z0-9_]+", name) for name in metrics), "a tracker must accept the names"


def test_values_are_finite_python_floats_in_the_range_of_the_unit(evaluation: Evaluation) -> None:
    for value in evaluation(make_task()).values():
        assert type(value) is float and math.isfinite(value)
        assert evaluation.unit != "percent" or 0 <= value <= 100


def test_two_calls_give_equal_numbers(evaluation: Evaluation) -> None:
    np.random.default_rng(1).random(10)
    assert evaluation(make_task()) == evaluation(make_task())
    assert evaluation.details(make_task()) == evaluation.details(make_task())


def test_details_are_json_of_bounded_size(evaluation: Evaluation) -> None:
    details = evaluation.details(make_task(num_held_out=3000, dim=300))
    assert len(json.dumps(details, allow_nan=False)) < 100_000


def test_arrays_it_reads_stay_as_they_were(evaluation: Evaluation) -> None:
    """Also with arrays that are writeable, where a change in place would not raise."""
    task, untouched = make_task(), make_task()
    for split in (task.train, task.held_out):
        split.features.flags.writeable = split.labels.flags.writeable = True
    evaluation(task)
    for ours, theirs in ((task.train, untouched.train), (task.held_out, untouched.held_out)):
        assert np.array_equal(ours.features, theirs.features)
        assert np.array_equal(ours.labels, theirs.labels)


def test_order_of_the_held_out_images_does_not_matter(evaluation: Evaluation) -> None:
    task = make_task()
    order = np.random.default_rng(2).permutation(len(task.held_out.labels))
    permuted = Representations(task.held_out.features[order], task.held_out.labels[order])
    given = task.trainable
    assert given is not None
    images = dataclasses.replace(given, held_out=ReadLater(given.held_out[torch.from_numpy(order)]))
    again = dataclasses.replace(task, held_out=permuted, projections=permuted.features, trainable=images)
    assert evaluation(again) == pytest.approx(evaluation(task))


def test_tiny_splits_work(evaluation: Evaluation) -> None:
    """One label per class at 1 %, and a single held-out image."""
    metrics = evaluation(make_task(num_train=100 * NUM_CLASSES, num_held_out=1))
    assert all(math.isfinite(value) for value in metrics.values())


def test_collapsed_representations_are_judged_and_not_refused(evaluation: Evaluation) -> None:
    task = make_task()
    train, held_out = (
        Representations(np.full_like(split.features, 0.1), split.labels) for split in (task.train, task.held_out)
    )
    collapsed = dataclasses.replace(task, train=train, held_out=held_out, projections=held_out.features)
    metrics = evaluation(collapsed)
    assert json.dumps(evaluation.details(collapsed), allow_nan=False)
    assert all(math.isfinite(value) for value in metrics.values())


@pytest.mark.parametrize("split", ["train", "held_out"])
def test_features_that_are_not_finite_are_refused(evaluation: Evaluation, split: str) -> None:
    if not evaluation.reads_features:
        pytest.skip("it reads none")
    task = make_task()
    good: Representations = getattr(task, split)
    bad = Representations(good.features.copy(), good.labels)
    bad.features[0, 0] = np.nan
    broken = dataclasses.replace(task, train=bad) if split == "train" else dataclasses.replace(task, held_out=bad)
    with pytest.raises(ValueError, match="NaN"):
        evaluation(broken)


def trainable_of(task: EvaluationTask, backbone: nn.Module) -> EvaluationTask:
    given = task.trainable
    assert given is not None
    return dataclasses.replace(task, trainable=dataclasses.replace(given, backbone=lambda: backbone))


def test_weights_that_are_not_finite_are_refused(evaluation: Evaluation) -> None:
    if not evaluation.trains_network:
        pytest.skip("it sees none")
    backbone = tiny_backbone()
    next(backbone.parameters()).data[0] = torch.nan
    with pytest.raises(ValueError, match="NaN"):
        evaluation(trainable_of(make_task(), backbone))


def test_global_random_numbers_neither_matter_nor_are_used_up(evaluation: Evaluation) -> None:
    seed_global_generators("before")
    before = global_states()
    expected = evaluation(make_task())
    assert global_draws(before) == []
    seed_global_generators("elsewhere")
    assert evaluation(make_task()) == expected


def test_labels_that_it_did_not_ask_for_do_not_matter(evaluation: Evaluation) -> None:
    """What it asks for is kept, so that arms can be compared; one that asks for none may look at all."""
    if "label_percent" not in {field.name for field in dataclasses.fields(evaluation)}:  # type: ignore[arg-type]
        pytest.skip("it looks at all labels")
    few, listed = type(evaluation)(label_percent=(10,)), np.arange(0, 600, 10)  # type: ignore[call-arg]
    task = dataclasses.replace(make_task(), label_lists={10: listed})
    expected = few(task)
    assert [rows.tolist() for rows in task.drawn] == [listed.tolist()]
    labels = (task.train.labels + 1) % NUM_CLASSES
    labels[listed] = task.train.labels[listed]
    assert few(dataclasses.replace(task, train=Representations(task.train.features, labels))) == expected


def test_what_is_trained_is_a_copy(evaluation: Evaluation) -> None:
    """As the worker hands it out; modes and gradients of the run's own network stay as well."""
    if not evaluation.trains_network:
        pytest.skip("it sees none")
    task, backbone = make_task(), tiny_backbone().eval()
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    labelled = [
        LabelledImages(images[:], torch.from_numpy(split.labels.copy()))
        for images, split in ((task.trainable.train, task.train), (task.trainable.held_out, task.held_out))
    ]
    given = trainable(backbone, 4, *labelled, torch.device("cpu"), lambda: None)
    assert evaluation(dataclasses.replace(task, trainable=given)) == evaluation(task)
    after = backbone.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not backbone.training and all(p.grad is None for p in backbone.parameters())
