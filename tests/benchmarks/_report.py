"""What benchmarks measured, one line of JSON each, for programs to read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Measurement:
    """One number of ours beside those of others, from the same run.

    Attributes:
        name: what was measured.
        ours: our number.
        peers: who → their number.
        unit: of all of them.
        more_is_better: or less.
    """

    name: str
    ours: float
    peers: Mapping[str, float]
    unit: str
    more_is_better: bool = False

    @property
    def ratio(self) -> float:
        """How many times better than the best peer: 2 is twice as fast, half the memory, or twice the share."""
        if self.more_is_better:
            return self.ours / max(self.peers.values())
        return min(self.peers.values()) / self.ours

    @property
    def line(self) -> str:
        """JSON with the keys name, ours, peers, unit, ratio; four digits count."""
        peers = {name: _rounded(value) for name, value in self.peers.items()}
        fields = {"ours": _rounded(self.ours), "peers": peers, "unit": self.unit, "ratio": _rounded(self.ratio)}
        return json.dumps({"name": self.name, **fields}, ensure_ascii=False)


def print_lines(measurements: Sequence[Measurement]) -> None:
    """Print them, one line each."""
    for measurement in measurements:
        print(measurement.line)


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
