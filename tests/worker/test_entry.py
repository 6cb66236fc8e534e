"""One attempt after the other in real processes that are stopped, killed, superseded and refused."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from study.execution.local import LocalExecutor
from study.journal.files import create_once, read_json, write_json
from study.journal.process import this_process
from study.journal.replay import replay_run, settled_steps
from study.paths import AttemptPaths, HomePaths
from study.plan.expand import base_spec, required_evaluations
from study.plan.identity import evaluation_request
from study.plan.model import Component, Phase, PlannedEvaluation
from study.plan.spec import RunSpec
from study.worker.entry import run_attempt
from tests.fakes.tiny_study import (
    Nowhere,
    continuation,
    data_folder,
    events_of,
    is_running,
    pretraining,
    steps_of,
    submit,
    tiny_plan,
    wait_for,
    wait_for_end,
    wait_for_event,
    weights_of,
)

LONG = pretraining(8)  # 80 steps: long enough to be interrupted


def pid_of(attempt: AttemptPaths) -> int:
    return int(read_json(attempt.claim)["pid"])


@pytest.fixture(scope="module")
def uninterrupted(executor: LocalExecutor, tmp_path_factory: pytest.TempPathFactory) -> AttemptPaths:
    """`LONG`, trained in one go."""
    attempt = submit(HomePaths(tmp_path_factory.mktemp("uninterrupted")), LONG, executor)
    assert wait_for_end(attempt) == "finished"
    return attempt


def metrics_by_step(attempt: AttemptPaths) -> list[tuple[int, Any]]:
    return [
        (step, metrics)
        for step, _, metrics in settled_steps(replay_run(attempt.run).attempts, include_provisional=False)
    ]


def interrupt(
    home: HomePaths, executor: LocalExecutor, number: int, *, after: str = "step", checkpoint_every_s: float = 1000.0
) -> AttemptPaths:
    """Start an attempt at `LONG` and send it a signal in the middle of its training."""
    attempt = submit(home, LONG, executor, checkpoint_every_s=checkpoint_every_s)
    wait_for_event(attempt, after)
    os.kill(pid_of(attempt), number)
    wait_for_end(attempt)
    assert not attempt.run.trained.exists(), "it was to be interrupted in the middle"
    return attempt


def test_it_saves_at_the_ends_of_epochs_that_are_long_beside_the_time_between_checkpoints(
    home: HomePaths, executor: LocalExecutor
) -> None:
    attempt = submit(home, pretraining(2), executor, checkpoint_every_s=0.5)
    assert wait_for_end(attempt) == "finished"
    assert {10, 20} <= {event["step"] for event in events_of(attempt, "checkpoint")}


def check_like(attempt: AttemptPaths, uninterrupted: AttemptPaths) -> None:
    """The run has ended as the uninterrupted one did, to the last bit."""
    assert weights_of(attempt.run) == weights_of(uninterrupted.run)
    assert attempt.run.weights.read_bytes() == uninterrupted.run.weights.read_bytes()
    assert read_json(attempt.run.trained)["paired"] == read_json(uninterrupted.run.trained)["paired"]
    assert metrics_by_step(attempt) == metrics_by_step(uninterrupted)


def test_a_finished_attempt_leaves_a_complete_record(uninterrupted: AttemptPaths) -> None:
    kinds = [event["event"] for event in events_of(uninterrupted)]
    assert kinds == ["started", *["step"] * 80, "checkpoint", "trained", "finished"]
    assert [step for _, step in steps_of(uninterrupted.run)] == list(range(1, 81))
    trained = read_json(uninterrupted.run.trained)
    assert (trained["attempt"], trained["step"]) == (1, 80)
    assert (trained["paired"]["first_step"], trained["paired"]["last_step"]) == (1, 80)
    assert trained["paired"]["num_view_steps"] == 16
    assert uninterrupted.trained.samefile(uninterrupted.run.trained)
    assert uninterrupted.weights.samefile(uninterrupted.run.weights)
    assert not [p.name for p in uninterrupted.root.iterdir() if p.name.endswith(".tmp")]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1], ids=lambda n: n.name)
def test_a_signal_makes_it_save_and_leave_and_the_next_attempt_ends_alike(
    home: HomePaths, executor: LocalExecutor, uninterrupted: AttemptPaths, number: signal.Signals
) -> None:
    first = interrupt(home, executor, number)
    last = events_of(first)[-1]
    assert (last["event"], last["reason"]) == ("stopped", number.name)
    (checkpoint,) = events_of(first, "checkpoint")
    assert checkpoint["step"] == steps_of(first.run)[-1][1], "nothing that was done is lost"
    second = submit(home, LONG, executor)
    assert wait_for_end(second) == "finished"
    (started,) = events_of(second, "started")
    assert (started["resumed_step"], started["resumed_attempt"]) == (checkpoint["step"], 1)
    assert [step for _, step in steps_of(second.run)] == list(range(1, 81))
    check_like(second, uninterrupted)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2, signal.SIGKILL], ids=lambda n: n.name)
def test_a_signal_while_a_checkpoint_is_being_written(
    home: HomePaths, executor: LocalExecutor, uninterrupted: AttemptPaths, number: signal.Signals
) -> None:
    first = submit(home, LONG, executor, checkpoint_every_s=0.0)
    wait_for_event(first, "checkpoint")
    wait_for(lambda: list(first.root.glob(".checkpoint.pt.*.tmp")), "a checkpoint that is being written")
    os.kill(pid_of(first), number)
    wait_for_end(first)
    assert not first.run.trained.exists(), "it was to be interrupted in the middle"
    second = submit(home, LONG, executor)
    assert wait_for_end(second) == "finished"
    (started,) = events_of(second, "started")
    assert started["resumed_attempt"] == 1 and started["resumed_step"] > 0
    check_like(second, uninterrupted)


def test_sigkill_costs_what_came_after_the_checkpoint(
    home: HomePaths, executor: LocalExecutor, uninterrupted: AttemptPaths
) -> None:
    first = interrupt(home, executor, signal.SIGKILL, after="checkpoint", checkpoint_every_s=0.0)
    saved = events_of(first, "checkpoint")[-1]["step"]
    second = submit(home, LONG, executor)
    assert wait_for_end(second) == "finished"
    assert events_of(second, "started")[0]["resumed_step"] >= saved  # it may die between file and event
    check_like(second, uninterrupted)


def test_sigkill_without_a_checkpoint_starts_anew(
    home: HomePaths, executor: LocalExecutor, uninterrupted: AttemptPaths
) -> None:
    interrupt(home, executor, signal.SIGKILL)
    second = submit(home, LONG, executor)
    assert wait_for_end(second) == "finished"
    assert events_of(second, "started")[0]["resumed_attempt"] is None
    check_like(second, uninterrupted)


def test_a_damaged_checkpoint_is_passed_over_for_an_earlier_one(
    home: HomePaths, executor: LocalExecutor, uninterrupted: AttemptPaths
) -> None:
    first = interrupt(home, executor, signal.SIGTERM)
    second = interrupt(home, executor, signal.SIGTERM)
    content = bytearray(second.checkpoint.read_bytes())
    content[len(content) // 2] ^= 1
    second.checkpoint.write_bytes(content)
    third = submit(home, LONG, executor)
    assert wait_for_end(third) == "finished"
    (started,) = events_of(third, "started")
    assert (started["resumed_attempt"], started["resumed_step"]) == (1, events_of(first, "checkpoint")[-1]["step"])
    check_like(third, uninterrupted)


def test_a_worker_that_was_killed_before_linking_its_weights_is_mended(
    home: HomePaths, executor: LocalExecutor
) -> None:
    first = submit(home, pretraining(1), executor)
    assert wait_for_end(first) == "finished"
    first.run.weights.unlink()
    second = submit(home, pretraining(1), executor)
    assert wait_for_end(second) == "finished"
    assert first.weights.samefile(second.run.weights)


def test_an_attempt_that_is_superseded_stops_and_leaves_the_run_to_its_successor(
    home: HomePaths, executor: LocalExecutor, uninterrupted: AttemptPaths
) -> None:
    first = submit(home, LONG, executor)
    wait_for_event(first, "step")
    os.kill(pid_of(first), signal.SIGSTOP)
    second = submit(home, LONG, executor)
    assert wait_for_end(second) == "finished"
    time.sleep(1.1)  # it looks for a successor once a second
    os.kill(pid_of(first), signal.SIGCONT)
    assert wait_for_end(first) == "stopped"
    assert events_of(first)[-1]["reason"] == "newer attempt"
    assert not first.checkpoint.exists(), "the successor has begun already; nobody would read it"
    check_like(second, uninterrupted)


def test_a_stop_file_is_obeyed_within_seconds(home: HomePaths, executor: LocalExecutor) -> None:
    attempt = submit(home, pretraining(100), executor)
    wait_for_event(attempt, "step")
    attempt.run.stop.touch()
    begin = time.monotonic()
    assert wait_for_end(attempt) == "stopped"
    assert time.monotonic() - begin < 10
    assert events_of(attempt)[-1]["reason"] == "stop file"
    assert attempt.checkpoint.exists()


def test_a_revoked_attempt_does_nothing(home: HomePaths, executor: LocalExecutor) -> None:
    attempt = submit(home, LONG, Nowhere())
    assert create_once(attempt.claim, {"revoked": True, **this_process()})
    assert run_attempt(str(attempt.root)) == 75
    assert {path.name for path in attempt.root.iterdir()} == {"job.json", "claim"}


def test_two_processes_at_one_attempt_and_one_of_them_does_it(home: HomePaths, executor: LocalExecutor) -> None:
    attempt = submit(home, pretraining(1), Nowhere())
    pids = [executor.submit(attempt)["pid"] for _ in range(4)]
    assert wait_for_end(attempt) == "finished"
    wait_for(lambda: not any(map(is_running, pids)), "the others' end")
    assert pid_of(attempt) in pids
    assert [event["event"] for event in events_of(attempt)].count("started") == 1
    assert [step for _, step in steps_of(attempt.run)] == list(range(1, 11))


@pytest.fixture(scope="module")
def train_only(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder without the files of the test split."""
    folder = tmp_path_factory.mktemp("train-only")
    for path in data_folder().glob("train-*"):
        (folder / path.name).symlink_to(path)
    return folder


@pytest.fixture(scope="module")
def shared_home(executor: LocalExecutor, tmp_path_factory: pytest.TempPathFactory) -> HomePaths:
    """A home with the bases 1 and 101."""
    home = HomePaths(tmp_path_factory.mktemp("home"))
    for seed in (1, 101):
        assert wait_for_end(submit(home, base_spec(tiny_plan(), seed), executor)) == "finished"
    return home


def spec_of(phase: Phase) -> RunSpec:
    return continuation(tiny_plan(), seed=101 if phase is Phase.TUNE else 1, phase=phase)


def test_a_tuning_run_does_without_the_files_of_the_test_split(
    shared_home: HomePaths, executor: LocalExecutor, train_only: Path
) -> None:
    requests = required_evaluations(tiny_plan(), Phase.TUNE)
    attempt = submit(shared_home, spec_of(Phase.TUNE), executor, evaluations=requests, folder=train_only)
    assert wait_for_end(attempt) == "finished", events_of(attempt)[-1]
    (file,) = attempt.run.evaluations.iterdir()
    result = read_json(file)
    assert (file.stem, result["split"]) == (requests[0].key, "validation")
    assert result["weights_sha256"] == weights_of(attempt.run)
    assert not attempt.checkpoint.exists(), "a continuation that is trained needs its checkpoint no more"


def test_a_tuning_run_is_refused_the_test_split(shared_home: HomePaths, executor: LocalExecutor) -> None:
    requests = required_evaluations(tiny_plan(), Phase.CONFIRM)
    attempt = submit(shared_home, spec_of(Phase.TUNE), executor, evaluations=requests)
    assert wait_for_end(attempt) == "failed"
    failure = events_of(attempt)[-1]
    assert (failure["kind"], failure["traceback"]) == ("error", None)
    assert "asked for the test split; only confirming runs may read it" in failure["message"]
    assert not attempt.run.evaluations.exists() or not list(attempt.run.evaluations.glob("*-test-*"))


def test_an_added_evaluation_is_all_that_a_trained_run_does(shared_home: HomePaths, executor: LocalExecutor) -> None:
    requests = required_evaluations(tiny_plan(), Phase.CONFIRM)
    first = submit(shared_home, spec_of(Phase.CONFIRM), executor, evaluations=requests[:1])
    assert wait_for_end(first) == "finished"
    curve = metrics_by_step(first)
    before = {p: p.read_bytes() for p in (first.run.trained, first.run.weights, *first.run.evaluations.iterdir())}
    second = submit(shared_home, spec_of(Phase.CONFIRM), executor, evaluations=requests)
    assert wait_for_end(second) == "finished"
    assert {path: path.read_bytes() for path in before} == before
    assert [event["event"] for event in events_of(second)] == ["started", "evaluated", "finished"]
    assert events_of(second, "evaluated")[0]["key"] == requests[1].key
    assert {p.stem for p in first.run.evaluations.iterdir()} == {request.key for request in requests}
    assert len(curve) == 10 and metrics_by_step(second) == curve, "the curve of the first attempt is still the run's"


def test_a_continuation_that_keeps_the_optimiser_resumes_exactly(
    shared_home: HomePaths, executor: LocalExecutor, tmp_path: Path
) -> None:
    plan = tiny_plan("continuation.optimizer.state=keep", "continuation.epochs=6")
    stopped = submit(shared_home, continuation(plan, "uniformity"), executor)
    wait_for_event(stopped, "step")
    os.kill(pid_of(stopped), signal.SIGTERM)
    assert wait_for_end(stopped) == "stopped"
    assert wait_for_end(submit(shared_home, continuation(plan, "uniformity"), executor)) == "finished"
    other = HomePaths(Path(shutil.copytree(shared_home.bases, tmp_path / "home" / "bases")).parent)
    whole = submit(other, continuation(plan, "uniformity"), executor)
    assert wait_for_end(whole) == "finished"
    check_like(stopped, whole)


def test_a_run_that_is_not_continued_is_evaluated_alone(shared_home: HomePaths, executor: LocalExecutor) -> None:
    statistics = evaluation_request(PlannedEvaluation("embedding_statistics", {"num_bins": 8, "num_dims": 4}), "test")
    tuning = PlannedEvaluation(
        "fine_tuning", {"label_percent": [10], "trunk_lr": [0.01], "head_lr": [0.1], "epochs": 1}
    )
    tuned = evaluation_request(tuning, "test")
    few = Component("fashion_mnist", {"num_ssl_images": 100, "num_validation_images": 50})
    far = evaluation_request(PlannedEvaluation("far", {"num_neighbours": 5}, "knn", few), "test")
    requests = (*required_evaluations(tiny_plan(), Phase.CONFIRM), tuned, far, statistics)
    spec = continuation(tiny_plan(), "base")
    folders = {"far": data_folder()}
    attempt = submit(shared_home, spec, executor, evaluations=requests, evaluation_folders=folders)
    assert wait_for_end(attempt) == "finished"
    details = read_json(attempt.run.evaluations / f"{statistics.key}.json")["details"]
    assert details["num_images"] == 10_000 and np.shape(details["correlation"]) == (4, 4)
    for request in requests[:-1]:
        assert "details" not in read_json(attempt.run.evaluations / f"{request.key}.json")
    result = read_json(attempt.run.evaluations / f"{tuned.key}.json")
    assert result["weights_sha256"] == weights_of(attempt.run) and 0 < result["metrics"]["top1_10pct"] < 100
    transferred, own = (read_json(attempt.run.evaluations / f"{request.key}.json") for request in (far, requests[1]))
    assert transferred["evaluation"] == far.evaluation.as_json() and len(transferred["dataset_fingerprint"]) == 64
    assert 0 < transferred["metrics"]["top1"] < own["metrics"]["top1"], "fewer neighbours to choose from"
    assert transferred["labels_sha256"] != own["labels_sha256"]
    base = shared_home.base(base_spec(tiny_plan(), 1).run_id)
    paired = {"base_weights": weights_of(base), "loaded_weights": weights_of(base)}
    assert read_json(attempt.run.trained)["paired"] == paired
    assert weights_of(attempt.run) == weights_of(base) and not steps_of(attempt.run)
    assert hashlib.sha256(attempt.run.weights.read_bytes()).hexdigest() == weights_of(base), "copies were tuned"


def test_fine_tuning_is_left_in_the_middle_and_begun_again(shared_home: HomePaths, executor: LocalExecutor) -> None:
    long = PlannedEvaluation("fine_tuning", {"label_percent": [100], "epochs": 10_000, "batch_size": 50})
    spec = continuation(tiny_plan(), "base", seed=101)
    first = submit(shared_home, spec, executor, evaluations=[evaluation_request(long, "test")])
    wait_for_event(first, "trained")
    time.sleep(1)
    os.kill(pid_of(first), signal.SIGTERM)
    assert wait_for_end(first) == "stopped"
    assert events_of(first)[-1]["reason"] == "SIGTERM"
    assert not list(first.run.evaluations.glob("fine_tuning-*"))
    knn = required_evaluations(tiny_plan(), Phase.CONFIRM)[1:]
    assert wait_for_end(submit(shared_home, spec, executor, evaluations=knn)) == "finished"


def failure_of(attempt: AttemptPaths) -> dict[str, Any]:
    assert wait_for_end(attempt) == "failed"
    return events_of(attempt)[-1]


def test_divergence_is_an_outcome(home: HomePaths, executor: LocalExecutor) -> None:
    failure = failure_of(submit(home, pretraining(2, **{"base.optimizer.lr": 1e30}), executor))
    assert failure["kind"] == "diverged" and failure["message"].startswith("step ")
    assert failure["traceback"] is None


def test_of_long_runs_some_steps_are_kept_and_a_divergence_is_seen_between_them(
    home: HomePaths, executor: LocalExecutor, uninterrupted: AttemptPaths
) -> None:
    thinned = submit(home, LONG, executor, log_every=7)
    assert wait_for_end(thinned) == "finished"
    kept = [step for _, step in steps_of(thinned.run)]
    assert kept == sorted({1, *range(7, 81, 7), *range(10, 81, 10)})
    assert metrics_by_step(thinned) == [pair for pair in metrics_by_step(uninterrupted) if pair[0] in kept]
    diverged = submit(home, pretraining(2, **{"base.optimizer.lr": 1e30}), executor, log_every=1000)
    failure = failure_of(diverged)
    step = int(failure["message"].removeprefix("step ").partition(":")[0])
    assert failure["kind"] == "diverged" and 1 < step < 10
    assert step in [step for _, step in steps_of(diverged.run)], "what led to it is there to be read"


def test_missing_images_are_named(home: HomePaths, executor: LocalExecutor, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    failure = failure_of(submit(home, LONG, executor, folder=tmp_path / "empty"))
    assert failure["kind"] == "data" and "train-images-idx3-ubyte" in failure["message"]


def test_a_bug_keeps_its_traceback(home: HomePaths, executor: LocalExecutor) -> None:
    attempt = submit(home, pretraining(1), Nowhere())
    spec = read_json(attempt.run.spec)
    spec["training"]["method"]["params"]["no_such_field"] = 1
    write_json(attempt.run.spec, spec)
    executor.submit(attempt)
    failure = failure_of(attempt)
    assert failure["kind"] == "error" and "no_such_field" in failure["message"]
    assert "Traceback (most recent call last)" in failure["traceback"]


def test_a_base_that_is_not_there_is_named(home: HomePaths, executor: LocalExecutor) -> None:
    failure = failure_of(submit(home, continuation(tiny_plan()), executor))
    assert failure["kind"] == "error" and str(home.bases) in failure["message"]
