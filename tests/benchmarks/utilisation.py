"""What share of (slots × wall time) do finished studies spend inside training and evaluation?"""

import os
from pathlib import Path

from study.journal.files import read_json
from study.journal.replay import replay_run
from study.paths import HomePaths
from study.plan.expand import base_spec
from study.plan.model import Plan
from tests.benchmarks._report import Measurement, print_lines

ROOT = Path(__file__).parents[2]
SLOTS = int(os.environ.get("SLOTS", os.cpu_count() or 1))


def run() -> None:
    """Print it for every finished study of $STUDY_HOME; set SLOTS when they did not have one slot per core.

    Bases that another study of the home has trained do not count.
    """
    home = HomePaths(ROOT / os.environ.get("STUDY_HOME", "studies"))
    finished = sorted(home.root.glob("*/finished.json"))
    if not finished:
        print(f"no finished study in {home.root}; run `make demo` first")
    measured = []
    for file in finished:
        study = home.study(file.parent.name)
        plan = Plan.from_json(read_json(study.plan))
        own = [attempt for run in study.existing_runs() for attempt in replay_run(run).attempts]
        orchestrators = [attempt.job["orchestrator"] for attempt in own]
        bases = [home.base(base_spec(plan, seed).run_id) for seed in plan.base_seeds]
        shared = [attempt for base in bases for attempt in replay_run(base).attempts]
        attempts = own + [attempt for attempt in shared if attempt.job["orchestrator"] in orchestrators]
        wall = read_json(file)["t"] - min(attempt.job["intent_t"] for attempt in attempts)
        busy = sum(attempt.cpu_s for attempt in attempts)
        share = busy / (SLOTS * wall)
        print(f"{file.parent.name}: {busy:.0f} CPU-s in {wall:.0f} s on {SLOTS} slots: {share:.1%} inside runs")
        ideal = {"all slots always busy": 1.0}
        measured.append(Measurement(f"utilisation {file.parent.name}", share, ideal, "share", more_is_better=True))
    print_lines(measured)
