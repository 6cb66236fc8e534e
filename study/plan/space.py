"""What a search may choose from: ranges, declared by components and overridden in sweep files."""

from __future__ import annotations

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


STRENGTH_RANGE = FloatRange(0.03, 3.0, log=True)  # of every criterion, unless a sweep file says otherwise
