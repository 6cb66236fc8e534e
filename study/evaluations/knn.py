"""Weighted nearest neighbours: does the representation place images near others of their class?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from study.evaluations.base import Evaluation, EvaluationTask

# Rows of the similarity matrix held at a time: 10 MB for a bank of 10,000 images.
_QUERIES_PER_CHUNK = 256


@dataclass(frozen=True)
class KNN(Evaluation):
    """Weighted kNN with cosine similarity; nothing is trained and the whole pool is the bank.

    The k most similar images of the bank vote for their class with weight exp(similarity / T): Wu et al.,
    "Unsupervised feature learning via non-parametric instance discrimination"
    (https://arxiv.org/abs/1805.01978), §3.4. T as there and in DINO's eval_knn.py
    (https://github.com/facebookresearch/dino), which also recommends k = 20.

    Ties do not depend on chance: at the k-th place the image that comes first in the bank votes; between
    classes with equal votes the lowest class wins. An all-zero feature vector has similarity 0 to everything.

    Attributes:
        num_neighbours: k, the number of images that vote; at most the size of the pool.
        temperature: T, in units of cosine similarity; small T makes the nearest image decide.
    """

    num_neighbours: int = 20
    temperature: float = 0.07

    def __post_init__(self) -> None:
        if not isinstance(self.num_neighbours, int) or self.num_neighbours < 1:
            raise ValueError(f"num_neighbours must be a whole number ≥ 1, got {self.num_neighbours!r}")
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"temperature must be finite and > 0, got {self.temperature!r}")

    def check_pool(self, num_images: int, num_classes: int) -> None:  # noqa: ARG002 - the interface
        """Raise ValueError when fewer images than `num_neighbours` can vote."""
        if num_images < self.num_neighbours:
            raise ValueError(
                f"num_neighbours must be at most the pool's size, got {self.num_neighbours} for {num_images} images"
            )

    def metric_names(self) -> tuple[str, ...]:
        """`top1` alone."""
        return ("top1",)

    def __call__(self, task: EvaluationTask) -> Mapping[str, float]:
        """Return top-1 accuracy on the held-out images in percent.

        Raises:
            ValueError: the pool holds fewer images than `num_neighbours`, or features are not finite.
        """
        num_images = len(task.train.labels)
        self.check_pool(num_images, task.num_classes)
        bank, queries = _embeddings(task)
        bank_labels, labels = torch.tensor(task.train.labels), torch.tensor(task.held_out.labels)
        # One buffer for all chunks: touching fresh memory would cost as much as the product itself.
        buffer = torch.empty(_QUERIES_PER_CHUNK, num_images)
        num_correct = 0
        for start in range(0, len(labels), _QUERIES_PER_CHUNK):
            chunk = queries[start : start + _QUERIES_PER_CHUNK]
            similarities = torch.mm(chunk, bank.T, out=buffer[: len(chunk)])
            nearest, neighbours = _nearest(similarities, self.num_neighbours)
            votes = self._votes(nearest, bank_labels[neighbours], task.num_classes)
            num_correct += int((votes.argmax(dim=1) == labels[start : start + len(chunk)]).sum())
        return {"top1": 100 * num_correct / len(labels)}

    def _votes(self, similarities: Tensor, labels: Tensor, num_classes: int) -> Tensor:
        """Votes per class, shape (queries, num_classes), of neighbours of shape (queries, k), nearest first.

        Relative to the nearest neighbour's vote, so that no temperature overflows.
        """
        weights = ((similarities - similarities[:, :1]).double() / self.temperature).exp()
        return weights.new_zeros(len(weights), num_classes).scatter_add_(1, labels, weights)


def _embeddings(task: EvaluationTask) -> tuple[Tensor, Tensor]:
    """Pool and held-out features on the unit sphere, float32, shape (num_images, representation_dim)."""
    bank, queries = (
        functional.normalize(torch.tensor(split.features, dtype=torch.float32), dim=1)
        for split in (task.train, task.held_out)
    )
    if not (bank.isfinite().all() and queries.isfinite().all()):
        raise ValueError("features must be finite, got NaN or infinity")
    return bank, queries


def _nearest(similarities: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Similarity and bank index of the k most similar images, each of shape (queries, k), the nearest first.

    `topk` leaves ties open: where the k-th and the next are equal, the first of the bank are taken.
    """
    values, indices = similarities.topk(min(k + 1, similarities.shape[1]), dim=1)
    for row in (values[:, k - 1 : k] == values[:, k:]).any(dim=1).nonzero().flatten().tolist():
        edge = values[row, k - 1]
        num_above = int((values[row] > edge).sum())
        indices[row, num_above:k] = (similarities[row] == edge).nonzero().flatten()[: k - num_above]
    return values[:, :k], indices[:, :k]
