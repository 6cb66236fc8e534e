"""A process computes nothing with other code than its job names, and goes on with nothing that other code has begun."""

from __future__ import annotations

from study.execution.local import LocalExecutor
from study.journal.files import read_json, write_json
from study.journal.replay import replay_attempt
from study.paths import AttemptPaths, HomePaths
from study.plan.expand import required_evaluations
from study.plan.model import Phase
from study.plan.spec import RunSpec
from study.provenance.identity import evaluation_code, training_code
from study.training.checkpoint import load_checkpoint, save_checkpoint
from study.worker.entry import run_attempt
from tests.fakes.tiny_study import (
    Nowhere,
    continuation,
    events_of,
    pretraining,
    submit,
    tiny_plan,
    wait_for_end,
    wait_for_event,
)


def edited(attempt: AttemptPaths, training: str | None = None, evaluation: str | None = None) -> AttemptPaths:
    """The job as if it had been submitted with other code."""
    job = read_json(attempt.job)
    code = job["code"]
    evaluations = {key: evaluation or value for key, value in code["evaluations"].items()}
    write_json(attempt.job, {**job, "code": {"training": training or code["training"], "evaluations": evaluations}})
    return attempt


def failure(attempt: AttemptPaths) -> tuple[str, str]:
    assert run_attempt(str(attempt.root)) == 1
    (event,) = events_of(attempt, "failed")
    assert event["traceback"] is None and not events_of(attempt, "step") and not attempt.run.trained.exists()
    return event["kind"], event["message"]


def test_code_that_was_edited_after_the_start_trains_nothing(home: HomePaths) -> None:
    kind, message = failure(edited(submit(home, pretraining(1), Nowhere()), training="0" * 64))
    assert kind == "code" and "the code of its training was edited after the study was started" in message
    assert "start the same command again" in message


def test_an_evaluation_that_was_edited_is_named(home: HomePaths) -> None:
    plan = tiny_plan()
    requests = required_evaluations(plan, Phase.CONFIRM)
    attempt = submit(home, continuation(plan), Nowhere(), evaluations=requests)
    kind, message = failure(edited(attempt, evaluation="0" * 64))
    assert kind == "code" and "evaluation linear_probe, evaluation knn was edited" in message


def test_records_name_the_code_of_training_and_evaluation(home: HomePaths, executor: LocalExecutor) -> None:
    plan = tiny_plan()
    base = submit(home, pretraining(1), executor)
    assert wait_for_end(base) == "finished"
    requests = required_evaluations(plan, Phase.CONFIRM)
    attempt = submit(home, continuation(plan), executor, evaluations=requests)
    assert wait_for_end(attempt) == "finished"
    spec = RunSpec.from_json(read_json(attempt.run.spec))
    assert read_json(attempt.run.trained)["code"] == training_code(spec.training).hash
    for request in requests:
        record = read_json(attempt.run.evaluations / f"{request.key}.json")
        assert record["code"] == evaluation_code(request.evaluation, spec.training).hash
    (started,) = events_of(attempt, "started")
    assert started["code"] == training_code(spec.training).hash and "uncommitted" in started


def test_a_checkpoint_of_other_code_is_passed_over(home: HomePaths, executor: LocalExecutor) -> None:
    spec = pretraining(8)
    first = submit(home, spec, executor, checkpoint_every_s=0.0)
    wait_for_event(first, "checkpoint")
    executor.stop(first, replay_attempt(first))
    assert wait_for_end(first) == "stopped"
    state = load_checkpoint(first.checkpoint)
    assert state["code"] == training_code(spec.training).hash and state["step"] > 0
    for code in ({"code": "0" * 64}, {}):
        save_checkpoint(first.checkpoint, {**{k: v for k, v in state.items() if k != "code"}, **code})
        attempt = submit(home, spec, executor)
        assert wait_for_event(attempt, "started")["resumed_step"] == 0
        executor.stop(attempt, replay_attempt(attempt))
        wait_for_end(attempt)
        attempt.checkpoint.unlink()
    save_checkpoint(first.checkpoint, state)
    assert wait_for_event(submit(home, spec, executor), "started")["resumed_step"] == state["step"]
