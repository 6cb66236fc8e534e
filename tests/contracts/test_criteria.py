"""What every criterion keeps to."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor

from study import registry
from study.criteria.base import Criterion, CriterionResult, Views
from study.errors import DivergedError
from study.training.loop import StepRecord, check_finite

_DEGENERATE = (
    "constant", "duplicated rows", "equal views", "zero dimension", "zero rows", "huge", "saturated", "ties", "rank 1",
)  # fmt: skip

pytestmark = pytest.mark.parametrize("name", registry.names("criteria"))


def _make(name: str, **settings: float) -> Criterion:
    criterion: Criterion = registry.component("criteria", name)(**settings)
    return criterion


def _projections(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=dtype)


def _gradient(criterion: Criterion, z: Tensor) -> Tensor:
    """Gradient of the total, zeros when the total does not depend on the projections."""
    z = z.clone().requires_grad_()
    total = criterion(Views(z)).total
    if not total.requires_grad:
        return torch.zeros_like(z)
    (gradient,) = torch.autograd.grad(total, z)
    return gradient


def _result_or_culprit(criterion: Criterion, z: Tensor) -> CriterionResult | str:
    """What comes out, or the term that the error names."""
    try:
        return criterion(Views(z))
    except DivergedError as error:
        return str(error).partition(":")[0]


@pytest.mark.parametrize("shape", [(2, 60, 8), (2, 8, 60), (1, 2, 3), (2, 2, 3), (4, 5, 5)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_total_and_terms_are_finite_scalars_of_the_input_type(
    name: str, shape: tuple[int, int, int], dtype: torch.dtype
) -> None:
    criterion = _make(name)
    result = criterion(Views(_projections(max(shape[0], criterion.min_views), *shape[1:], dtype=dtype)))
    for label, value in {"total": result.total, **result.terms}.items():
        assert (value.shape, value.dtype) == ((), dtype), label
        assert math.isfinite(value), label
    assert all(not term.requires_grad for term in result.terms.values())


def test_order_of_the_batch_does_not_matter(name: str) -> None:
    z = _projections(2, 40, 6)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(1))
    plain, shuffled = (_make(name)(Views(x)).total for x in (z, z[:, order]))
    torch.testing.assert_close(plain, shuffled, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(_gradient(_make(name), z)[:, order], _gradient(_make(name), z[:, order]))


def test_order_of_the_views_does_not_matter(name: str) -> None:
    z = _projections(3, 20, 6)
    plain, flipped = (_make(name)(Views(x)).total for x in (z, z.flip(0)))
    torch.testing.assert_close(plain, flipped, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("shape", [(2, 30, 6), (2, 6, 30)], ids=str)
def test_gradient_is_the_slope_of_the_total(name: str, shape: tuple[int, int, int]) -> None:
    criterion, z = _make(name), _projections(*shape)
    direction = torch.randn(shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    gradient, step = _gradient(criterion, z), 1e-6
    ahead, behind = (criterion(Views(z + sign * step * direction)).total for sign in (1, -1))
    slope = float((gradient * direction).sum())
    assert float(ahead - behind) / (2 * step) == pytest.approx(slope, rel=1e-5, abs=1e-6 * float(gradient.norm()))


def test_calls_repeat_and_leave_the_random_state_alone(name: str) -> None:
    z, state = _projections(2, 30, 6), torch.get_rng_state()
    first = _make(name)(Views(z))
    assert torch.equal(torch.get_rng_state(), state)
    torch.randn(1)
    second = _make(name)(Views(z))
    assert torch.equal(first.total, second.total)
    assert first.terms == second.terms
    assert torch.equal(_gradient(_make(name), z), _gradient(_make(name), z))


def test_gradient_reaches_every_projection(name: str) -> None:
    gradient = _gradient(_make(name), _projections(2, 30, 6))
    has_terms = bool(_make(name)(Views(_projections(2, 30, 6))).terms)
    assert bool((gradient != 0).any(dim=-1).all()) is has_terms


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16], ids=str)
def test_autocast_does_not_lower_the_precision(name: str, half: torch.dtype, dtype: torch.dtype) -> None:
    """Neither of the value nor of the gradient, when the backward pass is outside, where torch wants it."""
    z = _projections(2, 50, 6, dtype=dtype).requires_grad_()
    outside = _make(name)(Views(z))
    with torch.autocast("cpu", dtype=half):
        inside = _make(name)(Views(z))
    assert inside.total.dtype == dtype
    assert torch.equal(inside.total, outside.total)
    assert inside.terms == outside.terms
    if outside.total.requires_grad:
        gradients = [torch.autograd.grad(result.total, z)[0] for result in (inside, outside)]
        assert torch.equal(*gradients)


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_projections_are_raised_to_single(name: str, half: torch.dtype) -> None:
    z = _projections(2, 50, 6).to(half)
    raised = _make(name)(Views(z)).total
    assert raised.dtype == torch.float32
    assert torch.equal(raised, _make(name)(Views(z.float())).total)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("shape", [(2, 24, 6), (2, 6, 24)], ids=str)
@pytest.mark.parametrize("kind", _DEGENERATE)
def test_degenerate_batches_stay_finite(name: str, kind: str, shape: tuple[int, int, int], dtype: torch.dtype) -> None:
    z = _projections(*shape, dtype=dtype)
    if kind == "constant":
        z = torch.ones_like(z)
    elif kind == "duplicated rows":
        half = shape[1] // 2
        z[:, half:] = z[:, :half]
    elif kind == "equal views":
        z[1] = z[0]
    elif kind == "zero dimension":
        z[..., 0] = 0
    elif kind == "zero rows":
        z[:, :2] = 0
    elif kind == "saturated":
        z = z.sign() * 50
    elif kind == "ties":
        z = z.round()
    elif kind == "rank 1":
        z = z[..., :1] * torch.linspace(-1, 1, shape[2], dtype=dtype)
    else:
        z *= 1e4
    assert math.isfinite(_make(name)(Views(z)).total)
    assert bool(_gradient(_make(name), z).isfinite().all())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_projections_that_are_not_finite_end_the_training_with_a_term(
    name: str, value: float, dtype: torch.dtype
) -> None:
    """At once, where a matrix cannot be decomposed, or where the loop fetches the terms; either names a term."""
    z = _projections(2, 30, 6, dtype=dtype)
    terms = _make(name)(Views(z)).terms
    z[0, 3, 2] = value
    result = _result_or_culprit(_make(name), z)
    if isinstance(result, str):
        assert result in terms
        return
    assert result.terms.keys() == terms.keys()
    assert not any(math.isfinite(term) for term in result.terms.values())
    metrics = {f"train/criterion/{label}": float(term) for label, term in result.terms.items()}
    metrics |= {"train/criterion": float(result.total), "train/base_loss": 1.0, "train/loss": 1 + float(result.total)}
    if terms:
        named = ", ".join([*(f"train/criterion/{label}" for label in terms), "train/criterion", "train/loss"])
        with pytest.raises(DivergedError, match=f"^step 7: {named} not finite$"):
            check_finite([StepRecord(7, metrics)])
    else:
        check_finite([StepRecord(7, metrics)])


@pytest.mark.parametrize("shape", [(2, 1, 4), (2, 0, 4), (0, 5, 4), (10, 4)], ids=str)
def test_other_shapes_are_refused(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"needs projections of shape \(views( >= 2)?, batch >= 2, dim\), got"):
        _make(name)(Views(torch.zeros(shape)))


def test_too_few_views_are_refused(name: str) -> None:
    criterion = _make(name)
    if criterion.min_views > 1:
        with pytest.raises(ValueError, match=rf"\(views >= {criterion.min_views}, batch >= 2, dim\), got \(1, 5, 4\)"):
            criterion(Views(torch.zeros(1, 5, 4)))
    else:
        assert math.isfinite(criterion(Views(_projections(1, 5, 4))).total)


def test_settings_are_a_frozen_dataclass(name: str) -> None:
    cls = registry.component("criteria", name)
    fields = {field.name for field in dataclasses.fields(cls)}
    assert cls.__dataclass_params__.frozen
    assert _make(name) == _make(name) and hash(_make(name)) == hash(_make(name))
    assert set(cls.search_space) <= fields
    for component, settings in cls.components.items():
        assert settings and set(settings) <= fields, component
        assert _make(name, **settings) != _make(name), component
    for preset, settings in cls.presets.items():
        assert settings and set(settings) <= fields, preset
        assert _make(name, **settings) != _make(name), preset
    for field, space in cls.search_space.items():
        assert {getattr(_make(name, **{field: bound}), field) for bound in (space.low, space.high)} == {
            space.low,
            space.high,
        }


def test_zero_weights_switch_everything_off_but_the_report(name: str) -> None:
    z = _projections(2, 30, 6)
    off, default = _make(name, **_no_weights(name))(Views(z.requires_grad_())), _make(name)(Views(z))
    assert float(off.total) == 0 and not off.total.requires_grad
    assert off.terms.keys() == default.terms.keys()
    for label, term in off.terms.items():
        torch.testing.assert_close(term, default.terms[label])


def test_terms_without_weight_leave_the_total_alone(name: str) -> None:
    """Even when they are not finite, unless they cannot be computed at all."""
    z = _projections(2, 30, 6)
    terms = _make(name)(Views(z)).terms
    z[0, 3, 2] = math.nan
    result = _result_or_culprit(_make(name, **_no_weights(name)), z)
    assert result in terms if isinstance(result, str) else float(result.total) == 0


def _no_weights(name: str) -> dict[str, float]:
    cls = registry.component("criteria", name)
    return {f.name: 0.0 for f in dataclasses.fields(cls) if f.name.endswith("weight")}
