"""Properties of the estimator; tests/references/test_e2mc.py compares it with the written-out formula."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from study.tensors.spacings import default_spacing, spacing_entropy


def _samples(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize(("num_samples", "spacing"), [(2, 1), (144, 12), (250, 16), (256, 16), (512, 23)])
def test_default_spacing_is_the_rounded_root(num_samples: int, spacing: int) -> None:
    assert default_spacing(num_samples) == spacing


@pytest.mark.parametrize("spacing", [1, 7, 49])
def test_equispaced_samples_are_exact(spacing: int) -> None:
    grid = torch.arange(1, 51, dtype=torch.float64)[torch.randperm(50)] / 51
    assert float(spacing_entropy(grid, spacing, 1e-3)) == pytest.approx(math.log1p(1e-3), abs=1e-12)


def test_translation_changes_nothing_and_scaling_adds_its_logarithm() -> None:
    samples = _samples(4, 100)
    entropy = spacing_entropy(samples, 10, 1e-12)
    torch.testing.assert_close(spacing_entropy(samples + 3, 10, 1e-12), entropy)
    torch.testing.assert_close(spacing_entropy(5 * samples, 10, 1e-12), entropy + math.log(5))


def test_rows_are_independent_and_leading_dimensions_are_kept() -> None:
    samples = _samples(2, 3, 60)
    entropy = spacing_entropy(samples, 8, 1e-7)
    assert entropy.shape == (2, 3)
    assert entropy[1, 2] == spacing_entropy(samples[1, 2], 8, 1e-7)


def test_gradient() -> None:
    samples = _samples(2, 12).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: spacing_entropy(x, 3, 1e-3), samples)
    (gradient,) = torch.autograd.grad(spacing_entropy(samples, 3, 1e-3).sum(), samples)
    torch.testing.assert_close(gradient.sum(dim=-1), torch.zeros(2, dtype=torch.float64))


def test_ties_have_a_bounded_gradient() -> None:
    samples = torch.zeros(1, 20, dtype=torch.float64, requires_grad=True)
    entropy = spacing_entropy(samples, 4, 1e-7).sum()
    (gradient,) = torch.autograd.grad(entropy, samples)
    assert float(entropy.detach()) == pytest.approx(math.log(1e-7))
    assert float(gradient.abs().max()) <= 21 / 4 / 16 / 1e-7 * (1 + 1e-12)


@pytest.mark.parametrize("spacing", [0, 5, 6])
def test_spacing_out_of_range(spacing: int) -> None:
    with pytest.raises(ValueError, match=rf"1 <= spacing < N must hold, but got spacing={spacing}, N=5"):
        spacing_entropy(torch.zeros(2, 5), spacing, 1e-7)
