"""What is equal across arms with equal seeds, so that their differences are paired; and where that is looked at.

The training loop takes the order of the images and the streams that their augmentation is drawn from from here. That
these are equal is true by construction, so their hashes, `seed_hashes`, prove nothing of what a training did: they are
kept to be compared with runs of earlier code, which had no others. What a training saw is in `study.training.seen`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from study.tensors.streams import stream, stream_seed

Keys = tuple[str, ...]


def stream_keys(training: Mapping[str, Any]) -> Keys:
    """What all random streams of a training belong to: its stage and its seeds, never its arm."""
    return (training["stage"], *(f"{name}={seed}" for name, seed in sorted(training["seeds"].items())))


def epoch_order(keys: Keys, epoch: int, num_images: int) -> Tensor:
    """The order of the images in an epoch: int64, shape (num_images,)."""
    return torch.randperm(num_images, generator=stream("order", *keys, epoch))


def view_keys(keys: Keys, epoch: int, index: int, view: int) -> tuple[int | str, ...]:
    """The keys of the stream that one view of one batch is drawn from."""
    return ("augmentation", *keys, epoch, index, view)


def has_hashed_views(index: int, steps_per_epoch: int) -> bool:
    """Whether the views of a step are hashed: those of the first and the last step of every epoch.

    The first one of a training differs where an augmentation draws from something else than the seeds; the last one
    where what it draws from has been moved by what came between, e.g. by a criterion.

    Args:
        index: of the step within its epoch, from 0.
        steps_per_epoch: how many there are.
    """
    return index in (0, steps_per_epoch - 1)


def seed_hashes(
    training: Mapping[str, Any], *, num_images: int, steps_per_epoch: int, num_views: int
) -> dict[str, str]:
    """Return sha256 (hex) of the `order` of all epochs and of the seeds of all `augmentation` streams."""
    keys = stream_keys(training)
    order, augmentation = hashlib.sha256(), hashlib.sha256()
    for epoch in range(training["epochs"]):
        order.update(epoch_order(keys, epoch, num_images).numpy().astype("<i8").tobytes())
        for index in range(steps_per_epoch):
            for view in range(num_views):
                augmentation.update(stream_seed(*view_keys(keys, epoch, index, view)).to_bytes(8, "little"))
    return {"order": order.hexdigest(), "augmentation": augmentation.hexdigest()}
