"""The real command is killed, interrupted and started again: nothing is lost, nothing is done twice."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from study.journal.files import read_json
from tests.fakes.command import ONE_MORE_EVALUATION, Command, Sweep, pid_of
from tests.fakes.folders import times_of
from tests.fakes.tiny_study import events_of, is_running, steps_of, wait_for, weights_of

LONG = "continuation.epochs=6"  # a continuation takes seconds, so that it can be hit in the middle
NUM_RUNS = 3 + 2 + 2 * 3  # bases, trials, confirming runs

MakeSweep = Callable[..., Sweep]


def check_complete(sweep: Sweep) -> None:
    """Everything the plan asks for is there, once."""
    runs = sweep.runs()
    assert len({run.root.name for run in runs}) == len(runs) == NUM_RUNS
    assert all(run.trained.exists() and run.weights.exists() for run in runs)
    trials = [read_json(path) for path in sweep.study.trials("uniformity")]
    assert [(trial["number"], trial["state"]) for trial in trials] == [(0, "complete"), (1, "complete")]
    assert len({run_id for trial in trials for run_id in trial["run_ids"]}) == 2
    assert not sweep.study.lease.exists() and not sweep.study.stop.exists()


def num_attempts(sweep: Sweep) -> dict[str, int]:
    return {run.root.name: len(run.existing_attempts()) for run in sweep.runs()}


def weights(sweep: Sweep) -> dict[str, str]:
    return {run.root.name: weights_of(run) for run in sweep.runs()}


def tables(sweep: Sweep) -> Mapping[str, bytes]:
    return {name: (sweep.study.report / name).read_bytes() for name in ("comparison.csv", "contrasts.csv")}


def copied(home: Path, target: Path) -> Path:
    """A copy of a home for a test that adds to it."""
    return Path(shutil.copytree(home, target))


def test_the_orchestrator_is_killed_and_its_runs_are_adopted(sweep: MakeSweep, finished: tuple[Sweep, Command]) -> None:
    study = sweep()
    first = study.start("--slots", "2")
    survivors = study.wait_until_claimed(2)
    for attempt in survivors:
        os.kill(pid_of(attempt), signal.SIGSTOP)  # so that they are still there when the successor comes
    first.kill()
    first.wait()
    assert study.study.lease.exists(), "there was no time to give it back"

    second = study.start("--slots", "2")
    wait_for(lambda: "The lease was left by" in second.output, "the second orchestrator")
    assert f"left by pid {first.pid} on" in second.output
    third = study.start()
    assert third.wait() == 2
    assert re.search(rf"error: .*tiny is orchestrated by pid {second.pid} on .*last beat", third.output)
    assert "python -m study stop tiny" in third.output

    wait_for(lambda: "running:" in second.output, "its first look")
    assert all(is_running(pid_of(attempt)) for attempt in survivors)
    assert num_attempts(study) == {attempt.run.root.name: 1 for attempt in survivors}, "both slots are taken"
    for attempt in survivors:
        os.kill(pid_of(attempt), signal.SIGCONT)
    assert second.wait() == 0, second.output
    check_complete(study)
    assert set(num_attempts(study).values()) == {1}
    assert weights(study) == weights(finished[0])
    assert tables(study) == tables(finished[0])


def test_a_finished_study_answers_again_without_starting_anything(finished: tuple[Sweep, Command]) -> None:
    study, command = finished
    check_complete(study)
    assert set(num_attempts(study).values()) == {1}
    before = times_of(study.home_root)
    again = study.start()
    assert again.wait() == 0
    assert again.output and again.output.strip() in command.output
    assert times_of(study.home_root) == before


def test_an_added_evaluation_is_all_that_is_done(
    sweep: MakeSweep, finished: tuple[Sweep, Command], tmp_path: Path
) -> None:
    study = sweep(home=copied(finished[0].home_root, tmp_path / "home"))
    study.text = ONE_MORE_EVALUATION
    before = weights(study), {run.root.name: steps_of(run) for run in study.runs()}
    command = study.start()
    assert command.wait() == 0, command.output
    check_complete(study)
    assert (weights(study), {run.root.name: steps_of(run) for run in study.runs()}) == before
    for run in study.runs():
        confirms = run.spec.exists() and read_json(run.spec)["labels"]["phase"] == "confirm"
        assert len(run.existing_attempts()) == (2 if confirms else 1), run.root
        if confirms:
            kinds = [event["event"] for event in events_of(run.attempt(2))]
            assert kinds == ["started", "evaluated", "finished"]
    assert "linear_probe" in (study.study.report / "comparison.csv").read_text(encoding="utf-8")


def test_ctrl_c_stops_everything_and_says_how_to_go_on_and_a_killed_worker_is_replaced(
    sweep: MakeSweep, finished: tuple[Sweep, Command], tmp_path: Path
) -> None:
    home = copied(finished[0].home_root, tmp_path / "home")
    study = sweep("study=interrupted", LONG, home=home)
    first = study.start("--slots", "2")
    study.wait_until_training()
    first.press_ctrl_c()
    assert first.wait() == 130
    assert "Stopped; nothing is lost. To carry on: python " in first.output
    assert first.output.strip().endswith(f"tiny.yaml study=interrupted {LONG} --slots 2")
    assert "Traceback" not in first.output
    stopped = [attempt for attempt in study.attempts() if events_of(attempt)[-1]["event"] == "stopped"]
    assert stopped
    for attempt in stopped:
        assert events_of(attempt)[-1]["reason"] == "SIGTERM" and not is_running(pid_of(attempt))
        if not attempt.run.trained.exists():
            assert events_of(attempt, "checkpoint")[-1]["step"] == events_of(attempt, "step")[-1]["step"]
            assert attempt.checkpoint.exists()
    assert not study.study.lease.exists()

    second = study.start("--slots", "2")
    victim = study.wait_until_training()
    os.kill(pid_of(victim), signal.SIGKILL)
    assert second.wait() == 0, second.output
    check_complete(study)
    assert events_of(victim)[-1]["event"] not in ("finished", "stopped", "failed")
    assert victim.run.attempt(victim.number + 1).trained.exists()
    most = {run.root.name: 1 for run in study.runs()}
    for attempt in (*stopped, victim):
        most[attempt.run.root.name] += 1
    assert num_attempts(study) == most, "nothing is tried more often than needed"
    for run in study.runs():
        repeated = {step for step, n in Counter(step for _, step in steps_of(run)).items() if n > 1}
        assert not repeated or run == victim.run, f"{run.root} has repeated {repeated}"


def test_stop_command(sweep: MakeSweep, finished: tuple[Sweep, Command], tmp_path: Path) -> None:
    """Through the orchestrator while there is one, else directly to the runs that survived it."""
    home = copied(finished[0].home_root, tmp_path / "home")
    study = sweep("study=stopped", "continuation.epochs=200", home=home)
    first = study.start("--slots", "1")
    attempt = study.wait_until_training()
    asked = study.manage("stop")
    assert asked.output.startswith(f"Asked the orchestrator (pid {first.pid} on ")
    assert first.wait() == 130
    assert events_of(attempt)[-1]["event"] == "stopped" and attempt.checkpoint.exists()

    second = study.start("--slots", "1")
    attempt = study.wait_until_training()
    assert attempt.number == 2
    second.kill()
    second.wait()
    assert study.manage("stop").output == "Nobody orchestrates stopped; 1 run was asked to stop.\n"
    study.wait_until_quiet()
    last = events_of(attempt)[-1]
    assert (last["event"], last["reason"]) == ("stopped", "stop file")
    assert study.manage("stop").output == "Nobody orchestrates stopped; nothing of it runs.\n"


def test_bases_are_stopped_like_any_run(sweep: MakeSweep) -> None:
    """At the first submission, when the fork server is still importing; and by command once nobody orchestrates."""
    study = sweep("base.epochs=200")
    first = study.start("--slots", "2")
    wait_for(lambda: study.home.bases.is_dir() and list(study.home.bases.rglob("job.json")), "a submission")
    first.press_ctrl_c()
    assert first.wait() == 130, first.output
    assert "nothing is lost" in first.output
    for attempt in study.attempts():
        last = [event["event"] for event in events_of(attempt)][-1:]
        assert last == ["stopped"] or not attempt.claim.exists(), "no process may be left alone"

    second = study.start("--slots", "2")
    survivors = study.wait_until_claimed(2)
    second.kill()
    second.wait()
    assert study.manage("stop").output == "Nobody orchestrates tiny; 2 runs were asked to stop.\n"
    study.wait_until_quiet()
    for attempt in survivors:
        assert events_of(attempt)[-1]["event"] == "stopped" and attempt.checkpoint.exists()


@pytest.mark.slow
def test_two_studies_at_once_share_their_bases(sweep: MakeSweep, finished: tuple[Sweep, Command]) -> None:
    studies = [sweep("study=one"), sweep("study=two")]
    commands = [study.start("--slots", "1") for study in studies]
    for study, command in zip(studies, commands, strict=True):
        assert command.wait() == 0, command.output
        check_complete(study)
        again = weights(study)
        assert all(again[run] == sha256 for run, sha256 in weights(finished[0]).items() if run in again)
    assert set(num_attempts(studies[0]).values()) == set(num_attempts(studies[1]).values()) == {1}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_killed_again_and_again(sweep: MakeSweep, finished: tuple[Sweep, Command], seed: int) -> None:
    """Orchestrator and workers die at random instants, fifteen times; the result is that of the undisturbed study."""
    study, chance = sweep(), random.Random(seed)
    for _ in range(15):
        command = study.start("--slots", "3")
        wait_for(lambda command=command: "runs at once" in command.output or not command.is_running, "a start")
        time.sleep(chance.uniform(0, 12))
        if chance.random() < 0.5:
            for attempt in study.attempts():
                if attempt.claim.exists() and is_running(pid_of(attempt)):
                    os.kill(pid_of(attempt), signal.SIGKILL)
                    break
        if command.is_running:
            command.kill(chance.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT]))
        command.wait()
    last = study.start()
    assert last.wait() == 0, last.output
    check_complete(study)
    assert weights(study) == weights(finished[0])
    assert tables(study) == tables(finished[0])


def test_a_base_that_diverges_is_no_finished_study(sweep: MakeSweep) -> None:
    study = sweep("base.optimizer.lr=1.0e+30")
    command = study.start()
    assert command.wait() == 3
    assert command.output.count("diverged: step ") >= 3
    assert "3 bases cannot be trained like this" in command.output
    assert not study.study.finished.exists() and not list(study.study.existing_runs())
