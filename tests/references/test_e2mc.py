"""E2MC against the formulas of its authors, transcribed to NumPy.

Source: https://arxiv.org/abs/2411.15931; the order of averaging and the place of ε follow main_swav_ent_ft.py,
main_vicreg_ent_ft.py and main_simsiam_ent_ft.py of https://github.com/deepc94/e2mc, commit 875d8de.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import special
from torch import Tensor

from study.criteria.base import Views
from study.criteria.e2mc import E2MC

Array = NDArray[np.float64]


def _spacing_entropy(samples: Array, m: int, epsilon: float) -> float:
    """One spacing at a time."""
    ordered, n = sorted(samples), len(samples)
    logs = [math.log((n + 1) / m * (ordered[i + m] - ordered[i]) + epsilon) for i in range(n - m)]
    return sum(logs) / (n - m)


def _penalty(u: Array, divisor: int) -> float:
    """One pair of dimensions at a time."""
    centred, dim = u - u.mean(axis=0), u.shape[1]
    pairs = [(i, j) for i in range(dim) for j in range(dim) if i != j]
    return sum(float(sum(centred[:, i] * centred[:, j]) / divisor) ** 2 for i, j in pairs) / dim


def _reference(z: Array, criterion: E2MC) -> tuple[float, float]:
    """Entropy and covariance terms of (views, rows, dim) projections, by what the fields are said to mean."""
    samples = list(z)
    if criterion.samples == "first":
        samples = [z[0]]
    elif criterion.samples == "pooled":
        samples = [np.concatenate(samples)]
    if criterion.standardise:
        samples = [(x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-5) for x in samples]
    num_rows, dim = samples[0].shape
    spacings = criterion.spacing if isinstance(criterion.spacing, tuple) else [criterion.spacing]
    spacings = [round(math.sqrt(num_rows)) if m == "sqrt" else m for m in spacings]
    divisor = (criterion.nominal_batch_size or num_rows) - 1

    entropies, penalties = [], []
    for rotation in criterion.rotations(dim).numpy() if criterion.num_rotations else [np.eye(dim)]:
        mapped = [(special.expit if criterion.map == "sigmoid" else special.ndtr)(x @ rotation) for x in samples]
        entropies += [_spacing_entropy(d, m, criterion.epsilon) for u in mapped for d in u.T for m in spacings]
        penalties.append(len(z) / len(mapped) * sum(_penalty(u, divisor) for u in mapped))
    entropy = float(np.mean(entropies))
    if criterion.bias_correction == "digamma":
        entropy += float(np.mean([math.log(m) - special.digamma(m) for m in spacings]))
    return entropy, float(np.mean(penalties))


def _trainer(
    z: Array, compactify: Callable[[Array], Array], epsilon: float, entropy_weight: float, covariance_weight: float
) -> float:
    """What the authors' trainers add to the loss at their default weights, for the batch of 512 they are run with.

    The number of rows decides over the spacing, the configured batch size over the covariance.
    """
    entropies, penalties = [], []
    for view in z:
        u = compactify(view)
        num_rows, dim = u.shape
        m = round(math.sqrt(num_rows))
        ordered = np.sort(u, axis=0)
        entropies.append(np.log((num_rows + 1) / m * (ordered[m:] - ordered[:-m]) + epsilon).mean())
        centred = u - u.mean(axis=0)
        covariance = centred.T @ centred / (512 - 1)
        penalties.append((covariance[~np.eye(dim, dtype=bool)] ** 2).sum() / dim)
    return covariance_weight * sum(penalties) - entropy_weight * float(np.mean(entropies))


def _cdf(z: Array) -> Array:
    u: Array = 0.5 * (1 + special.erf(z / math.sqrt(2)))
    return u


_EPSILON_OF_FLOAT32 = float(np.finfo(np.float32).eps)
_TRAINERS: Mapping[str, Callable[[Array], float]] = {
    "swav": lambda z: _trainer(z, _cdf, _EPSILON_OF_FLOAT32, 10, 1),
    "vicreg": lambda z: _trainer(z, lambda x: 1 / (1 + np.exp(-x)), 1e-7, 10, 1),
    "simsiam": lambda z: _trainer(z, _cdf, _EPSILON_OF_FLOAT32, 1, 25),
}


def _terms(z: Tensor, **settings: Any) -> dict[str, float]:
    return {name: float(value) for name, value in E2MC(**settings)(Views(z)).terms.items()}


def _normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def _untied(*shape: int) -> Array:
    """Projections in random order, of which no two in a dimension are near each other, also among views.

    Central differences need that: the slope jumps where two samples change places.
    """
    rng = np.random.default_rng(1)
    num_rows = shape[0] * shape[1]
    ranks = rng.permuted(np.tile(np.arange(num_rows), (shape[2], 1)), axis=1).T
    z: Array = special.ndtri((ranks + rng.uniform(0.2, 0.8, ranks.shape)) / num_rows)
    return z.reshape(shape)


def _quantiles(u: Array) -> Tensor:
    """Projections whose dimensions the normal map sends to the columns of `u`; one view."""
    return torch.from_numpy(special.ndtri(u))[None]


@pytest.fixture(autouse=True)
def seed() -> Iterator[None]:
    """Rotations depend on it, whatever other tests do."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.mark.parametrize("shape", [(2, 13, 4), (1, 11, 16), (3, 10, 3), (2, 11, 1)], ids=str)
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"map": "sigmoid"},
        {"epsilon": 0.1},
        {"spacing": 2},
        {"spacing": (1, 4, 9)},
        {"bias_correction": "digamma"},
        {"spacing": (3, 8), "bias_correction": "digamma"},
        {"nominal_batch_size": 17},
        {"standardise": True},
        {"num_rotations": 3},
        {"samples": "first"},
        {"samples": "pooled"},
        {
            "map": "sigmoid", "spacing": (2, 5), "bias_correction": "digamma", "nominal_batch_size": 30,
            "standardise": True, "num_rotations": 2, "samples": "pooled",
        },
    ],
    ids=str,
)  # fmt: skip
def test_value_and_gradient(
    compare: Callable[..., None], shape: tuple[int, int, int], settings: dict[str, Any]
) -> None:
    z = _untied(*shape) * 1.3 + 0.2
    criterion = E2MC(**{"entropy_weight": 0.7, "covariance_weight": 2.5, "epsilon": 0.01, **settings})

    def total(z: Array) -> float:
        entropy, covariance = _reference(z, criterion)
        return 2.5 * covariance - 0.7 * entropy

    compare(criterion, total, z)
    terms = criterion(Views(torch.from_numpy(z))).terms
    entropy, covariance = _reference(z, criterion)
    assert float(terms["entropy"]) == pytest.approx(entropy, rel=1e-11, abs=1e-13)
    assert float(terms["covariance"]) == pytest.approx(covariance, rel=1e-11)


@pytest.mark.parametrize("preset", _TRAINERS)
class TestPresets:
    """512 rows are a full batch of the authors', 144 the last one of VICReg's trainer, which drops none."""

    @pytest.mark.parametrize("shape", [(2, 512, 20), (2, 144, 30), (2, 64, 100)], ids=str)
    def test_value(self, preset: str, shape: tuple[int, int, int]) -> None:
        z = np.random.default_rng(2).standard_normal(shape) * 0.8 - 0.3
        short = {} if shape[1] == 512 else {"nominal_batch_size": 512}
        total = float(E2MC(**E2MC.presets[preset], **short)(Views(torch.from_numpy(z))).total)
        assert total == pytest.approx(_TRAINERS[preset](z), rel=1e-12)

    @pytest.mark.parametrize("shape", [(2, 144, 9), (2, 20, 30)], ids=str)
    def test_gradient(self, compare: Callable[..., None], preset: str, shape: tuple[int, int, int]) -> None:
        criterion = E2MC(**E2MC.presets[preset], nominal_batch_size=512)
        compare(criterion, _TRAINERS[preset], _untied(*shape) * 0.8 - 0.3)


def test_there_is_a_preset_for_each_trainer() -> None:
    assert E2MC.presets.keys() == _TRAINERS.keys()


def test_weight_zero_drops_the_gradient_and_keeps_the_report() -> None:
    z = _normal(2, 50, 6)
    full, gradients = E2MC()(Views(z)), []
    for settings in ({}, *E2MC.components.values()):
        projections = z.clone().requires_grad_()
        result = E2MC(**settings)(Views(projections))
        result.total.backward()  # type: ignore[no-untyped-call]
        assert result.terms == full.terms
        gradients.append(projections.grad)
    whole, without_entropy, without_covariance = gradients
    assert whole is not None and without_entropy is not None and without_covariance is not None
    torch.testing.assert_close(without_entropy + without_covariance, whole)
    assert without_entropy.norm() > 0 and without_covariance.norm() > 0


class TestKnownValues:
    def test_equispaced_dimensions_have_entropy_log_of_one_plus_epsilon(self) -> None:
        grid = _quantiles((np.arange(1, 101) / 101)[:, None])
        for spacing in ("sqrt", 1, (1, 30, 99)):
            assert _terms(grid, spacing=spacing)["entropy"] == pytest.approx(math.log1p(1e-7), abs=1e-12)

    def test_constant_projections_have_entropy_log_epsilon_and_no_covariance(self) -> None:
        terms = _terms(torch.ones(2, 100, 5, dtype=torch.float64))
        assert terms["entropy"] == pytest.approx(math.log(1e-7))
        assert terms["covariance"] == pytest.approx(0, abs=1e-30)

    @pytest.mark.parametrize("num_rows", [256, 512])
    def test_normal_dimensions_show_the_known_bias(self, num_rows: int) -> None:
        """E[H] = log((N+1)/m) + ψ(m) - ψ(N+1) without, log(N+1) - ψ(N+1) with correction; sd per dimension < 0.017."""
        z, m, tolerance = _normal(1, num_rows, 1000), round(math.sqrt(num_rows)), 4 * 0.017 / math.sqrt(1000)
        corrected = math.log(num_rows + 1) - special.digamma(num_rows + 1)
        plain = corrected - math.log(m) + special.digamma(m)
        assert _terms(z)["entropy"] == pytest.approx(plain, abs=tolerance)
        assert _terms(z, bias_correction="digamma")["entropy"] == pytest.approx(corrected, abs=tolerance)

    def test_correction_makes_batch_sizes_comparable(self) -> None:
        """Between 64 and 1024 rows the bias changes by 0.05 without it, by less than 0.01 with it."""
        few, many = _normal(1, 64, 1000), _normal(1, 1024, 1000)
        plain, corrected = (
            _terms(many, bias_correction=b)["entropy"] - _terms(few, bias_correction=b)["entropy"]
            for b in ("none", "digamma")
        )
        assert plain > 0.04 and abs(corrected) < 0.01

    @pytest.mark.parametrize(("scale", "shift"), [(0.5, 0.0), (0.7, 0.5), (1.0, 0.0), (1.0, 0.8), (1.2, 0.0)])
    def test_normal_dimensions_of_any_scale_and_mean(self, scale: float, shift: float) -> None:
        """The entropy of Φ(z), z ~ N(μ, s²), is ½ + log s - (s² + μ²) / 2, which many rows approach."""
        expected = 0.5 + math.log(scale) - (scale**2 + shift**2) / 2
        few, many = (
            _terms(_normal(1, *shape) * scale + shift, bias_correction="digamma")["entropy"] - expected
            for shape in ((512, 80), (32768, 8))
        )
        assert abs(few) < 0.08 and abs(many) < 0.02
        assert abs(many) < max(abs(few) / 2, 0.003)

    @pytest.mark.parametrize(("map_", "best"), [("normal", 1.0), ("sigmoid", math.pi / math.sqrt(3))])
    def test_each_map_has_its_best_scale(self, map_: str, best: float) -> None:
        """That of its own density, standard normal or logistic; the estimate of 512 rows peaks within 15 % above it."""
        z, factors = _normal(1, 512, 200), [0.2, 0.4, 0.7, 0.9, 1.1, 1.4, 2.0, 3.0]
        entropies = [_terms(best * factor * z, map=map_)["entropy"] for factor in factors]
        assert entropies[:5] == sorted(entropies[:5])
        assert entropies[4:] == sorted(entropies[4:], reverse=True)

    def test_standardised_dimensions_have_no_scale_and_no_mean(self) -> None:
        z = _normal(2, 200, 5)
        moved = z * torch.linspace(0.5, 30, 5, dtype=z.dtype) + torch.linspace(-4, 4, 5, dtype=z.dtype)
        assert _terms(moved, standardise=True) == pytest.approx(_terms(z, standardise=True), rel=1e-3)
        assert _terms(moved)["entropy"] < _terms(z)["entropy"] - 1

    def test_nominal_batch_size_rescales_covariances_alone(self) -> None:
        plain, nominal = _terms(_normal(2, 144, 9)), _terms(_normal(2, 144, 9), nominal_batch_size=512)
        assert nominal["entropy"] == plain["entropy"]
        assert nominal["covariance"] == pytest.approx(plain["covariance"] * (143 / 511) ** 2)

    def test_samples_are_views_or_their_union(self) -> None:
        z = _normal(3, 50, 4)
        for samples, one in (("first", z[:1]), ("pooled", z.reshape(1, 150, 4))):
            alone = _terms(one)
            assert _terms(z, samples=samples) == pytest.approx({**alone, "covariance": 3 * alone["covariance"]})
        each = [_terms(view[None]) for view in z]
        assert _terms(z)["entropy"] == pytest.approx(np.mean([terms["entropy"] for terms in each]))
        assert _terms(z)["covariance"] == pytest.approx(sum(terms["covariance"] for terms in each))


class TestRotations:
    def test_they_are_orthogonal_and_different(self) -> None:
        rotations = E2MC(num_rotations=4).rotations(7)
        identity = torch.eye(7, dtype=torch.float64).expand(4, 7, 7)
        torch.testing.assert_close(rotations @ rotations.mT, identity, rtol=0, atol=1e-12)
        assert not any(torch.allclose(a, b) for i, a in enumerate(rotations) for b in rotations[:i])

    def test_they_follow_the_seed_of_torch_and_nothing_else(self) -> None:
        criterion = E2MC(num_rotations=2)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            first, state = criterion.rotations(6), torch.get_rng_state()
            criterion(Views(_normal(2, 30, 6)))
            assert torch.equal(torch.get_rng_state(), state)
            torch.randn(10)  # what a network draws before the criterion changes nothing
            assert torch.equal(criterion.rotations(6), first)
            torch.manual_seed(2)
            assert not torch.allclose(criterion.rotations(6), first)
            torch.manual_seed(1)
            assert torch.equal(criterion.rotations(6), first)

    def test_all_views_are_rotated_alike(self) -> None:
        z = _normal(1, 60, 6)
        single, double = (_terms(x, num_rotations=3) for x in (z, z.expand(2, -1, -1)))
        assert double["entropy"] == pytest.approx(single["entropy"], rel=1e-12)
        assert double["covariance"] == pytest.approx(2 * single["covariance"], rel=1e-12)

    def test_precisions_are_rotated_alike(self) -> None:
        z = _normal(2, 60, 6)
        assert _terms(z.float(), num_rotations=3) == pytest.approx(_terms(z, num_rotations=3), rel=1e-4)

    def test_what_looks_alike_from_everywhere_keeps_its_value(self, defects: Mapping[str, Tensor]) -> None:
        """Isotropic normal rows: entropies have a standard deviation of 0.0099 per dimension at 512 rows."""
        axes, rotated = _terms(defects["ideal"]), _terms(defects["ideal"], num_rotations=2)
        assert rotated["entropy"] == pytest.approx(axes["entropy"], abs=4 * 0.0099 / math.sqrt(128))
        assert rotated["covariance"] == pytest.approx(axes["covariance"], rel=0.05)

    def test_the_shape_of_marginals_is_seen_less(self, defects: Mapping[str, Tensor]) -> None:
        """A rotated dimension is a sum of 128 others, and normal whatever those are."""
        lost = [
            _terms(defects["ideal"], num_rotations=n)["entropy"]
            - _terms(defects["bimodal"], num_rotations=n)["entropy"]
            for n in (0, 2)
        ]
        assert lost[0] > 0.4 and abs(lost[1]) < 0.01

    def test_linear_dependence_is_still_seen(self, defects: Mapping[str, Tensor]) -> None:
        ideal, dependent = (_terms(defects[name], num_rotations=2)["covariance"] for name in ("ideal", "rank 8"))
        assert dependent > 20 * ideal


class TestBlindSpots:
    ATOMS = np.repeat(np.linspace(0.001, 0.999, 23), 23)[:, None]  # 23 clusters of m = 23 points, 529 in all

    def test_clusters_of_m_points_beat_uniform_ones(self) -> None:
        """Every m-spacing reaches from one cluster to the next: the largest value there is, log((N+1) / (N-m))."""
        clustered = _terms(_quantiles(self.ATOMS))["entropy"]
        assert clustered == pytest.approx(math.log(530 / 506 * 0.998), rel=1e-5)
        assert clustered > _terms(_quantiles((np.arange(1, 530) / 530)[:, None]))["entropy"] + 0.04

    def test_several_spacings_see_such_clusters(self) -> None:
        several = (5, 11, 23)
        uniform = np.random.default_rng(0).uniform(size=(529, 20))
        clustered, free = (_terms(_quantiles(u), spacing=several)["entropy"] for u in (self.ATOMS, uniform))
        assert clustered < free - 3

    def test_nonlinear_dependence_scores_like_independence(self, defects: Mapping[str, Tensor]) -> None:
        """64 pairs (U, |2U-1|): uniform marginals, no covariance, joint entropy -∞."""
        ideal, dependent = _terms(defects["ideal"]), _terms(defects["dependent pairs"])
        assert dependent["entropy"] == pytest.approx(ideal["entropy"], abs=4 * 0.0099 * math.sqrt(2 / 128))
        assert dependent["covariance"] == pytest.approx(ideal["covariance"], rel=0.1)

    def test_entropy_alone_does_not_see_lost_rank(self, defects: Mapping[str, Tensor]) -> None:
        ideal, collapsed = _terms(defects["ideal"]), _terms(defects["rank 8"])
        assert collapsed["entropy"] == pytest.approx(ideal["entropy"], abs=0.01)
        assert collapsed["covariance"] > 40 * ideal["covariance"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(
    "settings",
    [{"map": "sigmoid"}, {"spacing": (1, 5)}, {"standardise": True}, {"num_rotations": 2}, {"samples": "pooled"}],
    ids=str,
)
def test_degenerate_batches_stay_finite_with_every_option(settings: dict[str, Any], dtype: torch.dtype) -> None:
    z = _normal(2, 30, 6).to(dtype)
    for batch in (torch.ones_like(z), z.sign() * 1e4, z.round(), z[:, :1].expand(-1, 30, -1), z * (z < 1)):
        projections = batch.clone().requires_grad_()
        total = E2MC(**settings)(Views(projections)).total
        total.backward()  # type: ignore[no-untyped-call]
        assert math.isfinite(total.detach())
        assert projections.grad is not None and bool(projections.grad.isfinite().all())


@pytest.mark.parametrize(("num_rows", "samples", "shown"), [(9, "each", 9), (9, "first", 9), (4, "pooled", 8)])
def test_as_many_rows_as_the_spacing_are_refused(num_rows: int, samples: str, shown: int) -> None:
    z = _normal(2, num_rows, 3)
    with pytest.raises(ValueError, match=rf"1 <= spacing < N must hold, but got spacing={shown}, N={shown}"):
        _terms(z, spacing=shown, samples=samples)
    _terms(z, spacing=shown - 1, samples=samples)
    with pytest.raises(ValueError, match=rf"1 <= spacing < N must hold, but got spacing=\(1, {shown}\), N={shown}"):
        _terms(z, spacing=(1, shown), samples=samples)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"entropy_weight": -1.0}, r"entropy_weight must be finite and >= 0.*=-1"),
        ({"covariance_weight": math.nan}, r"covariance_weight must be finite and >= 0.*=nan"),
        ({"epsilon": 0.0}, r"epsilon must be finite and > 0.*=0"),
        ({"map": "tanh"}, r"map must be one of normal, sigmoid, but got map='tanh'"),
        ({"spacing": "log"}, r"spacing must be sqrt, or whole numbers >= 1, but got spacing='log'"),
        ({"spacing": 0}, r"spacing must be sqrt, or whole numbers >= 1, but got spacing=0"),
        ({"spacing": 2.5}, r"spacing must be sqrt, or whole numbers >= 1, but got spacing=2\.5"),
        ({"spacing": ()}, r"spacing must be sqrt, or whole numbers >= 1, but got spacing=\(\)"),
        ({"spacing": (4, -1)}, r"spacing must be sqrt, or whole numbers >= 1, but got spacing=\(4, -1\)"),
        ({"spacing": (4, "sqrt")}, r"spacing must be sqrt, or whole numbers >= 1, but got spacing=\(4, 'sqrt'\)"),
        ({"bias_correction": "jackknife"}, r"bias_correction must be one of none, digamma, but got .*='jackknife'"),
        ({"spacing": (5,)}, r"several spacings must be different numbers, but got spacing=\(5,\)"),
        ({"spacing": (5, 5)}, r"several spacings must be different numbers"),
        ({"nominal_batch_size": 1}, r"nominal_batch_size must be >= 2, but got nominal_batch_size=1"),
        ({"num_rotations": -1}, r"num_rotations must be >= 0, but got num_rotations=-1"),
        ({"samples": "last"}, r"samples must be one of each, first, pooled, but got samples='last'"),
    ],
)
def test_refused_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        E2MC(**settings)
