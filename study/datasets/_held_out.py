"""Which images of an official training set are held out for validation, and which are the pool."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from study.tensors.streams import stream


def require_counts(num_ssl_images: int, num_validation_images: int, num_train: int | None = None) -> None:
    """Raise ValueError unless both are positive and, where the training set's size is known, fit into it."""
    for name, count in (("num_ssl_images", num_ssl_images), ("num_validation_images", num_validation_images)):
        if count < 1:
            raise ValueError(f"{name} must be >= 1, but got {name}={count}")
    if num_train is not None and (total := num_ssl_images + num_validation_images) > num_train:
        raise ValueError(
            f"num_ssl_images + num_validation_images <= {num_train} must hold, but got "
            f"{num_ssl_images} + {num_validation_images} = {total}"
        )


def shuffled(dataset: str, num_images: int, split_seed: int) -> Tensor:
    """A permutation that belongs to a dataset and a seed, int64, shape (num_images,)."""
    return torch.randperm(num_images, generator=stream(dataset, "split", split_seed))


def in_turns(dataset: str, labels: NDArray[np.int64], split_seed: int, is_last: NDArray[np.bool_]) -> NDArray[np.int64]:
    """An order whose every beginning has the classes in equal parts, as long as their images last.

    The images are shuffled; then each class hands out one per round. Those with `is_last` come after all others.

    Returns:
        Indices, shape (num_images,).
    """
    order: NDArray[np.int64] = shuffled(dataset, len(labels), split_seed).numpy()
    by_class = order[np.lexsort((np.arange(len(order)), labels[order], is_last[order]))]
    group = labels[by_class] + is_last[by_class] * (labels.max(initial=0) + 1)
    starts = np.flatnonzero(np.diff(group, prepend=-1))
    rounds = np.arange(len(group)) - np.repeat(starts, np.diff(starts, append=len(group)))
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    return by_class[np.lexsort((rank[by_class], rounds, is_last[by_class]))]
