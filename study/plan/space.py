"""What a search may choose from: ranges, declared by components and overridden in sweep files."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class FloatRange:
    """The closed interval [low, high]; `log` samples its logarithm uniformly.

    Raises:
        ValueError: the bounds are not ordered, or a log range does not start above zero.
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"low < high must hold, but got low={self.low:g}, high={self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"a log range needs low > 0, but got low={self.low:g}")

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    def at(self, share: float) -> float:
        """The value below which `share` of the range lies; from `low` at 0 to `high` at 1."""
        if self.log:
            value = math.exp(math.log(self.low) + share * (math.log(self.high) - math.log(self.low)))
        else:
            value = self.low + share * (self.high - self.low)
        return min(max(value, self.low), self.high)


# Of every criterion, unless a sweep file says otherwise. The weights that suited e2mc, uniformity and mmcr on trained
# SimSiam bases of Fashion-MNIST are strengths of 3.5, 2 and 5: the base loss pulls little once it has converged.
STRENGTH_RANGE = FloatRange(0.2, 20.0, log=True)
