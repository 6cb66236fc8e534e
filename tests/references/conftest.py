"""What several reference tests need: projections with known defects, and the comparison with a transcription."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import special
from torch import Tensor

from study.criteria.base import Criterion, Views

_N, _D = 512, 128
Array = NDArray[np.float64]
Compare = Callable[[Criterion, Callable[[Array], float], Array], None]
CompareLoss = Callable[[Callable[[Tensor], Tensor], Callable[[Array], float], Array], None]


@pytest.fixture(scope="session")
def defects() -> Mapping[str, Tensor]:
    """Defect → projections, float64, shape (1, 512, 128); `ideal` is standard normal."""
    rng = np.random.default_rng(0)
    normal = rng.standard_normal((_N, _D))
    signs = rng.choice([-1.0, 1.0], (_N, _D))
    half_dead = normal * np.where(np.arange(_D) < _D // 2, 1.0, 1e-3)
    clusters = rng.standard_normal((100, _D))[rng.integers(0, 100, _N)]
    low_rank = rng.standard_normal((_N, 8)) @ rng.standard_normal((8, _D))
    shared = rng.standard_normal((_N, 1))
    shared = (shared - shared.mean()) / shared.std()
    laplace = rng.laplace(scale=np.sqrt(0.5), size=(_N, _D))
    uniform = rng.uniform(size=(_N, _D // 2))
    made = {
        "ideal": normal,
        "scale 0.5": 0.5 * normal,
        "scale 2": 2 * normal,
        "mean shift 1": normal + 1,
        "rank 8": low_rank / low_rank.std(axis=0),
        "equicorrelated": np.sqrt(0.5) * normal + np.sqrt(0.5) * shared,
        "Laplace": laplace,
        "bimodal": 0.95 * signs + np.sqrt(1 - 0.95**2) * normal,
        "half of the dims dead": half_dead,
        "100 tight clusters": clusters + 0.05 * normal,
        "dependent pairs": special.ndtri(np.concatenate([uniform, abs(2 * uniform - 1)], axis=1)),
    }
    return {name: torch.from_numpy(z)[None] for name, z in made.items()}


@pytest.fixture(scope="session")
def compare_loss() -> CompareLoss:
    """Assert that a function of a tensor and its gradient are those of a function of a NumPy array.

    The gradient is compared with central differences, along three random directions and at three coordinates.
    """

    def compare_loss(loss: Callable[[Tensor], Tensor], reference: Callable[[Array], float], z: Array) -> None:
        projections = torch.tensor(z, requires_grad=True)
        total = loss(projections)
        total.backward()  # type: ignore[no-untyped-call]
        assert float(total.detach()) == pytest.approx(reference(z), rel=1e-11, abs=1e-13)
        assert projections.grad is not None
        gradient = projections.grad.numpy()
        rng = np.random.default_rng(7)
        units = np.eye(z.size)[rng.choice(z.size, 3, replace=False)]
        step = 1e-5
        for direction in (*rng.standard_normal((3, *z.shape)), *units.reshape(3, *z.shape)):
            ahead, behind = (reference(z + sign * step * direction) for sign in (1, -1))
            expected, scale = (ahead - behind) / (2 * step), np.linalg.norm(gradient)
            assert np.sum(gradient * direction) == pytest.approx(expected, rel=1e-6, abs=1e-7 * scale)

    return compare_loss


@pytest.fixture(scope="session")
def compare(compare_loss: CompareLoss) -> Compare:
    """Assert that the total of a criterion and its gradient are those of a function of a NumPy array."""
    return lambda criterion, reference, z: compare_loss(lambda p: criterion(Views(p)).total, reference, z)
