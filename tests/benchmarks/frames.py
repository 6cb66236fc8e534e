"""How long does it take to read the final numbers of 5,000 runs, beside merely reading their files?

Once from journals, which leaves summaries, and then from these.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from analysis.frames import runs_frame
from study.journal.summary import YOUNG_S
from study.paths import StudyPaths
from study.plan.expand import confirm_specs
from study.plan.model import Confirm
from study.plan.spec import RunSpec
from tests.benchmarks._report import Measurement, print_lines
from tests.fakes.study_home import StudyHome, make_plan

NUM_RUNS, NUM_STEPS, REPETITIONS = 5_000, 80, 5
_METRICS = ", ".join(f'"train/metric_{i}": {i}.123456789' for i in range(8))


def write_study(root: Path, num_runs: int = NUM_RUNS) -> StudyPaths:
    """A study with at least `num_runs` confirm runs of seven arms, finished, `NUM_STEPS` training steps each."""
    seeds = -(-num_runs // 7)
    home = StudyHome(root, make_plan(confirm=Confirm(tuple(range(1, seeds + 1)), (1,))))
    home.write_plan()
    for arm in home.plan.arms:
        for number in range(2 if arm.is_tuned else 0):
            home.write_trial(arm.name, number, "complete", 60.0 + number)
        specs = confirm_specs(home.plan, arm, home.winner(arm))
        origin = home.write_run(specs[0]).root
        files = {file.relative_to(origin): file.read_bytes() for file in origin.rglob("*") if file.is_file()}
        files = {name: _longer(data) if name.name == "events.jsonl" else data for name, data in files.items()}
        folders = {name.parent for name in files}
        for spec in specs[1:]:
            _copy(files, folders, spec, StudyPaths(root).run(spec.run_id).root)
    return StudyPaths(root)


def _copy(files: dict[Path, bytes], folders: set[Path], spec: RunSpec, root: Path) -> None:
    import json

    for folder in folders:
        (root / folder).mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        content = json.dumps(spec.as_json(), indent=1).encode() if name.name == "spec.json" else data
        (root / name).write_bytes(content)


def _longer(events: bytes) -> bytes:
    lines = [line for line in events.splitlines(keepends=True) if b'"event": "step"' not in line]
    steps = [
        f'{{"t": 1763800000.1, "event": "step", "step": {step}, "metrics": {{{_METRICS}}}}}\n'.encode()
        for step in range(1, NUM_STEPS + 1)
    ]
    return b"".join([lines[0], *steps, *lines[1:]])


def read_plainly(root: Path) -> int:
    """Open and read every file below `root`, and nothing more; the number of bytes."""
    total, folders = 0, [os.fspath(root)]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir():
                    folders.append(entry.path)
                else:
                    with open(entry.path, "rb", buffering=0) as file:  # noqa: PTH123 (the bound is to be low)
                        total += len(file.read())
    return total


def seconds(action: Callable[[], object], repetitions: int = REPETITIONS) -> tuple[float, float]:
    """Shortest wall and CPU time of several repetitions."""
    walls, cpus = [], []
    for _ in range(repetitions):
        wall, cpu = time.perf_counter(), time.process_time()
        action()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return min(walls), min(cpus)


def run() -> None:
    """Print wall and CPU time, and the ratio to plain reading of the same files in the same run."""
    with tempfile.TemporaryDirectory() as folder:
        study = write_study(Path(folder) / "toy")
        num_bytes = read_plainly(study.runs)
        plain = seconds(lambda: read_plainly(study.runs))
        time.sleep(YOUNG_S + 1)
        rows = {
            "from journals": seconds(lambda: runs_frame(study.root), 1),
            "": seconds(lambda: runs_frame(study.root)),
        }
        num_rows = len(runs_frame(study.root))
    print(f"{num_rows} runs, {num_bytes / 1e6:.0f} MB, {NUM_STEPS} steps each; the shortest of {REPETITIONS}")
    for name, (wall, cpu) in {"every file read": plain, **{f"runs_frame {k}": v for k, v in rows.items()}}.items():
        print(f"{name:25} {wall:7.3f} s wall   {cpu:7.3f} s CPU   {cpu / plain[1]:5.2f} × CPU of reading")
    peers = {"every file read": plain[0]}
    print_lines([Measurement(f"runs_frame of {num_rows} runs {k}".strip(), v[0], peers, "s") for k, v in rows.items()])
