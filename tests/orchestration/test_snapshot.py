"""What an orchestrator makes of a run's directory and of its processes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from study.journal.events import EventWriter
from study.journal.files import create_once, write_json
from study.journal.replay import AttemptState
from study.journal.summary import YOUNG_S, is_summed_up
from study.orchestration.snapshot import Observer, RunStatus
from study.paths import AttemptPaths, RunPaths
from tests.fakes.clock import Clock

STARTED = ("started", {"resumed_step": 0})
FINISHED = ("finished", {})


class Processes:
    """Which attempts have a living process."""

    def __init__(self) -> None:
        self.alive: set[int] = set()
        self.num_asked = 0

    def __call__(self, attempt: AttemptState) -> bool:
        self.num_asked += 1
        return attempt.number in self.alive


@pytest.fixture
def run(tmp_path: Path) -> RunPaths:
    run = RunPaths(tmp_path / "run")
    run.evaluations.mkdir(parents=True)
    return run


@pytest.fixture
def processes() -> Processes:
    return Processes()


@pytest.fixture
def observer(processes: Processes) -> Observer:
    return Observer(processes)


def attempt(run: RunPaths, number: int, *events: tuple[str, dict[str, Any]], claimed: bool = True) -> AttemptPaths:
    paths = run.attempt(number)
    paths.root.mkdir(parents=True)
    write_json(paths.job, {"attempt": number})
    if claimed:
        create_once(paths.claim, {"pid": 1})
    append(paths, *events)
    return paths


def append(paths: AttemptPaths, *events: tuple[str, dict[str, Any]]) -> None:
    with EventWriter(paths.events) as writer:
        for event, fields in events:
            writer.append(event, **fields)


def failed(kind: str) -> tuple[str, dict[str, Any]]:
    return "failed", {"kind": kind, "message": "so it goes"}


def test_a_run_without_a_folder_waits(observer: Observer, tmp_path: Path) -> None:
    assert observer.view(RunPaths(tmp_path / "none"), ["a"]).status is RunStatus.WAITING


def test_from_intent_to_completion(run: RunPaths, observer: Observer, processes: Processes) -> None:
    assert observer.view(run, ["a"]).status is RunStatus.WAITING
    processes.alive = {1}
    paths = attempt(run, 1, claimed=False)
    assert observer.view(run, ["a"]).status is RunStatus.ACTIVE
    create_once(paths.claim, {"pid": 1})
    append(paths, STARTED)
    write_json(paths.heartbeat, {"step": 3, "num_steps": 10})
    view = observer.view(run, ["a"])
    assert (view.status, view.step, view.num_steps, view.num_attempts) == (RunStatus.ACTIVE, 3, 10, 1)
    write_json(run.trained, {"attempt": 1, "cpu_s": 4.0})
    write_json(run.evaluations / "a.json", {"metrics": {}})
    append(paths, FINISHED)
    assert observer.view(run, ["a"]).status is RunStatus.ACTIVE, "its process still holds a slot"
    processes.alive = set()
    view = observer.view(run, ["a"])
    assert (view.status, view.train_cpu_s, set(view.evaluations)) == (RunStatus.COMPLETED, 4.0, {"a"})


def test_a_trained_run_waits_for_the_evaluations_it_lacks(run: RunPaths, observer: Observer) -> None:
    attempt(run, 1, STARTED, FINISHED)
    write_json(run.trained, {"attempt": 1, "cpu_s": 4.0})
    write_json(run.evaluations / "a.json", {})
    assert observer.view(run, ["a"]).status is RunStatus.COMPLETED
    assert observer.view(run, ["a", "b"]).status is RunStatus.WAITING
    assert observer.view(run, []).status is RunStatus.COMPLETED


def test_a_process_that_ends_while_it_is_looked_at_is_not_lost(run: RunPaths) -> None:
    """Its last word falls between reading the journal and asking for the process."""
    paths = attempt(run, 1, STARTED)

    def ends_now(state: AttemptState) -> bool:
        if not run.trained.exists():
            write_json(run.trained, {"attempt": 1, "cpu_s": 4.0})
            append(paths, FINISHED)
        return False

    view = Observer(ends_now).view(run, [])
    assert (view.status, view.num_losses) == (RunStatus.COMPLETED, 0)


def test_lost_attempts_are_replaced_until_it_is_hopeless(
    run: RunPaths, observer: Observer, processes: Processes
) -> None:
    observer.view(run, [])
    for number in range(1, 4):
        attempt(run, number, STARTED, claimed=number != 2)  # the second dies before it claims its attempt
        processes.alive = {number}
        assert observer.view(run, []).status is RunStatus.ACTIVE
        processes.alive = set()
        view = observer.view(run, [])
        assert view.num_losses == number
        assert view.status is (RunStatus.WAITING if number < 3 else RunStatus.FAILED)
    assert view.failure is not None
    assert view.failure.startswith("3 times, lastly lost: its process ended without a last word. Start the same")


def test_stopped_and_revoked_attempts_are_no_losses(run: RunPaths, observer: Observer) -> None:
    observer.view(run, [])
    for number in range(1, 6):
        paths = attempt(run, number, claimed=False)
        if number % 2:
            create_once(paths.claim, {"pid": 1})
            append(paths, STARTED, ("stopped", {"reason": "SIGTERM"}))
        else:
            create_once(paths.claim, {"revoked": True})
        view = observer.view(run, [])
        assert (view.status, view.num_losses) == (RunStatus.WAITING, 0)


@pytest.mark.parametrize("kind", ["error", "data", "disk"])
def test_a_failure_stands_until_the_next_start(run: RunPaths, observer: Observer, kind: str) -> None:
    observer.view(run, [])
    attempt(run, 1, STARTED, failed(kind))
    view = observer.view(run, [])
    assert (view.status, view.failure) == (RunStatus.FAILED, f"{kind}: so it goes")
    assert Observer(Processes()).view(run, []).status is RunStatus.WAITING, "a new start tries again"


@pytest.mark.parametrize("kind", ["diverged", "memory"])
def test_an_outcome_of_the_parameters_stands_for_good(run: RunPaths, observer: Observer, kind: str) -> None:
    attempt(run, 1, STARTED, failed(kind))
    for one in (observer, observer, Observer(Processes())):
        assert one.view(run, []).status is RunStatus.INFEASIBLE


def test_survivors_are_adopted(run: RunPaths, observer: Observer, processes: Processes) -> None:
    """An attempt that an earlier orchestrator started and whose process lives."""
    attempt(run, 1, STARTED)
    processes.alive = {1}
    assert observer.view(run, []).status is RunStatus.ACTIVE
    ((paths, state),) = observer.active()
    assert (paths, state.number) == (run, 1)
    processes.alive = set()
    view = observer.view(run, [])
    assert (view.status, view.num_losses) == (RunStatus.WAITING, 0), "losses count from the start of this orchestrator"
    assert observer.active() == []


def test_settled_runs_are_not_read_again(run: RunPaths, observer: Observer, processes: Processes) -> None:
    attempt(run, 1, STARTED, FINISHED)
    write_json(run.trained, {"attempt": 1, "cpu_s": 4.0})
    view = observer.view(run, [])
    run.trained.write_text("damaged")
    assert observer.view(run, []) is view and processes.num_asked == 0


def test_many_are_observed_as_each_is_alone(tmp_path: Path, processes: Processes) -> None:
    """More than one thread reads at once."""
    runs = [RunPaths(tmp_path / f"run{number:03}") for number in range(100)]
    for number, run in enumerate(runs):
        ending = (STARTED, FINISHED) if number % 3 else (STARTED, failed("diverged"))
        attempt(run, 1, *(ending if number % 5 else (STARTED,)))
        if number % 2:
            write_json(run.trained, {"attempt": 1, "cpu_s": float(number)})
    found = list(Observer(processes).first_views([(run, []) for run in runs]))
    assert found == [Observer(processes).view(run, []) for run in runs]
    assert {view.status for view in found} == {RunStatus.WAITING, RunStatus.COMPLETED, RunStatus.INFEASIBLE}


def test_what_is_done_first_is_seen(run: RunPaths, observer: Observer) -> None:
    """An attempt is revoked between reading and judging."""
    paths = attempt(run, 1, claimed=False)
    (view,) = observer.first_views([(run, [])], lambda _run, _state: create_once(paths.claim, {"revoked": True}))
    assert (view.status, view.num_attempts) == (RunStatus.WAITING, 1) and not paths.verdict.exists()


def test_a_run_that_has_ended_is_summed_up_some_seconds_later(run: RunPaths, processes: Processes) -> None:
    clock = Clock()
    observer = Observer(processes, clock=clock)
    paths = attempt(run, 1, STARTED)
    create_once(run.spec, {})
    processes.alive = {1}
    assert observer.view(run, []).status is RunStatus.ACTIVE
    write_json(run.trained, {"attempt": 1, "cpu_s": 4.0})
    append(paths, FINISHED)
    processes.alive = set()
    view = observer.view(run, [])
    for file in run.root.rglob("*"):
        os.utime(file, (1.6e9, 1.6e9))
    observer.sum_up()
    assert view.status is RunStatus.COMPLETED and not run.summary.exists(), "it may still change"
    clock.now += YOUNG_S + 1
    observer.sum_up()
    assert is_summed_up(run)
    assert Observer(processes).view(run, []) == view
