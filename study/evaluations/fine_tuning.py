"""Fine-tuning: how well does the whole network learn the classes from few labels?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from study.evaluations._labels import chosen_labels, require_percents, subset_size
from study.evaluations.base import Evaluation, EvaluationTask, Trainable
from study.tensors.images import Images, to_float
from study.tensors.streams import stream, stream_seed

_JUDGED_AT_A_TIME = 250
_SCHEDULES = ("step", "cosine")


@dataclass(frozen=True)
class FineTuning(Evaluation):
    """Semi-supervised learning: a copy of the backbone and a new linear head are trained end to end on few labels.

    SGD on the cross-entropy; trunk (the backbone) and head have learning rates of their own, and batch normalisation
    is in training mode. Views are random resized crops, half of them flipped; held-out images are seen as they are
    kept. The network of the last epoch is judged, not that of the best one.

    Source: SwAV, https://arxiv.org/abs/2006.09882, and https://github.com/facebookresearch/swav, eval_semisup.py, whose
    README gives the default rates for 1 % and 10 % of ImageNet; VICReg's, https://github.com/facebookresearch/vicreg,
    are trunk 0.03 and 0.01, head 0.08 and 0.1, cosine. One draw per fraction, which is the first one of the linear
    probe; heads, order and views are functions of the label seed, so that they are equal for all arms.

    Attributes:
        label_percent: label fractions, in percent of the pool; class-balanced draws, equal for all arms, or the
            dataset's list where it has one.
        trunk_lr: learning rate of the backbone for each fraction. Default: 0.02 up to 1 %, else 0.01.
        head_lr: learning rate of the head. Default: 5 up to 1 %, else 0.2.
        epochs: passes over the labelled images.
        batch_size: images per step; the incomplete last batch of an epoch is dropped, unless it is the only one.
        momentum: of SGD.
        weight_decay: of all weights.
        schedule: of both rates, from epoch to epoch: `step` multiplies by 0.2 after 60 % and 80 % of the epochs,
            `cosine` falls to 0.
        crop_area: range of the crop's share of the image's area; that of torchvision's RandomResizedCrop by default.
    """

    label_percent: tuple[int, ...] = (1, 10)
    trunk_lr: tuple[float, ...] | None = None
    head_lr: tuple[float, ...] | None = None
    epochs: int = 20
    batch_size: int = 256
    momentum: float = 0.9
    weight_decay: float = 0.0
    schedule: str = "step"
    crop_area: tuple[float, float] = (0.08, 1.0)

    reads_features: ClassVar[bool] = False
    trains_network: ClassVar[bool] = True

    def __post_init__(self) -> None:
        percents = self.label_percent
        require_percents(percents)
        for name, few, many in (("trunk_lr", 0.02, 0.01), ("head_lr", 5.0, 0.2)):
            rates = getattr(self, name)
            if rates is None:
                object.__setattr__(self, name, tuple(few if p <= 1 else many for p in percents))
            elif len(rates) != len(percents):
                raise ValueError(f"{name} must hold one value per label_percent {percents}, got {rates}")
            elif not all(0 < rate < math.inf for rate in rates):
                raise ValueError(f"{name} must hold finite numbers > 0, got {rates}")
        for name, least in (("epochs", 1), ("batch_size", 2)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise ValueError(f"{name} must be a whole number ≥ {least}, got {value!r}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must lie in [0, 1), got {self.momentum!r}")
        if not 0 <= self.weight_decay < math.inf:
            raise ValueError(f"weight_decay must be finite and ≥ 0, got {self.weight_decay!r}")
        if self.schedule not in _SCHEDULES:
            raise ValueError(f"schedule must be {' or '.join(_SCHEDULES)}, got {self.schedule!r}")
        low, high = self.crop_area
        if not 0 < low <= high <= 1:
            raise ValueError(f"0 < low <= high <= 1 must hold, but got crop_area={low, high}")

    def check_pool(self, num_images: int, num_classes: int) -> None:
        """Raise ValueError when a label fraction is smaller than one label per class."""
        for percent in self.label_percent:
            subset_size(num_images, percent, num_classes)

    def num_trained(self, num_images: int) -> int:
        """Epochs times labelled images."""
        return sum(self.epochs * round(num_images * percent / 100) for percent in self.label_percent)

    def metric_names(self) -> tuple[str, ...]:
        """`top1_<n>pct` of every label fraction."""
        return tuple(f"top1_{percent}pct" for percent in self.label_percent)

    def __call__(self, task: EvaluationTask) -> Mapping[str, float]:
        """Return top-1 accuracy on the held-out images in percent.

        Images whose logits are not finite, because the rates were too high, count as wrong.

        Raises:
            ValueError: a label fraction is smaller than one label per class, there is nothing to train, or the
                trained weights are not finite.
        """
        if task.trainable is None:
            raise ValueError("the network and its images are needed, but the task has none")
        rates = zip(self.label_percent, self.trunk_lr or (), self.head_lr or (), strict=True)
        top1 = [self._top1(task, task.trainable, percent, trunk, head) for percent, trunk, head in rates]
        return dict(zip(self.metric_names(), top1, strict=True))

    def _top1(self, task: EvaluationTask, given: Trainable, percent: int, trunk_lr: float, head_lr: float) -> float:
        (rows,) = chosen_labels(task, percent)
        chosen = torch.from_numpy(rows)
        keys = ("fine tuning", task.dataset, percent, task.label_seed)
        devices = [given.device] if given.device.type == "cuda" else []
        with torch.random.fork_rng(devices):  # the head's weights, and whatever a backbone may draw in training
            trunk = given.backbone().requires_grad_()
            _check_finite(trunk)
            torch.manual_seed(stream_seed(*keys))
            head = nn.Linear(given.representation_dim, task.num_classes)
            network = nn.Sequential(trunk, head.to(given.device))
            groups = [
                {"params": [*trunk.parameters()], "lr": trunk_lr},
                {"params": [*head.parameters()], "lr": head_lr},
            ]
            optimizer = torch.optim.SGD(groups, momentum=self.momentum, weight_decay=self.weight_decay)
            labels = torch.from_numpy(task.labels_of(rows)).to(given.device)
            self._train(network, optimizer, given, chosen, labels, keys)
        return _accuracy(network, given.held_out, torch.from_numpy(task.held_out.labels.copy()), given)

    def _train(
        self, network: nn.Module, optimizer: torch.optim.Optimizer, given: Trainable, chosen: Tensor, labels: Tensor,
        keys: tuple[int | str, ...],
    ) -> None:  # fmt: skip
        initial = [group["lr"] for group in optimizer.param_groups]
        network.train()
        for epoch in range(self.epochs):
            for group, rate in zip(optimizer.param_groups, initial, strict=True):
                group["lr"] = rate * self._decay(epoch)
            for index, rows in enumerate(self._batches(len(chosen), keys, epoch)):
                images = given.train[chosen[rows]].to(given.device)
                view = given.crop(images, stream("views", *keys, epoch, index), self.crop_area)
                logits = network(view.contiguous(memory_format=torch.channels_last))
                optimizer.zero_grad(set_to_none=True)
                loss = functional.cross_entropy(logits, labels[rows.to(labels.device)])
                torch.autograd.backward([loss])
                optimizer.step()
                given.pause()

    def _batches(self, num_images: int, keys: tuple[int | str, ...], epoch: int) -> Iterator[Tensor]:
        order = torch.randperm(num_images, generator=stream("order", *keys, epoch))
        for index in range(max(1, num_images // self.batch_size)):
            yield order[index * self.batch_size : (index + 1) * self.batch_size]

    def _decay(self, epoch: int) -> float:
        """The share of the initial rates in an epoch, counted from 0."""
        if self.schedule == "cosine":
            return (1 + math.cos(math.pi * epoch / self.epochs)) / 2
        return 0.2 ** ((5 * epoch >= 3 * self.epochs) + (5 * epoch >= 4 * self.epochs))


def _check_finite(backbone: nn.Module) -> None:
    values: Mapping[str, Any] = backbone.state_dict()
    if bad := [name for name, value in values.items() if not torch.isfinite(value).all()]:
        raise ValueError(f"weights must be finite, got NaN or infinity in {bad[0]}")


@torch.inference_mode()
def _accuracy(network: nn.Module, images: Images, labels: Tensor, given: Trainable) -> float:
    """Share of clean images whose class has the largest logit, in percent."""
    network.eval()
    num_correct = 0
    for start in range(0, len(images), _JUDGED_AT_A_TIME):
        rows = slice(start, start + _JUDGED_AT_A_TIME)
        clean = to_float(images[rows].to(given.device)).contiguous(memory_format=torch.channels_last)
        logits = network(clean).cpu()
        num_correct += int(((logits.argmax(dim=1) == labels[rows]) & logits.isfinite().all(dim=1)).sum())
        given.pause()
    return 100 * num_correct / len(images)
