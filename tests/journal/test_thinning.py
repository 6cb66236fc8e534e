"""Long runs leave journals of the size of short ones; what is kept depends on the number of steps alone."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest

from study.journal.events import EventWriter
from study.journal.thinning import KEPT_WHOLE, is_kept, usual_interval


def kept(num_steps: int, steps_per_epoch: int, every: int | None = None) -> list[int]:
    return [step for step in range(1, num_steps + 1) if is_kept(step, num_steps, steps_per_epoch, every)]


@pytest.mark.parametrize("num_steps", [1, 80, KEPT_WHOLE])
def test_short_runs_keep_every_step(num_steps: int) -> None:
    assert kept(num_steps, num_steps) == list(range(1, num_steps + 1))


@pytest.mark.parametrize("num_steps", [KEPT_WHOLE + 1, 5_000, 20_000, 62_550, 500_000])
def test_long_runs_keep_about_a_thousand_evenly_and_the_ends_of_epochs(num_steps: int) -> None:
    per_epoch = num_steps // 10
    found = kept(num_steps, per_epoch)
    assert found[0] == 1 and {per_epoch * epoch for epoch in range(1, 11)} <= set(found)
    interval = usual_interval(num_steps)
    assert max(b - a for a, b in pairwise(found)) == interval
    assert 500 <= num_steps // interval <= len(found) <= 1_000 + 12


def test_a_site_may_say_otherwise() -> None:
    assert kept(10, 4, every=3) == [1, 3, 4, 6, 8, 9]
    assert kept(20_000, 5_000, every=1) == list(range(1, 20_001))


def test_twenty_thousand_steps_have_two_megabytes_at_most(tmp_path: Path) -> None:
    """Metrics as a run of E2MC has them, with all digits, and some more."""
    metrics = {f"train/projections/covariance_excess_{i:02}": -0.12749171257019043 for i in range(20)}
    with EventWriter(tmp_path / "events.jsonl") as events:
        events.append("step", step=20_000, metrics=metrics)
    size = (tmp_path / "events.jsonl").stat().st_size
    assert json.loads((tmp_path / "events.jsonl").read_text())["metrics"] == metrics
    assert size * len(kept(20_000, 5_000)) <= 2_000_000
    assert size * len(kept(KEPT_WHOLE, KEPT_WHOLE)) <= 3_000_000
