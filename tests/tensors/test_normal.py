from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import special

from study.tensors.normal import normal_cdf


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-7), (torch.float64, 1e-16)], ids=str)
def test_value_and_slope(dtype: torch.dtype, tolerance: float) -> None:
    """Against SciPy's Φ and the normal density."""
    z = torch.linspace(-9, 9, 1001, dtype=dtype).reshape(7, 11, 13).requires_grad_()
    weights = torch.linspace(-2, 2, 1001, dtype=dtype).reshape(7, 11, 13)
    cdf = normal_cdf(z)
    (cdf * weights).sum().backward()  # type: ignore[no-untyped-call]
    assert z.grad is not None and cdf.dtype == z.grad.dtype == dtype
    points = z.detach().double().numpy()
    np.testing.assert_allclose(cdf.detach().numpy(), special.ndtr(points), rtol=0, atol=2 * tolerance)
    density = np.exp(-(points**2) / 2) / np.sqrt(2 * np.pi)
    np.testing.assert_allclose(z.grad.numpy(), density * weights.numpy(), rtol=100 * tolerance, atol=tolerance)


def test_gradient() -> None:
    z = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(normal_cdf, z)


def test_the_argument_is_left_alone() -> None:
    z = torch.linspace(-3, 3, 7)
    normal_cdf(z)
    assert torch.equal(z, torch.linspace(-3, 3, 7))


def test_infinity_is_saturated() -> None:
    z = torch.tensor([-torch.inf, torch.inf], requires_grad=True)
    cdf = normal_cdf(z)
    cdf.sum().backward()  # type: ignore[no-untyped-call]
    assert cdf.tolist() == [0, 1]
    assert z.grad is not None and z.grad.tolist() == [0, 0]
