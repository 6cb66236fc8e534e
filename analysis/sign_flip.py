"""The exact sign-flip test of paired differences, also called Fisher's randomisation test.

R. A. Fisher, *The Design of Experiments* (1935), section 21: were the arms alike, each difference could as well have
had the other sign. All 2^n assignments of signs are weighed against the one observed; no distribution is assumed
but that the differences are symmetric about zero. The price is a floor: the observed assignment and its mirror image
are always among the most extreme, so that p is never below 2 / 2^n, which exceeds 0.05 for n ≤ 5.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

MOST_UNITS = 40  # two halves of 2^20 sums
_TIE = 1e-9  # relative to the sum of all sizes: sums that differ by rounding alone are equal

Floats = npt.NDArray[np.float64]


def floor(n: int) -> float:
    """The smallest two-sided p-value that `n` units can give."""
    return 2.0 ** (1 - n)


def sign_flip_p(differences: Floats) -> float:
    """Return the exact two-sided p-value of mean = 0.

    The sums of all assignments are those of one half of the units plus those of the other, so that counting needs
    2^(n/2) numbers, sorted, instead of 2^n.

    Args:
        differences: one per unit, finite, (n,).

    Returns:
        Share of the 2^n assignments whose mean is at least as far from zero as the observed one; NaN without
        units, and for more than `MOST_UNITS`, where counting would take too long and a t test is as good.
    """
    n = len(differences)
    if not 0 < n <= MOST_UNITS:
        return math.nan
    sizes = np.abs(differences)
    threshold = abs(float(differences.sum())) - _TIE * float(sizes.sum())
    if threshold <= 0:
        return 1.0
    left, right = _signed_sums(sizes[: n // 2]), np.sort(_signed_sums(sizes[n // 2 :]))
    num_above = len(right) - np.searchsorted(right, threshold - left, side="left")
    return 2 * float(num_above.sum()) / 2.0**n  # the assignments below −threshold mirror these


def _signed_sums(sizes: Floats) -> Floats:
    """The 2^n sums of ±size, (2^n,)."""
    sums = np.zeros(1)
    for size in sizes:
        sums = np.concatenate([sums - size, sums + size])
    return sums
