"""A run that costs milliseconds and loads no torch: it claims, waits, and leaves what a real one leaves.

`behaviour` in the run's folder, if there is one, says what it does instead: `sleep 3`, `exit 5`, `kill`.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from study.journal.events import EventWriter
from study.journal.files import create_once, link_once, read_json, write_json
from study.journal.process import this_process
from study.paths import AttemptPaths
from study.worker.preemption import StopWatch


def run_attempt(attempt_dir: str) -> int:
    paths = AttemptPaths(Path(attempt_dir))
    watch = StopWatch(paths)
    watch.install()
    if not create_once(paths.claim, this_process()):
        return 75
    behaviour = paths.run.root / "behaviour"
    word, _, value = (behaviour.read_text() if behaviour.exists() else "sleep 0").partition(" ")
    with EventWriter(paths.events) as events:
        events.append("started", durable=True, resumed_step=0, process=this_process())
        if word == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if word == "exit":
            print("something broke")
            return int(value)
        end = time.monotonic() + float(value)
        while time.monotonic() < end:
            if watch.must_stop():
                events.append("stopped", durable=True, reason=watch.reason)
                return 75
            time.sleep(0.01)
        _leave_results(paths)
        events.append("trained", durable=True, step=1)
        events.append("finished", durable=True)
    return 0


def _leave_results(paths: AttemptPaths) -> None:
    """As a training and its evaluations do; the metrics are a function of the run's id."""
    write_json(paths.trained, {"attempt": paths.number, "weights_sha256": "0" * 64, "code": "none", "cpu_s": 0.0})
    link_once(paths.trained, paths.run.trained)
    paths.run.evaluations.mkdir(exist_ok=True)
    value = sum(paths.run.root.name.encode()) % 97
    for request in read_json(paths.job).get("request", {}).get("evaluations", ()):
        metrics = dict.fromkeys(("top1", "top1_mean", "top1_100pct"), float(value))
        create_once(paths.run.evaluations / f"{request['key']}.json", {"metrics": metrics, "cpu_s": 0.0})
