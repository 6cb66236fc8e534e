"""Synthetic projections with known defects, N = 512 rows and D = 128 dimensions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor

_N, _D = 512, 128


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
    made = {
        "ideal": normal,
        "scale 0.5": 0.5 * normal,
        "scale 2": 2 * normal,
        "mean shift 1": normal + 1,
        "rank 8": low_rank / low_rank.std(axis=0),
        "equicorrelated": np.sqrt(0.5) * normal + np.sqrt(0.5) * shared,
        "Laplace": rng.laplace(scale=np.sqrt(0.5), size=(_N, _D)),
        "bimodal": 0.95 * signs + np.sqrt(1 - 0.95**2) * normal,
        "half of the dims dead": half_dead,
        "100 tight clusters": clusters + 0.05 * normal,
    }
    return {name: torch.from_numpy(z)[None] for name, z in made.items()}
