"""The state of a run is a fold over its files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from study.journal.events import EventWriter
from study.journal.files import create_once, write_json
from study.journal.replay import AttemptState, AttemptStatus, replay_attempt, replay_run, settled_steps
from study.paths import AttemptPaths, RunPaths


def attempt(run: RunPaths, number: int = 1) -> AttemptPaths:
    paths = run.attempt(number)
    paths.root.mkdir(parents=True)
    write_json(paths.job, {"attempt": number})
    return paths


def record(paths: AttemptPaths, *events: tuple[str, dict[str, Any]]) -> AttemptPaths:
    with EventWriter(paths.events) as writer:
        for event, fields in events:
            writer.append(event, **fields)
    return paths


def steps(first: int, last: int) -> list[tuple[str, dict[str, Any]]]:
    return [("step", {"step": step, "metrics": {"train/loss": float(step)}}) for step in range(first, last + 1)]


STARTED = ("started", {"resumed_step": 0})


@pytest.fixture
def run(tmp_path: Path) -> RunPaths:
    return RunPaths(tmp_path / "run")


def test_a_run_without_a_folder_has_no_attempts(run: RunPaths) -> None:
    assert replay_run(run).attempts == () and replay_run(run).last is None


@pytest.mark.parametrize(
    ("claim", "events", "status", "is_over"),
    [
        (None, [], AttemptStatus.INTENDED, False),
        ({"revoked": True}, [], AttemptStatus.REVOKED, True),
        ({"pid": 1}, [], AttemptStatus.STARTED, False),
        ({"pid": 1}, [STARTED, *steps(1, 2)], AttemptStatus.STARTED, False),
        ({"pid": 1}, [STARTED, ("trained", {"step": 2})], AttemptStatus.STARTED, False),
        ({"pid": 1}, [STARTED, ("finished", {})], AttemptStatus.FINISHED, True),
        ({"pid": 1}, [STARTED, ("stopped", {"reason": "SIGTERM"})], AttemptStatus.STOPPED, True),
        ({"pid": 1}, [("failed", {"kind": "data", "message": "no"})], AttemptStatus.FAILED, True),
    ],
)
def test_status(run: RunPaths, claim: Any, events: list[Any], status: AttemptStatus, is_over: bool) -> None:
    paths = record(attempt(run), *events)
    if claim:
        create_once(paths.claim, claim)
    state = replay_attempt(paths)
    assert (state.status, state.status.is_over) == (status, is_over)


def test_a_folder_without_job_was_intended(run: RunPaths) -> None:
    run.attempt(1).root.mkdir(parents=True)
    assert replay_attempt(run.attempt(1)).status is AttemptStatus.INTENDED


def test_a_killed_writer_leaves_a_started_attempt(run: RunPaths) -> None:
    paths = record(attempt(run), STARTED, *steps(1, 3), ("finished", {}))
    create_once(paths.claim, {"pid": 1})
    paths.events.write_bytes(paths.events.read_bytes()[:-5])
    state = replay_attempt(paths)
    assert state.status is AttemptStatus.STARTED and len(state.steps) == 3


def test_facts_of_an_attempt(run: RunPaths) -> None:
    events = [
        ("started", {"resumed_step": 4, "cpu_s": 0.5}), *steps(5, 8), ("checkpoint", {"step": 7, "cpu_s": 2.0}),
        ("failed", {"kind": "diverged", "message": "step 9", "cpu_s": 3.0}),
    ]  # fmt: skip
    paths = record(attempt(run, 2), *events)
    create_once(paths.claim, {"pid": 1})
    state = replay_attempt(paths)
    assert (state.number, state.resumed_step, state.checkpoint_step, state.cpu_s) == (2, 4, 7, 3.0)
    assert state.failure is not None and state.failure["kind"] == "diverged"
    assert [step for step, _, _ in state.steps] == [5, 6, 7, 8] and not state.is_trained


def test_attempts_come_in_the_order_of_their_numbers(run: RunPaths) -> None:
    for number in (10, 2, 1):
        attempt(run, number)
    (run.attempts / "notes").mkdir()
    state = replay_run(run)
    assert [a.number for a in state.attempts] == [1, 2, 10]
    assert state.last is not None and state.last.number == 10


def test_results_of_a_run(run: RunPaths) -> None:
    record(attempt(run), STARTED, ("trained", {"step": 2, "cpu_s": 2.0}), ("finished", {"cpu_s": 5.0}))
    record(attempt(run, 2), ("started", {"resumed_step": 2}), ("finished", {"cpu_s": 1.0}))
    write_json(run.trained, {"attempt": 1})
    run.evaluations.mkdir()
    create_once(run.evaluations / "knn-test-1234.json", {"metrics": {"top1": 1.0}})
    (run.evaluations / ".knn.abc.tmp").touch()
    state = replay_run(run)
    assert state.trained == {"attempt": 1} and state.cpu_s == 6.0
    assert dict(state.evaluations) == {"knn-test-1234": {"metrics": {"top1": 1.0}}}


def test_a_last_word_is_never_seen_without_what_it_stands_for(run: RunPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker ends while its files are being read: attempts are read before results."""
    paths = record(attempt(run), STARTED)
    run.evaluations.mkdir()

    def end_then_replay(of: AttemptPaths, *, with_steps: bool) -> AttemptState:
        create_once(run.evaluations / "knn-test-1234.json", {})
        record(paths, ("finished", {}))
        return replay_attempt(of)

    monkeypatch.setattr("study.journal.replay.replay_attempt", end_then_replay)
    state = replay_run(run)
    assert state.last is not None and state.last.status.is_over
    assert state.evaluations, "or a complete run would look as if it had to be done again"


def _settled(run: RunPaths, *, include_provisional: bool = False) -> list[int]:
    found = settled_steps(replay_run(run).attempts, include_provisional=include_provisional)
    return [step for step, _, _ in found]


def test_steps_after_the_last_checkpoint_are_provisional(run: RunPaths) -> None:
    record(attempt(run), STARTED, *steps(1, 3), ("checkpoint", {"step": 3}), *steps(4, 6))
    assert _settled(run) == [1, 2, 3]
    assert _settled(run, include_provisional=True) == [1, 2, 3, 4, 5, 6]


def test_a_checkpoint_without_its_event_counts_when_somebody_resumed_from_it(run: RunPaths) -> None:
    """Its writer was killed between the two."""
    record(attempt(run), STARTED, *steps(1, 3), ("checkpoint", {"step": 3}), *steps(4, 6))
    record(attempt(run, 2), ("started", {"resumed_step": 5, "resumed_attempt": 1}), *steps(6, 7))
    assert _settled(run) == [1, 2, 3, 4, 5]
    record(attempt(run, 3), ("started", {"resumed_step": 4, "resumed_attempt": 1}), *steps(5, 6))
    assert _settled(run) == [1, 2, 3, 4], "what the third begins anew is provisional again"


def test_all_steps_settle_once_training_is_complete(run: RunPaths) -> None:
    record(attempt(run), STARTED, *steps(1, 6), ("trained", {"step": 6}))
    assert _settled(run) == [1, 2, 3, 4, 5, 6]


def test_a_later_attempt_replaces_what_it_does_again(run: RunPaths) -> None:
    record(attempt(run), STARTED, *steps(1, 3), ("checkpoint", {"step": 3}), *steps(4, 6))
    record(attempt(run, 2), ("started", {"resumed_step": 3}), *steps(4, 5), ("checkpoint", {"step": 5}))
    record(attempt(run, 3), ("started", {"resumed_step": 5}), *steps(6, 8), ("trained", {"step": 8}))
    assert _settled(run) == [1, 2, 3, 4, 5, 6, 7, 8]


def test_an_attempt_that_starts_anew_replaces_everything(run: RunPaths) -> None:
    record(attempt(run), STARTED, *steps(1, 3), ("checkpoint", {"step": 3}))
    record(attempt(run, 2), STARTED, *steps(1, 2))
    assert _settled(run) == [] and _settled(run, include_provisional=True) == [1, 2]


def test_attempts_that_never_started_change_nothing(run: RunPaths) -> None:
    record(attempt(run), STARTED, *steps(1, 3), ("checkpoint", {"step": 3}))
    create_once(attempt(run, 2).claim, {"revoked": True})
    assert _settled(run) == [1, 2, 3]


def test_an_attempt_that_only_evaluates_keeps_the_curve(run: RunPaths) -> None:
    record(attempt(run), STARTED, *steps(1, 3), ("trained", {"step": 3}), ("stopped", {"reason": "SIGTERM"}))
    record(attempt(run, 2), ("started", {"resumed_step": 3}), ("evaluated", {"key": "knn"}), ("finished", {}))
    assert _settled(run) == [1, 2, 3]
