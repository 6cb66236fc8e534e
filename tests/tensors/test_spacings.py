"""Properties of the estimator; tests/references/test_e2mc.py compares it with the written-out formula."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import digamma
from torch import Tensor

from study.tensors.spacings import default_spacing, spacing_entropy


def _samples(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=dtype)


def _gradient(samples: Tensor, spacings: tuple[int, ...], epsilon: float = 1e-7) -> Tensor:
    samples = samples.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(spacing_entropy(samples, spacings, epsilon).sum(), samples)
    return gradient


@pytest.mark.parametrize(("num_samples", "spacing"), [(2, 1), (144, 12), (250, 16), (256, 16), (512, 23)])
def test_default_spacing_is_the_rounded_root(num_samples: int, spacing: int) -> None:
    assert default_spacing(num_samples) == spacing


@pytest.mark.parametrize("spacings", [(1,), (7,), (49,), (1, 7, 49)], ids=str)
def test_equispaced_samples_are_exact(spacings: tuple[int, ...]) -> None:
    order = torch.randperm(50, generator=torch.Generator().manual_seed(0))
    grid = torch.arange(1, 51, dtype=torch.float64)[order] / 51
    assert float(spacing_entropy(grid, spacings, 1e-3)) == pytest.approx(math.log1p(1e-3), abs=1e-12)


def test_translation_changes_nothing_and_scaling_adds_its_logarithm() -> None:
    samples = _samples(4, 100)
    entropy = spacing_entropy(samples, (10,), 1e-12)
    torch.testing.assert_close(spacing_entropy(samples + 3, (10,), 1e-12), entropy)
    torch.testing.assert_close(spacing_entropy(samples - 3, (10,), 1e-12), entropy)
    torch.testing.assert_close(spacing_entropy(5 * samples, (10,), 1e-12), entropy + math.log(5))


def test_rows_are_independent_and_leading_dimensions_are_kept() -> None:
    samples = _samples(2, 3, 60)
    entropy = spacing_entropy(samples, (8,), 1e-7)
    assert entropy.shape == (2, 3)
    assert entropy[1, 2] == spacing_entropy(samples[1, 2], (8,), 1e-7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_more_rows_than_fit_into_the_cache(dtype: torch.dtype) -> None:
    """Rows are computed in parts, which changes neither values nor gradients; neither does the layout in memory."""
    samples = _samples(2, 40, 3000, dtype=dtype)
    columns = samples.mT.contiguous().mT
    entropy, gradient = spacing_entropy(samples, (5, 60), 1e-7), _gradient(samples, (5, 60))
    assert torch.equal(spacing_entropy(columns, (5, 60), 1e-7), entropy)
    assert torch.equal(_gradient(columns, (5, 60)), gradient)
    for view in range(2):
        for row in range(40):
            torch.testing.assert_close(spacing_entropy(samples[view, row], (5, 60), 1e-7), entropy[view, row])
            torch.testing.assert_close(_gradient(samples[view, row], (5, 60)), gradient[view, row])


def test_several_spacings_are_averaged() -> None:
    samples = _samples(5, 80)
    single = [spacing_entropy(samples, (m,), 1e-7) for m in (1, 9, 40)]
    torch.testing.assert_close(spacing_entropy(samples, (1, 9, 40), 1e-7), torch.stack(single).mean(dim=0))
    gradients = [_gradient(samples, (m,)) for m in (1, 9, 40)]
    torch.testing.assert_close(_gradient(samples, (1, 9, 40)), torch.stack(gradients).mean(dim=0))


@pytest.mark.parametrize("num_samples", [64, 256, 512])
@pytest.mark.parametrize("corrects_bias", [False, True])
def test_uniform_samples_show_the_known_bias(num_samples: int, corrects_bias: bool) -> None:
    """E[H] = log((N+1)/m) + ψ(m) - ψ(N+1), and log(N+1) - ψ(N+1) with the correction, for any mixture of spacings."""
    uniform = torch.from_numpy(np.random.default_rng(num_samples).uniform(size=(500, num_samples)))
    m = default_spacing(num_samples)
    for spacings in ((m,), (1, m, 2 * m)):
        entropy = spacing_entropy(uniform, spacings, 1e-12, corrects_bias=corrects_bias)
        bias = 0 if corrects_bias else np.mean([digamma(k) - math.log(k) for k in spacings])
        expected = math.log(num_samples + 1) - digamma(num_samples + 1) + bias
        standard_error = float(entropy.std()) / math.sqrt(500)
        assert float(entropy.mean()) == pytest.approx(expected, abs=4 * standard_error)


def test_the_correction_is_a_constant() -> None:
    samples = _samples(3, 30)
    difference = spacing_entropy(samples, (2, 6), 1e-7, corrects_bias=True) - spacing_entropy(samples, (2, 6), 1e-7)
    expected = (math.log(2) - digamma(2) + math.log(6) - digamma(6)) / 2
    torch.testing.assert_close(difference, torch.full((3,), expected, dtype=torch.float64))


@pytest.mark.parametrize("spacings", [(1,), (3,), (11,), (1, 4)], ids=str)
def test_gradient(spacings: tuple[int, ...]) -> None:
    samples = _samples(2, 12).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: spacing_entropy(x, spacings, 1e-2), samples)


@pytest.mark.parametrize("spacing", [1, 3, 9, 19])
@pytest.mark.parametrize("epsilon", [1e-7, 0.1])
def test_gradient_in_closed_form(spacing: int, epsilon: float) -> None:
    """dH/du_(k) = [1/(s_{k-m} + ε') - 1/(s_k + ε')] / (N-m), s_k = u_(k+m) - u_(k) where both exist, ε' = ε m/(N+1)."""
    samples = _samples(20)
    ordered = np.sort(samples.numpy())
    expected = {}
    for k in range(20):
        below = 1 / (ordered[k] - ordered[k - spacing] + epsilon * spacing / 21) if k >= spacing else 0.0
        above = 1 / (ordered[k + spacing] - ordered[k] + epsilon * spacing / 21) if k + spacing < 20 else 0.0
        expected[ordered[k]] = (below - above) / (20 - spacing)
    gradient = _gradient(samples, (spacing,), epsilon)
    assert gradient.tolist() == pytest.approx([expected[u] for u in samples.tolist()], rel=1e-12)


@pytest.mark.parametrize("decimals", [1, 16])
def test_gradients_of_a_row_add_up_to_zero(decimals: int) -> None:
    """Whatever is tied: translation changes nothing."""
    gradient = _gradient(_samples(4, 200).round(decimals=decimals), (1, 14), 1e-3)
    assert float(gradient.abs().max()) > 0
    torch.testing.assert_close(gradient.sum(dim=-1), torch.zeros(4, dtype=torch.float64), rtol=0, atol=1e-11)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_ties_have_a_bounded_gradient(dtype: torch.dtype) -> None:
    samples = torch.zeros(1, 20, dtype=dtype, requires_grad=True)
    entropy = spacing_entropy(samples, (4,), 1e-7).sum()
    (gradient,) = torch.autograd.grad(entropy, samples)
    assert float(entropy.detach()) == pytest.approx(math.log(1e-7))
    assert bool(gradient.isfinite().all())
    assert float(gradient.abs().max()) <= 21 / 4 / 16 / 1e-7 * (1 + 1e-6)


def test_tied_samples_share_the_slopes_of_their_ranks() -> None:
    """Whichever gets which: the gradients are those of the same samples moved apart by nothing to speak of."""
    samples = _samples(1, 60).round(decimals=1)
    apart = samples + torch.arange(60) * 1e-14
    tied, free = (_gradient(x, (7,), 1e-3) for x in (samples, apart))
    torch.testing.assert_close(tied.sort().values, free.sort().values, rtol=1e-6, atol=1e-9)


def test_single_precision_in_single_precision_out() -> None:
    samples = _samples(3, 200)
    single = samples.float()
    entropy = spacing_entropy(single, (14,), 1e-7, corrects_bias=True)
    assert entropy.dtype == _gradient(single, (14,)).dtype == torch.float32
    torch.testing.assert_close(
        entropy.double(), spacing_entropy(samples, (14,), 1e-7, corrects_bias=True), rtol=0, atol=1e-5
    )
    torch.testing.assert_close(_gradient(single, (14,)).double(), _gradient(samples, (14,)), rtol=1e-4, atol=1e-6)


def test_what_is_not_a_number_does_not_pass() -> None:
    samples = _samples(2, 30, dtype=torch.float32)
    samples[0, 3] = math.nan
    entropy = spacing_entropy(samples, (5,), 1e-7)
    assert entropy.isnan().tolist() == [True, False]


@pytest.mark.parametrize("spacing", [0, 5, 6])
def test_spacing_out_of_range(spacing: int) -> None:
    with pytest.raises(ValueError, match=rf"1 <= spacing < N must hold, but got spacing={spacing}, N=5"):
        spacing_entropy(torch.zeros(2, 5), (spacing,), 1e-7)


@pytest.mark.parametrize(("spacings", "shown"), [((), r"\(\)"), ((2, 5), r"\(2, 5\)")], ids=str)
def test_none_or_one_of_several_out_of_range(spacings: tuple[int, ...], shown: str) -> None:
    with pytest.raises(ValueError, match=rf"1 <= spacing < N must hold, but got spacing={shown}, N=5"):
        spacing_entropy(torch.zeros(2, 5), spacings, 1e-7)
