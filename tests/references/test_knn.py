"""Weighted kNN against the formula written out here, and against scikit-learn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.neighbors import KNeighborsClassifier  # type: ignore[import-untyped]

from study.evaluations.base import EvaluationTask, Representations
from study.evaluations.knn import KNN

Floats = NDArray[np.float64]


def make_task(
    num_train: int = 700, num_held_out: int = 600, num_classes: int = 5, dim: int = 12, seed: int = 0
) -> EvaluationTask:
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(num_classes, dim))

    def split(num_images: int) -> Representations:
        labels = generator.permutation(np.arange(num_images) % num_classes)
        features = centres[labels] + 1.5 * generator.normal(size=(num_images, dim))
        return Representations(features.astype(np.float32), labels)

    return EvaluationTask(split(num_train), split(num_held_out), num_classes, "synthetic", label_seed="3")


def task_of(bank: list[list[float]], bank_labels: list[int], query: list[float], label: int) -> EvaluationTask:
    return EvaluationTask(
        Representations(np.array(bank, dtype=np.float32), np.array(bank_labels)),
        Representations(np.array([query], dtype=np.float32), np.array([label])),
        num_classes=max(bank_labels) + 1,
        dataset="synthetic",
        label_seed="3",
    )


def predicted(bank: list[list[float]], bank_labels: list[int], query: list[float], knn: KNN) -> int:
    hits = [knn(task_of(bank, bank_labels, query, c))["top1"] == 100.0 for c in range(max(bank_labels) + 1)]
    assert sum(hits) == 1
    return hits.index(True)


@pytest.mark.parametrize(("k", "temperature"), [(1, 0.07), (20, 0.07), (20, 1.0), (200, 0.1), (700, 0.5)])
def test_equals_the_formula_image_by_image(k: int, temperature: float) -> None:
    """Largest Σ over the k nearest of exp(cosine / T) among the classes; Wu et al. (2018), §3.4."""
    task = make_task()
    bank, queries = task.train.features.astype(np.float64), task.held_out.features.astype(np.float64)
    num_correct = 0
    for query, label in zip(queries, task.held_out.labels, strict=True):
        cosine = bank @ query / (np.linalg.norm(bank, axis=1) * np.linalg.norm(query))
        votes = np.zeros(task.num_classes)
        for image in np.argsort(-cosine)[:k]:
            votes[task.train.labels[image]] += np.exp(cosine[image] / temperature)
        num_correct += int(votes.argmax() == label)
    top1 = KNN(k, temperature)(task)["top1"]
    assert top1 == pytest.approx(100 * num_correct / len(queries), abs=1e-9)
    assert 30 < top1 < 99, "the task must be neither hopeless nor trivial"


@pytest.mark.parametrize("k", [5, 20])
def test_agrees_with_scikit_learn(k: int) -> None:
    task = make_task(seed=1)

    def weights(cosine_distances: Floats) -> Floats:
        return np.exp((1 - cosine_distances) / 0.07)

    outside = KNeighborsClassifier(k, metric="cosine", algorithm="brute", weights=weights)
    outside.fit(task.train.features.astype(np.float64), task.train.labels)
    expected = 100 * outside.score(task.held_out.features.astype(np.float64), task.held_out.labels)
    assert KNN(k, 0.07)(task)["top1"] == pytest.approx(expected, abs=1e-9)


def test_length_of_the_features_does_not_matter() -> None:
    task = make_task()
    lengths = np.float32(2.0) ** np.random.default_rng(0).integers(-9, 9, size=(700, 1)).astype(np.float32)
    stretched = replace(task, train=replace(task.train, features=task.train.features * lengths))
    assert KNN()(stretched) == KNN()(task)


def test_near_neighbour_outvotes_far_ones_at_low_temperature_only() -> None:
    bank, labels, query = [[1.0, 0.1], [1.0, 1.0], [1.0, 1.1]], [0, 1, 1], [1.0, 0.0]
    assert predicted(bank, labels, query, KNN(3, 0.07)) == 0
    assert predicted(bank, labels, query, KNN(3, 100.0)) == 1


def test_tiny_temperature_does_not_overflow() -> None:
    bank, labels = [[1.0, 0.1], [1.0, 1.0], [1.0, 1.1]], [1, 0, 0]
    assert predicted(bank, labels, [1.0, 0.0], KNN(3, 1e-6)) == 1


def test_first_of_the_bank_wins_the_last_place() -> None:
    twin = [0.0, 1.0]
    bank = [[1.0, 0.0], *[twin] * 50]
    for first in (0, 1, 2):
        labels = [3, first, *[(first + 1) % 3] * 49]
        assert predicted(bank, labels, twin, KNN(1)) == first


def test_lowest_class_wins_equal_votes() -> None:
    assert predicted([[1.0, 0.0], [1.0, 0.0]], [1, 0], [1.0, 0.0], KNN(2)) == 0


def test_collapsed_representation_gives_one_answer_for_all() -> None:
    task = make_task()
    blank = replace(
        task,
        train=replace(task.train, features=np.ones_like(task.train.features)),
        held_out=replace(task.held_out, features=np.ones_like(task.held_out.features)),
    )
    assert KNN()(blank) == {"top1": 20.0}


def test_zero_vectors_are_allowed() -> None:
    task = make_task()
    features = task.train.features.copy()
    features[::2] = 0
    assert KNN()(replace(task, train=replace(task.train, features=features)))["top1"] > 30


def test_pool_smaller_than_the_neighbourhood_is_refused() -> None:
    with pytest.raises(ValueError, match="num_neighbours must be at most the pool's size, got 20 for 19 images"):
        KNN()(make_task(num_train=19))
    assert KNN()(make_task(num_train=20))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_not_finite_are_refused(value: float) -> None:
    task = make_task()
    features = task.held_out.features.copy()
    features[0, 0] = value
    with pytest.raises(ValueError, match="features must be finite, got NaN or infinity"):
        KNN()(replace(task, held_out=replace(task.held_out, features=features)))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_neighbours": 0}, "num_neighbours must be a whole number ≥ 1, got 0"),
        ({"num_neighbours": 2.5}, "num_neighbours must be a whole number ≥ 1, got 2.5"),
        ({"temperature": 0.0}, "temperature must be finite and > 0, got 0.0"),
        ({"temperature": float("inf")}, "temperature must be finite and > 0, got inf"),
    ],
)
def test_impossible_fields_are_refused(fields: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        KNN(**fields)  # type: ignore[arg-type]
