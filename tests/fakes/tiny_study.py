"""A study of the smallest size on real images, and what tests need to start parts of it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from study.errors import DataError
from study.execution.base import Executor
from study.journal.events import read_events
from study.journal.files import read_json
from study.journal.replay import AttemptState
from study.orchestration import actions
from study.paths import AttemptPaths, HomePaths, RunPaths
from study.plan.components import build
from study.plan.expand import base_spec, run_spec
from study.plan.load import load_plan
from study.plan.model import Phase, Plan
from study.plan.spec import EvaluationRequest, RunSpec

SWEEP = """\
study: tiny
question: Does the machinery survive?
dataset: {name: fashion_mnist, num_ssl_images: 500, num_validation_images: 300}
base: {method: simsiam, backbone: conv_fc, epochs: 1, batch_size: 50}
continuation: {epochs: 1, batch_size: 50, optimizer: {name: adamw, lr: 1.0e-3}}
arms:
  base:       {continue: false}
  continued:  {criterion: none}
  uniformity: {criterion: uniformity, start: {weight: 0.5}}
reference: continued
contrasts: [[uniformity, continued]]
evaluations: {linear_probe: {label_percent: [100]}, knn: {}}
primary: linear_probe/top1_mean
tune: {objective: knn/top1, trials_per_arm: 2, base_seeds: [101]}
confirm: {base_seeds: [1, 2]}
"""


def tiny_plan(*overrides: str) -> Plan:
    """The plan of `SWEEP`."""
    return load_plan(SWEEP, "tiny.yaml", overrides)


def data_folder() -> Path:
    """The folder with the real images."""
    roots = [
        Path(root).absolute() for root in (os.environ.get("STUDY_DATA"), "studies/data", "/usr/share/datasets") if root
    ]
    try:
        folder: Path = build("datasets", tiny_plan().dataset).locate(roots)
    except DataError as error:
        pytest.fail(f"these tests need the real files: {error}")
    return folder


class Nowhere(Executor):
    """Starts nothing: a test runs the attempt itself, or never."""

    name, slots = "nowhere", 1

    def submit(self, attempt: AttemptPaths) -> Mapping[str, Any]:
        return {}

    def is_alive(self, attempt: AttemptState) -> bool:
        return False

    def stop(self, paths: AttemptPaths, attempt: AttemptState) -> bool:
        return True

    def kill(self, attempt: AttemptState) -> None:
        pass

    def close(self) -> None:
        pass


def pretraining(epochs: int, seed: int = 1, **changes: Any) -> RunSpec:
    """The pre-training of a base of the tiny study, ten steps an epoch."""
    return base_spec(tiny_plan(f"base.epochs={epochs}", *(f"{k}={v}" for k, v in changes.items())), seed)


def continuation(plan: Plan, arm: str = "continued", seed: int = 1, phase: Phase = Phase.CONFIRM) -> RunSpec:
    """A continued run of the tiny study, at the arm's start."""
    return run_spec(plan, plan.arm(arm), plan.arm(arm).start, seed, 1, phase)


def submit(
    home: HomePaths, spec: RunSpec, executor: Executor, *, evaluations: Sequence[EvaluationRequest] = (),
    folder: Path | None = None, checkpoint_every_s: float = 1000.0, num_processes: int = 1,
    evaluation_folders: Mapping[str, Path] | None = None, log_every: int | None = None,
) -> AttemptPaths:  # fmt: skip
    """Start the next attempt at a run as an orchestrator does; the runs of a test have no study."""
    run = home.run_of("tiny", spec.run_id, spec.labels["phase"])
    actions.submit(
        home, run, spec, evaluations, executor, study="tiny",
        data_folder=folder or data_folder(), checkpoint_every_s=checkpoint_every_s,
        num_processes=num_processes, evaluation_folders=evaluation_folders, log_every=log_every,
    )  # fmt: skip
    return run.existing_attempts()[-1]


def wait_for(condition: Callable[[], Any], what: str, timeout_s: float = 120.0) -> Any:
    """Ask again and again until the answer is true, and return it."""
    deadline = time.monotonic() + timeout_s
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"waited {timeout_s:.0f} s in vain for {what}"
        time.sleep(0.01)
    return answer


def events_of(attempt: AttemptPaths, kind: str | None = None) -> list[dict[str, Any]]:
    """The events of an attempt, or those of one kind."""
    return [event for event in read_events(attempt.events) if kind in (None, event["event"])]


def wait_for_event(attempt: AttemptPaths, kind: str, timeout_s: float = 120.0) -> dict[str, Any]:
    """Wait for the first event of a kind."""
    wait_for(lambda: events_of(attempt, kind), f"{kind!r} in {attempt.events}", timeout_s)
    return events_of(attempt, kind)[0]


def wait_for_end(attempt: AttemptPaths, timeout_s: float = 120.0) -> str:
    """Wait until the process that claimed an attempt is gone; return the kind of its newest event."""
    wait_for(attempt.claim.exists, f"a claim of {attempt.root}", timeout_s)
    wait_for(lambda: not is_running(read_json(attempt.claim)["pid"]), f"the end of {attempt.root}", timeout_s)
    return str(events_of(attempt)[-1]["event"])


def is_running(pid: int) -> bool:
    """Whether a process runs; one that nobody has buried yet does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def steps_of(run: RunPaths) -> list[tuple[int, int]]:
    """(attempt, step) of every step event of a run, in the order of writing."""
    return [(a.number, event["step"]) for a in run.existing_attempts() for event in events_of(a, "step")]


def weights_of(run: RunPaths) -> str:
    """sha256 of a run's trained weights."""
    return str(read_json(run.trained)["weights_sha256"])
