"""What is said before anything is spent."""

from __future__ import annotations

import itertools

import pytest

from study.orchestration.preflight import smallest_p, units_needed, warnings
from tests.fakes.tiny_study import tiny_plan


@pytest.mark.parametrize("n", [1, 2, 5, 6, 10])
def test_the_smallest_p_is_that_of_enumeration(n: int) -> None:
    differences = [1.0 + i for i in range(n)]
    means = [
        sum(s * d for s, d in zip(signs, differences, strict=True)) for signs in itertools.product((-1, 1), repeat=n)
    ]
    assert smallest_p(n) == sum(abs(m) >= sum(differences) for m in means) / len(means)


@pytest.mark.parametrize("contrasts", [1, 2, 6, 10, 32])
def test_the_units_needed_are_the_fewest_that_suffice(contrasts: int) -> None:
    needed = units_needed(contrasts)
    assert contrasts * smallest_p(needed) <= 0.05 < contrasts * smallest_p(needed - 1)


def test_five_pairs_cannot_reach_significance_in_an_exact_test() -> None:
    (said,) = warnings(tiny_plan("confirm.base_seeds=[1,2,3,4,5]", "test=sign_flip"))
    assert "5 pairs cannot reach p < 0.05" in said and "smallest p is 0.0625" in said
    assert "at least 6 seeds into confirm.base_seeds" in said
    assert warnings(tiny_plan("confirm.base_seeds=[1,2,3,4,5,6]", "test=sign_flip")) == []


def test_the_t_test_is_told_what_it_leans_on_and_one_unit_what_it_cannot() -> None:
    (said,) = warnings(tiny_plan("confirm.base_seeds=[1,2,3]"))
    assert "leans on normal differences" in said and "It needs 6 seeds" in said
    assert "no interval and no test" in warnings(tiny_plan("confirm.base_seeds=[1]"))[0]
