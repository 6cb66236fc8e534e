"""The time that is left is estimated, then more and more what runs have taken."""

from __future__ import annotations

from dataclasses import replace

import pytest

from study.orchestration.forecast import Forecast, count_runs
from study.orchestration.ledger import Ledger
from study.orchestration.progress import Progress
from study.orchestration.snapshot import RunStatus, RunView
from study.plan.model import Phase
from tests.fakes.study_home import make_plan
from tests.fakes.tiny_study import pretraining

ESTIMATE_S = 40.0


def after(*costs_s: float) -> float:
    """Seconds that a confirming run is expected to take once runs with these costs are complete."""
    plan = make_plan()
    ledger = Ledger(plan)
    for number, cost_s in enumerate(costs_s):
        view = RunView(RunStatus.COMPLETED, train_cpu_s=cost_s)
        ledger.add(replace(pretraining(1), run_id=str(number)), Phase.CONFIRM, view)
    expected = Forecast(count_runs(plan), dict.fromkeys(Phase, ESTIMATE_S))
    return expected.updated(Progress(ledger, {})).seconds[Phase.CONFIRM]


def test_the_first_run_says_little_about_the_others() -> None:
    """It is that of the arm that is not continued, which is evaluated alone."""
    assert after() == ESTIMATE_S
    assert 0.8 * ESTIMATE_S < after(4.0) < ESTIMATE_S


def test_many_runs_say_all() -> None:
    assert after(*[4.0] * 1000) == pytest.approx(4.0, rel=0.1)
    assert after(*[4.0] * 8) == pytest.approx((4.0 + ESTIMATE_S) / 2)
