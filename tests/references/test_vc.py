"""VC against Bardes et al. 2022, eq. 1 and 4 (https://arxiv.org/abs/2105.04906), as E2MC's authors use them.

Averaging over views and the targets follow main_swav_vc_ft.py of https://github.com/deepc94/e2mc, commit 875d8de.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from study.criteria.base import Views
from study.criteria.vc import VC

Array = NDArray[np.float64]


def _reference(z: Array, criterion: VC) -> tuple[float, float]:
    """Standard deviation and covariance terms, one dimension and one pair at a time."""
    num_views, num_rows, dim = z.shape
    std = covariance = 0.0
    for view in z:
        on_sphere = criterion.domain == "sphere"
        x = np.array([row / math.sqrt(sum(row**2)) for row in view]) if on_sphere else view
        target = dim**-0.5 if on_sphere else 1.0
        centred = x - x.mean(axis=0)
        for i in range(dim):
            variance = sum(centred[:, i] ** 2) / (num_rows - 1)
            std += max(0.0, target - math.sqrt(variance + criterion.epsilon)) / dim / num_views
            for j in range(dim):
                if i != j:
                    covariance += (sum(centred[:, i] * centred[:, j]) / (num_rows - 1)) ** 2 / dim
    return std, covariance


def _terms(z: Tensor, **settings: Any) -> dict[str, float]:
    return {name: float(value) for name, value in VC(**settings)(Views(z)).terms.items()}


@pytest.mark.parametrize("domain", ["sphere", "projector"])
@pytest.mark.parametrize("shape", [(2, 20, 5), (1, 6, 9), (3, 2, 4)], ids=str)
@pytest.mark.parametrize("epsilon", [1e-4, 1e-2])
def test_value_and_gradient(
    compare: Callable[..., None], domain: Literal["sphere", "projector"], shape: tuple[int, int, int], epsilon: float
) -> None:
    z = np.random.default_rng(0).standard_normal(shape) * np.linspace(0.3, 1.7, shape[-1]) + 0.4
    criterion = VC(std_weight=0.7, covariance_weight=2.5, domain=domain, epsilon=epsilon)

    def total(z: Array) -> float:
        std, covariance = _reference(z, criterion)
        return 0.7 * std + 2.5 * covariance

    compare(criterion, total, z)
    terms = _terms(torch.from_numpy(z), domain=domain, epsilon=epsilon)
    assert (terms["std"], terms["covariance"]) == pytest.approx(_reference(z, criterion), rel=1e-11)


def test_weight_zero_drops_the_gradient_of_one_term() -> None:
    z = torch.randn(2, 50, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 0.8
    gradients = []
    for settings in ({}, *VC.components.values()):
        projections = z.clone().requires_grad_()
        VC(**{"std_weight": 2.0, "covariance_weight": 3.0, "domain": "projector", **settings})(
            Views(projections)
        ).total.backward()  # type: ignore[no-untyped-call]
        gradients.append(projections.grad)
    full, without_std, without_covariance = gradients
    assert full is not None and without_std is not None and without_covariance is not None
    torch.testing.assert_close(without_std + without_covariance, full)
    assert without_std.norm() > 0 and without_covariance.norm() > 0


def test_hinge_rests_where_dimensions_are_wide_enough() -> None:
    z = torch.randn(1, 400, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    z = (z - z.mean(dim=1)) / z.std(dim=1)
    assert _terms(z, domain="projector")["std"] == 0
    assert _terms(0.5 * z, domain="projector")["std"] == pytest.approx(1 - math.sqrt(0.25 + 1e-4))
    constant = torch.ones_like(z)
    assert _terms(constant, domain="projector")["std"] == pytest.approx(1 - 1e-2)
    assert _terms(constant, domain="sphere")["std"] == pytest.approx(0.5 - 1e-2)


def test_epsilon_satisfies_the_hinge_on_the_sphere_of_many_dimensions() -> None:
    """√(0 + 1e-4) = 0.01 exceeds the target 1/√D as soon as D > 10⁴, even for constant embeddings."""
    constant = torch.ones(1, 3, 10_100, dtype=torch.float64)
    assert _terms(constant, domain="sphere")["std"] == 0
    assert _terms(constant, domain="sphere", epsilon=1e-8)["std"] > 0


def test_independent_dimensions_keep_the_noise_floor_of_the_batch() -> None:
    """E[R] = (D-1) / (N-1) per view for independent dimensions of unit variance, added up over views."""
    z = torch.from_numpy(np.random.default_rng(4).standard_normal((4, 512, 128)))
    assert _terms(z, domain="projector")["covariance"] == pytest.approx(4 * 127 / 511, rel=0.03)


@pytest.mark.parametrize(
    ("defect", "std", "covariance"),
    [
        ("ideal", 0.0135, 0.252),
        ("scale 0.5", 0.50, 0.015),
        ("scale 2", 0.0, 3.88),
        ("mean shift 1", 0.013, 0.25),
        ("rank 8", 0.0, 15.8),
        ("equicorrelated", 0.013, 30.7),
        ("Laplace", 0.023, 0.25),
        ("bimodal", 0.005, 0.25),
        ("half of the dims dead", 0.50, 0.06),
    ],
)
def test_known_defects(defects: Mapping[str, Tensor], defect: str, std: float, covariance: float) -> None:
    """Small scales cost S and dependence costs R; large scales cost R alone, shift and marginal shape nothing."""
    terms = _terms(defects[defect], domain="projector")
    assert terms["std"] == pytest.approx(std, rel=0.05, abs=0.006)
    assert terms["covariance"] == pytest.approx(covariance, rel=0.1)


@pytest.mark.parametrize("defect", ["mean shift 1", "half of the dims dead", "100 tight clusters"])
def test_the_sphere_sees_shift_and_lost_dimensions(defects: Mapping[str, Tensor], defect: str) -> None:
    assert _terms(defects[defect])["std"] > 2 * _terms(defects["ideal"])["std"]


@pytest.mark.parametrize("defect", ["rank 8", "equicorrelated"])
def test_the_sphere_sees_dependence(defects: Mapping[str, Tensor], defect: str) -> None:
    assert _terms(defects[defect])["covariance"] > 20 * _terms(defects["ideal"])["covariance"]


def test_blind_spots(defects: Mapping[str, Tensor]) -> None:
    """The sphere is blind to scale, the projector to a common shift."""
    on_sphere = [_terms(defects[name]) for name in ("ideal", "scale 0.5", "scale 2")]
    assert on_sphere[1] == pytest.approx(on_sphere[0], rel=1e-9)
    assert on_sphere[2] == pytest.approx(on_sphere[0], rel=1e-9)
    plain, shifted = (_terms(defects[name], domain="projector") for name in ("ideal", "mean shift 1"))
    assert shifted == pytest.approx(plain, rel=1e-9)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"std_weight": -1.0}, r"std_weight must be finite and >= 0.*=-1"),
        ({"covariance_weight": math.nan}, r"covariance_weight must be finite and >= 0.*=nan"),
        ({"epsilon": 0.0}, r"epsilon must be finite and > 0.*=0"),
        ({"domain": "cube"}, r"domain must be one of sphere, projector, but got domain='cube'"),
    ],
)
def test_refused_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VC(**settings)
