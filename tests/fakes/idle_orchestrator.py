"""An orchestrator in turns in which nothing happens: for counting what such a turn costs.

    python -m tests.fakes.idle_orchestrator FOLDER NUM_SEEDS NUM_ACTIVE TURNS

Its study has seven arms and as many bases as there are seeds. About half of the confirming runs are over, NUM_ACTIVE
are executed by this very process, the others wait for their slots. At the end of each turn it looks at FOLDER.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from study.execution.base import seems_alive
from study.journal.events import EventWriter
from study.journal.files import create_once, link_once, write_json
from study.journal.process import this_process
from study.journal.replay import AttemptState
from study.orchestration import orchestrator
from study.orchestration.lease import Lease
from study.orchestration.orchestrator import Orchestrator, Settings
from study.orchestration.progress import Progress
from study.orchestration.snapshot import RunStatus
from study.paths import HomePaths, RunPaths
from study.plan.expand import base_spec, confirm_specs
from study.plan.model import Confirm
from study.plan.spec import RunSpec
from tests.fakes.study_home import StudyHome, make_plan
from tests.fakes.tiny_study import Nowhere

_WARM_UP = 5  # turns


class Full(Nowhere):
    """Believes in processes, and starts none."""

    def __init__(self, slots: int) -> None:
        self.slots = slots

    def is_alive(self, attempt: AttemptState) -> bool:
        return seems_alive(attempt)


def write_study(home: HomePaths, num_seeds: int, num_active: int) -> StudyHome:
    """A study that waits for slots."""
    study = StudyHome(home.root / "toy", make_plan(confirm=Confirm(tuple(range(1, num_seeds + 1)), (1,))))
    study.write_plan()
    for arm in study.plan.arms:
        study.write_search(arm)
        specs = confirm_specs(study.plan, arm, study.winner(arm))
        for spec in specs[: num_seeds // 2]:
            study.write_run(spec)
    for seed in study.plan.base_seeds:
        _finish(home.base(base_spec(study.plan, seed).run_id), base_spec(study.plan, seed))
    waiting = [(arm.name, seed) for seed in range(num_seeds, num_seeds // 2, -1) for arm in study.plan.arms]
    for arm, seed in waiting[:num_active]:
        attempt = study.start_run(study.confirm_spec(arm, seed)).attempt(1)
        create_once(attempt.claim, this_process())
        with EventWriter(attempt.events) as events:
            events.append("started", durable=True, resumed_step=0)
        write_json(attempt.heartbeat, {"t": time.time(), "step": 3, "num_steps": 8})
    return study


def _finish(run: RunPaths, spec: RunSpec) -> None:
    attempt = run.attempt(1)
    attempt.root.mkdir(parents=True)
    write_json(run.spec, spec.as_json())
    write_json(attempt.job, {"attempt": 1})
    create_once(attempt.claim, {"pid": 1})
    with EventWriter(attempt.events) as events:
        events.append("started", durable=True, resumed_step=0)
        events.append("finished", durable=True)
    write_json(attempt.trained, {"attempt": 1, "step": 8, "weights_sha256": "0" * 64, "code": "c0de", "cpu_s": 1.0})
    link_once(attempt.trained, run.trained)


def main(folder: Path, num_seeds: int, num_active: int, turns: int) -> None:
    home = HomePaths(folder / "home")
    study = write_study(home, num_seeds, num_active)
    orchestrator._POLL_S = 0.01
    left = turns + _WARM_UP

    def show(progress: Progress) -> None:
        nonlocal left
        left -= 1
        if left < turns:
            os.stat(folder)  # noqa: PTH116 (the mark that is looked for)
        if left == 0:
            print(*(f"{status}={progress.count(status)}" for status in RunStatus), flush=True)
            os._exit(0)

    lease = Lease.acquire(home.study("toy").lease)
    Orchestrator(study.plan, home, Full(num_active), lease, Settings(folder), show).run()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
