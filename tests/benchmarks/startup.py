"""How long do commands take that should answer at once, relative to starting Python?"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks._report import Measurement, print_lines

ROOT = Path(__file__).parents[2]
PEERS = {"python -c pass": "pass", "import torch": "import torch"}  # what any command pays, and what one could avoid
REPETITIONS = 5


def seconds(*command: str) -> float:
    """Median wall time of a command that must succeed."""
    times = []
    for _ in range(REPETITIONS):
        start = time.perf_counter()
        subprocess.run([sys.executable, *command], cwd=ROOT, check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def run() -> None:
    """Print wall time and the ratio to a bare interpreter; a finished study comes from $STUDY_HOME, if there is one."""
    peers = {name: seconds("-c", program) for name, program in PEERS.items()}
    with tempfile.TemporaryDirectory() as home:
        rows = {
            "run_sweep.py --help": seconds("study/run_sweep.py", "--help"),
            "python -m study --help": seconds("-m", "study", "--help"),
            "--dry-run": seconds("study/run_sweep.py", "sweeps/ablation.yaml", "--dry-run", "--home", home),
        }
    home = os.environ.get("STUDY_HOME", "studies")
    for plan in sorted((ROOT / home).glob("*/finished.json")):
        rows[f"status {plan.parent.name}"] = seconds("-m", "study", "status", plan.parent.name, "--home", home)
        sweep = str(plan.parent / "plan.yaml")
        rows[f"finished {plan.parent.name}"] = seconds("study/run_sweep.py", sweep, "--home", home)
    bare = peers["python -c pass"]
    for name, value in {**peers, **rows}.items():
        print(f"{name:40} {value:7.3f} s   {value / bare:6.1f} × bare Python")
    print_lines([Measurement(name, value, peers, "s") for name, value in rows.items()])
