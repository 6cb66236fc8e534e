"""The outcome of a run, read quickly, is what a complete replay says."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

import pytest

from study.errors import JournalError
from study.journal.endings import Ending, EndKind
from study.journal.files import create_once, write_json
from study.journal.final import outcome
from study.journal.replay import AttemptState, AttemptStatus, RunState, replay_run
from study.journal.summary import final_state
from tests.fakes.published_study import START_S, FakeRun, FakeStudy, home_in

FIELDS = ("number", "status", "started", "last_event", "failure", "verdict", "cpu_s")


def finished(run: FakeRun) -> None:
    run.finish()


def under_way(run: FakeRun) -> None:
    run.attempt().steps(1, 5).checkpoint(3).steps(6, 7)


def never_began(run: FakeRun) -> None:
    paths = run.paths.attempt(1)
    paths.root.mkdir(parents=True)
    write_json(paths.job, {})


def given_back(run: FakeRun) -> None:
    never_began(run)
    create_once(run.paths.attempt(1).claim, {"revoked": True})


def diverged(run: FakeRun) -> None:
    run.attempt().steps(1, 2).event("failed", kind="diverged", message="loss is nan", cpu_s=3.5)


def lost_then_resumed(run: FakeRun) -> None:
    attempt = run.attempt().steps(1, 4).event("checkpoint", step=4, cpu_s=2.25).steps(5, 6)
    write_json(attempt.paths.verdict, Ending(EndKind.NODE_LOST, "node 7").as_json())
    run.attempt(resumed_step=4).steps(5, 8).trained(8).event("finished", cpu_s=1.5)
    run.evaluate("knn-test-1a2b3c4d", {"top1": 50.0})


def torn(run: FakeRun) -> None:
    attempt = run.attempt().steps(1, 3)
    with attempt.paths.events.open("ab") as file:
        file.write(b'{"t": 1.0, "event": "failed", "cpu_s": 99.0')


def long(run: FakeRun) -> None:
    run.attempt().steps(1, 400, num_metrics=20).event("checkpoint", step=400, cpu_s=7.0)


def only_torn(run: FakeRun) -> None:
    attempt = run.attempt()
    attempt.paths.events.write_bytes(b'{"t": 1.0')


def no_attempt(run: FakeRun) -> None:
    pass


@pytest.mark.parametrize(
    "story",
    [finished, under_way, never_began, given_back, diverged, lost_then_resumed, torn, long, only_torn, no_attempt],
)
def test_agrees_with_replay(story, tmp_path: Path) -> None:
    run = FakeStudy(home_in(tmp_path)).add_run()
    story(run)
    expected, (spec, state) = replay_run(run.paths), final_state(run.paths)
    assert spec == json.loads(run.paths.spec.read_text())
    assert (state.trained, state.evaluations) == (expected.trained, expected.evaluations)
    assert len(state.attempts) == len(expected.attempts)
    for found, known in zip(state.attempts, expected.attempts, strict=True):
        for name in FIELDS:
            assert getattr(found, name) == getattr(known, name), name
    a, b = outcome(state), outcome(expected)
    assert json.dumps(a) == json.dumps(b)
    assert json.loads(json.dumps(a)).keys() == a.keys()


def test_outcome_of_a_run_with_a_history(tmp_path: Path) -> None:
    run = FakeStudy(home_in(tmp_path)).add_run()
    lost_then_resumed(run)
    found = outcome(final_state(run.paths).state)
    assert found.pop("end_t") == START_S + 200 and found.pop("start_t") == START_S + 100
    assert found == {
        "is_trained": True, "failure_kind": "", "failure": "", "num_attempts": 2, "interruptions": "node lost",
        "cpu_s": 3.75, "code": "", "commit": "abc123", "dataset": "", "cpu_model": "", "python": "", "libraries": "",
        "reused": "", "base_weights": "", "data_stream": "", "label_draws": "", "loaded_weights": "",
        "loaded_moments": "", "seen_rows": "", "seen_views": "", "view_sketch": "", "seen_steps": "", "evaluated": "",
        "evaluation_code": "", "uncommitted": "",
    }  # fmt: skip
    assert math.isnan(outcome(RunState())["start_t"])


def test_libraries_are_told_alike_in_whatever_order_they_were_recorded() -> None:
    """Earlier code recorded them in another order, which is no other set of libraries."""
    recorded = ({"torch": "2.14", "numpy": "2.4"}, {"numpy": "2.4", "torch": "2.14"})
    attempts = [AttemptState(1, AttemptStatus.FINISHED, {}, started={"libraries": found}) for found in recorded]
    assert {outcome(RunState((attempt,)))["libraries"] for attempt in attempts} == {"numpy 2.4, torch 2.14"}


PAIRED = {
    "base_weights": "w", "order": "o", "augmentation": "a", "loaded_weights": "w", "loaded_moments": "m", "rows": "r",
    "views": "v", "sketch": [0.5, -1.25], "first_step": 1, "last_step": 80, "num_view_steps": 4,
}  # fmt: skip
SEEN = [name for name in PAIRED if name not in ("base_weights", "order", "augmentation")]


def test_what_a_run_saw_is_told_beside_what_it_was_given() -> None:
    draws = {"b": {"labels_sha256": "l", "images_sha256": "i"}, "a": {"labels_sha256": "k"}, "c": {}}
    found = outcome(RunState(trained={"paired": PAIRED}, evaluations=draws))
    assert (found["base_weights"], found["loaded_weights"], found["loaded_moments"]) == ("w", "w", "m")
    assert (found["view_sketch"], found["seen_steps"]) == ("0.5 -1.25", "1-80/4")
    short = {name: hashlib.sha256(name.encode()).hexdigest()[:16] for name in ("oa", "kl", "r", "v", "l", "k", "i")}
    assert (found["seen_rows"], found["seen_views"]) == (short["r"], short["v"])
    assert (found["data_stream"], found["label_draws"]) == (short["oa"], short["kl"])
    assert found["evaluated"] == f"a={short['k']}/ b={short['l']}/{short['i']}"
    assert all(isinstance(value, str) for name, value in found.items() if name in SEEN)

    old = outcome(RunState(trained={"paired": {k: v for k, v in PAIRED.items() if k not in SEEN}}))
    assert (old["base_weights"], old["data_stream"]) == ("w", short["oa"])
    assert not any(old[name] for name in ("loaded_weights", "seen_rows", "seen_views", "view_sketch", "seen_steps"))


def test_data_that_changed_between_attempts_are_told() -> None:
    def found(*fingerprints: str) -> str:
        started = [{"t": 1.0, "dataset_fingerprint": fingerprint} for fingerprint in fingerprints]
        attempts = [
            AttemptState(i, AttemptStatus.STOPPED, {}, started=event) for i, event in enumerate(started, start=1)
        ]
        return str(outcome(RunState(tuple(attempts)))["dataset"])

    assert [found(), found("one"), found("one", "one"), found("one", "two", "one")] == ["", "one", "one", "one two"]


def test_what_is_damaged_is_named(tmp_path: Path) -> None:
    run = FakeStudy(home_in(tmp_path)).add_run().finish()
    run.paths.attempt(1).events.write_bytes(b"nonsense\n")
    with pytest.raises(JournalError, match=r"events\.jsonl:1 is damaged .*move the run's folder away"):
        final_state(run.paths)
    run.paths.attempt(1).events.unlink()
    for file in (run.paths.trained, next(run.paths.evaluations.iterdir()), run.paths.spec):
        content = file.read_bytes()
        for nonsense in (b"{half", b"[1]", b"\xff\xfe"):
            file.unlink()
            file.write_bytes(nonsense)
            with pytest.raises(JournalError, match=f"{file.name} is damaged"):
                final_state(run.paths)
        file.write_bytes(content)
    run.paths.spec.unlink()
    with pytest.raises(FileNotFoundError):
        final_state(run.paths)
