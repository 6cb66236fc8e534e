"""What a paired comparison could have found: power of the two-sided paired t test, from the noncentral t distribution.

J. Cohen, *Statistical Power Analysis for the Behavioral Sciences* (1988), section 2.3, for paired data: the
statistic of n differences with mean δ and standard deviation σ is noncentral t with n − 1 degrees of freedom and
noncentrality √n δ/σ. The observed sd stands in for σ, and is uncertain itself when there are few units. The power at
the *observed* mean is not offered: it only restates the p-value.
"""

from __future__ import annotations

import math
from functools import lru_cache

from scipy import optimize, special

ALPHA, POWER = 0.05, 0.8
_MOST_UNITS = 100_000


def power(difference: float, sd: float, n: int, alpha: float = ALPHA) -> float:
    """Return the probability that `n` units of this spread give p < `alpha` when the true mean is `difference`."""
    critical = -special.stdtrit(n - 1, alpha / 2)
    noncentrality = math.sqrt(n) * abs(difference) / sd
    if noncentrality > critical + 30:  # where scipy's noncentral t gives NaN, the power is one
        return 1.0
    above = special.nctdtr(n - 1, -noncentrality, -critical)  # exact where one minus the distribution would not be
    below = special.nctdtr(n - 1, noncentrality, -critical)
    return float(above) + (0.0 if math.isnan(below) else float(below))


def detectable_difference(sd: float, n: int, alpha: float = ALPHA, target: float = POWER) -> float:
    """Return the smallest true difference that is found with probability `target`, in the unit of `sd`.

    NaN without a spread (n < 2, or sd not above zero).
    """
    return sd * _detectable_effect(n, alpha, target) if n > 1 and sd > 0 else math.nan


def units_needed(difference: float, sd: float, alpha: float = ALPHA, target: float = POWER) -> int | None:
    """Return how many units find a true `difference` with probability `target`.

    Args:
        difference: what is worth finding, e.g. the equivalence margin; not zero.
        sd: of the paired differences, in the same unit.
        alpha: two-sided level.
        target: the power that is wanted.

    Returns:
        At least 2; None without a spread or a difference, and when 100,000 units would not do.
    """
    if not (sd > 0 and math.isfinite(sd) and difference):
        return None
    low, high = 1, 2
    while power(difference, sd, high, alpha) < target:
        low, high = high, 2 * high
        if high > _MOST_UNITS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(difference, sd, middle, alpha) >= target else (middle, high)
    return high


@lru_cache
def _detectable_effect(n: int, alpha: float, target: float) -> float:
    highest = 2.0
    while power(highest, 1.0, n, alpha) < target:
        highest *= 2
    return float(optimize.brentq(lambda effect: power(effect, 1.0, n, alpha) - target, 0.0, highest, rtol=1e-9))
