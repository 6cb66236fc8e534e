"""Statistics of projections against closed forms, NumPy and scikit-learn."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from study.evaluations.base import EvaluationTask, Representations
from study.evaluations.embedding_statistics import EmbeddingStatistics

Floats = NDArray[np.floating[Any]]


def task_of(projections: Floats | None) -> EvaluationTask:
    none = Representations(np.zeros((1, 1), dtype=np.float32), np.zeros(1, dtype=np.int64))
    given = None if projections is None else np.asarray(projections, dtype=np.float32)
    return EvaluationTask(none, none, 2, "synthetic", "1", projections=given)


def normal(num_images: int = 4000, dim: int = 6, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).normal(size=(num_images, dim))


@pytest.mark.parametrize("spread", [0.3, 0.7, 1.0, 1.2])
def test_entropy_is_minus_the_divergence_from_a_standard_normal(spread: float) -> None:
    """h(Φ(z)) = -KL(N(0, s²) ‖ N(0, 1)) = ln s - (s² - 1)/2: the density of u is the ratio of the two."""
    found = EmbeddingStatistics()(task_of(spread * normal(20_000)))
    assert found["entropy_mean"] == pytest.approx(math.log(spread) - (spread**2 - 1) / 2, abs=0.03)
    assert found["entropy_min"] <= found["entropy_mean"]


def test_correlations_are_numpys() -> None:
    mixing = np.random.default_rng(1).normal(size=(6, 6))
    z = (normal() @ mixing + 3).astype(np.float32)
    expected = np.corrcoef(z.astype(np.float64), rowvar=False)
    evaluation = EmbeddingStatistics(num_dims=4)
    off = expected[~np.eye(6, dtype=bool)]
    assert evaluation(task_of(z))["correlation_rms"] == pytest.approx(np.sqrt((off**2).mean()), abs=1e-9)
    assert evaluation.details(task_of(z))["correlation"] == pytest.approx(expected[:4, :4], abs=0.0005001)


def test_effective_rank_is_exp_of_the_entropy_of_the_singular_values() -> None:
    z = normal(50, 8) * np.geomspace(1, 0.01, 8)
    for rows in (z, z[:5]):  # more images than dimensions, and fewer
        given = rows.astype(np.float32).astype(np.float64)
        singular = np.linalg.svd(given - given.mean(axis=0), compute_uv=False)
        expected = math.exp(stats.entropy(singular))
        assert EmbeddingStatistics()(task_of(rows))["effective_rank"] == pytest.approx(expected, rel=1e-5)


def test_effective_rank_counts_equally_strong_directions() -> None:
    rotation = np.linalg.qr(normal(7, 7))[0]
    cube = np.array(np.meshgrid(*[[-1.0, 1.0]] * 3)).reshape(3, -1).T
    assert EmbeddingStatistics()(task_of(cube @ rotation[:3]))["effective_rank"] == pytest.approx(3, rel=1e-3)


def test_density_is_numpys_histogram_of_the_mapped_projections() -> None:
    z = normal(500, 3).astype(np.float32)
    details = EmbeddingStatistics(num_bins=10).details(task_of(z))
    histograms = [np.histogram(stats.norm.cdf(column), bins=10, range=(0, 1), density=True)[0] for column in z.T]
    for name, q in (("low", 0.1), ("median", 0.5), ("high", 0.9)):
        assert details["density"][name] == pytest.approx(np.quantile(histograms, q, axis=0))
    assert (details["num_images"], details["dim"]) == (500, 3)


def test_saturated_projections_lie_in_the_outermost_bins() -> None:
    density = EmbeddingStatistics(num_bins=4).details(task_of(np.array([[-50.0], [50.0]])))["density"]["median"]
    assert density == pytest.approx([2, 0, 0, 2])


def test_a_constant_dimension_correlates_with_nothing_and_has_no_rank() -> None:
    z = np.column_stack([normal(100, 1)[:, 0], np.full(100, 0.1)])
    found = EmbeddingStatistics()(task_of(z))
    assert (found["correlation_rms"], found["effective_rank"]) == (0.0, pytest.approx(1))
    assert found["entropy_min"] == pytest.approx(math.log(1e-7))


def test_without_projections_it_says_so() -> None:
    with pytest.raises(ValueError, match="projections of the held-out images are needed"):
        EmbeddingStatistics()(task_of(None))


@pytest.mark.parametrize("fields", [{"num_bins": 0}, {"num_dims": 0}, {"num_dims": 5000}, {"num_bins": 2.5}])
def test_settings_out_of_range_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(fields))} must be a whole number from 1 to 1024"):
        EmbeddingStatistics(**fields)
