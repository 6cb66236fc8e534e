"""Which images of the labelled pool a few-label evaluation may see."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from study.evaluations.base import EvaluationTask


def chosen_labels(task: EvaluationTask, percent: int, num_draws: int = 1) -> Sequence[NDArray[np.int64]]:
    """Return the indices into the pool of every choice of `percent` of the labels: draws, or the one that is published.

    Raises:
        ValueError: see `draw_labels`.
    """
    if (listed := task.label_lists.get(percent)) is not None:
        return [listed]
    return [
        draw_labels(task.train.labels, percent, dataset=task.dataset, label_seed=task.label_seed, draw=draw)
        for draw in range(num_draws)
    ]


def draw_labels(
    labels: NDArray[np.int64], percent: int, *, dataset: str, label_seed: str, draw: int
) -> NDArray[np.int64]:
    """Draw a class-balanced subset of a labelled pool.

    A pure function of its arguments: every arm gets the same labels, every unit gets new ones, so that
    the spread over units contains the luck of the draw.

    The pool is shuffled once; each class then hands out its images in that order, one per round, until the
    subset is full. Class counts therefore differ by at most one while the classes last, and a class that runs
    out leaves its share to the others.

    Args:
        labels: class of every image of the pool, shape (num_images,).
        percent: size of the subset in percent of the pool, in (0, 100]; rounded to whole images.
        dataset: the dataset's name.
        label_seed: see `EvaluationTask.label_seed`.
        draw: number of the draw, from 0.

    Returns:
        Increasing indices into the pool, shape (subset_size,); at 100 % the whole pool.

    Raises:
        ValueError: `percent` is out of range, or the subset is too small for one label per class.
    """
    if not 0 < percent <= 100:
        raise ValueError(f"percent must be in (0, 100], got {percent}")
    num_images = len(labels)
    size = subset_size(num_images, percent, len(np.unique(labels)))
    if percent == 100:
        return np.arange(num_images, dtype=np.int64)
    shuffled = _generator(dataset, percent, label_seed, draw).permutation(num_images)
    rounds = _occurrence(labels[shuffled])
    chosen = shuffled[np.argsort(rounds, kind="stable")[:size]]
    return np.sort(chosen).astype(np.int64)


def require_percents(percents: Sequence[object]) -> None:
    """Raise ValueError unless these are distinct label fractions, in whole percent."""
    if not percents or len(set(percents)) < len(percents):
        raise ValueError(f"label_percent must hold distinct percentages, at least one, got {percents}")
    if not all(isinstance(percent, int) and 0 < percent <= 100 for percent in percents):
        raise ValueError(f"label_percent must hold whole numbers in (0, 100], got {percents}")


def subset_size(num_images: int, percent: int, num_classes: int) -> int:
    """How many labels a subset has; ValueError when that is less than one per class."""
    size = round(num_images * percent / 100)
    if size < num_classes:
        raise ValueError(
            f"{percent} % of a pool of {num_images} images is {size} labels, "
            f"fewer than its {num_classes} classes; raise the percentage or enlarge the pool"
        )
    return size


def _generator(dataset: str, percent: int, label_seed: str, draw: int) -> np.random.Generator:
    key = f"label draw/{dataset}/{percent}/{label_seed}/{draw}"
    return np.random.default_rng(int.from_bytes(sha256(key.encode()).digest(), "big"))


def _occurrence(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many earlier entries have the same label, shape (num_images,): [3, 5, 3, 3] → [0, 0, 1, 2]."""
    order = np.argsort(labels, kind="stable")
    _, starts, counts = np.unique(labels[order], return_index=True, return_counts=True)
    occurrence = np.empty(len(labels), dtype=np.int64)
    occurrence[order] = np.arange(len(labels)) - np.repeat(starts, counts)
    return occurrence
