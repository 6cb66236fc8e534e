"""What is reported of projections, against NumPy and SciPy."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import special

from study.training.diagnostics import describe_projections

Array = NDArray[np.float64]
NUM_ROWS, DIM, NUM_DRAWS = 256, 48, 40


def described(z: Array) -> dict[str, float]:
    """Of one view."""
    return {name: float(value) for name, value in describe_projections(torch.from_numpy(z)[None]).items()}


def draws(distort: Callable[[Array], Array] = lambda z: z) -> dict[str, Array]:
    """Diagnostics of several draws of standard normal projections, after `distort`."""
    rng = np.random.default_rng(0)
    found = [described(distort(rng.standard_normal((NUM_ROWS, DIM)))) for _ in range(NUM_DRAWS)]
    return {name: np.array([values[name] for values in found]) for name in found[0]}


def standard_error(values: Array) -> float:
    return float(values.std(ddof=1)) / math.sqrt(len(values))


@pytest.mark.parametrize("shape", [(60, 7), (20, 50), (4, 1), (2, 3)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_equals_numpy(shape: tuple[int, int], dtype: torch.dtype) -> None:
    rng = np.random.default_rng(1)
    drawn = rng.standard_normal(shape) * rng.uniform(0.2, 3, shape[1]) + rng.uniform(-1, 1, shape[1])
    projections = torch.from_numpy(np.stack([drawn, rng.standard_normal(shape)])).to(dtype)
    z = projections[0].double().numpy()
    num_rows, dim = shape

    u, m = special.ndtr(z), round(math.sqrt(num_rows))
    ordered = np.sort(u, axis=0)
    entropies = np.log((num_rows + 1) / m * (ordered[m:] - ordered[:-m]) + 1e-7).mean(axis=0)
    covariance = np.atleast_2d(np.cov(u, rowvar=False))
    outside, variances = ~np.eye(dim, dtype=bool), np.diag(covariance)
    products = np.outer(variances, variances)[outside].sum() / (num_rows - 1)
    std = z.std(axis=0, ddof=1)
    expected = {
        "entropy_min": entropies.min(), "entropy_mean": entropies.mean(), "entropy_max": entropies.max(),
        "covariance_excess": ((covariance[outside] ** 2).sum() - products) / dim,
        "std_min": std.min(), "std_mean": std.mean(), "std_max": std.max(),
        "saturated": (abs(z) > 3.3).mean(),
    }  # fmt: skip
    found = {name: float(value) for name, value in describe_projections(projections).items()}
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_scalars_without_gradient_and_projections_left_alone() -> None:
    z = torch.randn(2, 30, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    before = z.detach().clone()
    for name, value in describe_projections(z).items():
        assert value.shape == () and value.dtype == torch.float32 and not value.requires_grad, name
    assert torch.equal(z, before)


class TestIdealProjections:
    """Standard normal and independent."""

    def test_entropy_is_that_of_uniform_samples(self) -> None:
        """log((N+1)/m) + ψ(m) - ψ(N+1) on average, at every dimension the same."""
        found, m = draws(), round(math.sqrt(NUM_ROWS))
        expected = math.log((NUM_ROWS + 1) / m) + special.digamma(m) - special.digamma(NUM_ROWS + 1)
        assert found["entropy_mean"].mean() == pytest.approx(expected, abs=4 * standard_error(found["entropy_mean"]))
        assert found["entropy_min"].min() > -0.15 and found["entropy_max"].max() < 0.06

    def test_nothing_covaries(self) -> None:
        excess = draws()["covariance_excess"]
        assert standard_error(excess) < 2e-5
        assert excess.mean() == pytest.approx(0, abs=4 * standard_error(excess))

    def test_deviations_are_one_and_few_entries_saturate(self) -> None:
        found = draws()
        assert found["std_mean"].mean() == pytest.approx(1, abs=4 * standard_error(found["std_mean"]) + 1 / NUM_ROWS)
        share, entries = 2 * special.ndtr(-3.3), NUM_ROWS * DIM * NUM_DRAWS
        assert found["saturated"].mean() == pytest.approx(share, abs=4 * math.sqrt(share / entries))


@pytest.mark.parametrize("scale", [0.3, 2.0, 5.0])
def test_independent_dimensions_of_any_scale_do_not_covary(scale: float) -> None:
    """The expectation that is subtracted follows the observed variances; entropy sees the scale."""
    found = draws(lambda z: z * scale * np.linspace(0.5, 1.5, DIM))
    excess = found["covariance_excess"]
    assert excess.mean() == pytest.approx(0, abs=4 * standard_error(excess))
    assert found["entropy_mean"].max() < -0.3


def test_lost_rank_is_seen_as_covariance_and_not_as_entropy() -> None:
    mixture = np.random.default_rng(2).standard_normal((4, DIM))
    mixture /= np.linalg.norm(mixture, axis=0)
    ideal, collapsed = draws(), draws(lambda z: z[:, :4] @ mixture)
    assert collapsed["covariance_excess"].min() > 0.03
    assert collapsed["covariance_excess"].min() > 50 * abs(ideal["covariance_excess"]).max()
    assert collapsed["entropy_mean"].mean() == pytest.approx(ideal["entropy_mean"].mean(), abs=0.01)


def test_a_dead_dimension_is_the_least() -> None:
    found = draws(lambda z: z * (np.arange(DIM) > 0))
    assert found["entropy_min"].max() == pytest.approx(math.log(1e-7), rel=1e-6)
    assert found["std_min"].max() < 1e-6 and found["std_max"].min() > 0.9


def test_saturated_entries_are_counted_on_both_sides() -> None:
    z = np.zeros((10, 5))
    z[0], z[1], z[2] = 3.31, -3.31, 3.29
    assert described(z)["saturated"] == pytest.approx(0.2)


def test_wide_projections_are_judged_by_their_first_dimensions() -> None:
    z = torch.randn(2, 16, 1030, generator=torch.Generator().manual_seed(0))
    z[..., 1024:] = 100
    assert describe_projections(z)["std_min"] > 0
    torch.testing.assert_close(describe_projections(z), describe_projections(z[..., :1024]))
