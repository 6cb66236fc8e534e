import math

import pytest

from study.plan.space import FloatRange


def test_both_bounds_belong_to_a_range():
    bounds = FloatRange(0.1, 1.0, log=True)
    assert 0.1 in bounds
    assert 1.0 in bounds
    assert 0.09 not in bounds
    assert math.nan not in bounds  # noqa: PLW0177 - a start that is no number lies outside


@pytest.mark.parametrize(
    ("low", "high", "log", "message"),
    [
        (2.0, 1.0, False, "low < high must hold, but got low=2, high=1"),
        (1.0, 1.0, False, "low < high must hold"),
        (float("nan"), 1.0, False, "low < high must hold, but got low=nan"),
        (0.0, 1.0, True, "a log range needs low > 0, but got low=0"),
        (-1.0, 1.0, True, "a log range needs low > 0, but got low=-1"),
    ],
)
def test_ranges_that_are_none(low, high, log, message):
    with pytest.raises(ValueError, match=message):
        FloatRange(low, high, log)


def test_shares_of_a_range():
    assert [FloatRange(1, 100, log=True).at(share) for share in (0, 0.5, 1)] == pytest.approx([1, 10, 100])
    assert [FloatRange(-1, 3).at(share) for share in (0, 0.25, 1)] == [-1, 0, 3]
    assert all(FloatRange(3e-4, 3e-3, log=True).at(share) in FloatRange(3e-4, 3e-3) for share in (0.0, 1.0))
