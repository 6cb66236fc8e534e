"""The real command over runs that stop in the middle, and over evaluations that are slow and nothing else."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from study.journal.endings import EndKind
from study.journal.files import read_json_or_none
from study.journal.heartbeat import Heartbeat, Stage
from study.journal.replay import replay_run
from study.paths import AttemptPaths
from tests.fakes.command import ONE_EVALUATION, Sweep, pid_of
from tests.fakes.tiny_study import events_of, wait_for

# An evaluation of some 20 seconds where nothing else runs, four times the patience with it.
SLOW = "evaluations: {fine_tuning: {label_percent: [100], epochs: 60, batch_size: 50}, knn: {}}\n"
PATIENCE_S = 5


@pytest.mark.slow
def test_what_stops_is_noticed_wherever_and_what_is_slow_is_left_alone(
    sweep: Callable[..., Sweep], tmp_path: Path
) -> None:
    site = tmp_path / "site.yaml"
    site.write_text(f"slots: 2\nhang_patience_s: {PATIENCE_S}\nquiet_patience_s: {PATIENCE_S}\n")
    untuned = ("tune=none", "arms.uniformity={criterion: uniformity, strength: 0.2}", "confirm.base_seeds=[1]")
    study = sweep(*untuned, "continuation.epochs=40")
    study.text = ONE_EVALUATION.replace("evaluations: {knn: {}}\n", SLOW)
    command = study.start("--site", str(site))
    starting = study.wait_until_claimed(1)[0]
    os.kill(pid_of(starting), signal.SIGSTOP)
    training = wait_for(lambda: one_at(study, Stage.TRAINING), "a training")
    os.kill(pid_of(training), signal.SIGSTOP)
    evaluating = wait_for(lambda: one_at(study, Stage.EVALUATING, training), "an evaluation")
    os.kill(pid_of(evaluating), signal.SIGSTOP)
    assert command.wait(600) == 0, command.output
    attempts = [(run.attempt(a.number), a) for run in study.runs() for a in replay_run(run).attempts]
    verdicts = {paths: attempt.verdict for paths, attempt in attempts if attempt.verdict is not None}
    stopped = (starting, training, evaluating)
    assert {paths: ending.kind for paths, ending in verdicts.items()} == dict.fromkeys(stopped, EndKind.HUNG)
    assert "before the first step without a sign of work" in verdicts[starting].message
    assert "no step after step" in verdicts[training].message
    assert "evaluating fine_tuning-test-" in verdicts[evaluating].message
    assert max(map(slowest_s, study.attempts())) > 2 * PATIENCE_S, "no patience was tried"


def one_at(study: Sweep, stage: Stage, other: AttemptPaths | None = None) -> AttemptPaths | None:
    """An attempt in the middle of a stage, at a run of the study other than that of `other`."""
    for run in study.study.existing_runs():
        for attempt in run.existing_attempts()[-1:]:
            beat = Heartbeat.from_json(read_json_or_none(attempt.heartbeat))
            is_in_the_middle = beat.what.startswith("fine_tuning") or 0 < beat.step < beat.num_steps - 10
            if beat.phase is stage and is_in_the_middle and (other is None or run != other.run):
                return attempt
    return None


def slowest_s(attempt: AttemptPaths) -> float:
    """Seconds of the first evaluation of an attempt."""
    times = {event["event"]: event["t"] for event in reversed(events_of(attempt))}
    return times.get("evaluated", 0.0) - times["trained"] if "trained" in times else 0.0
