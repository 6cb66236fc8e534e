"""Seeds that come later, hours that run out, and results that another study has: through the real command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from study.journal.files import read_json
from study.journal.replay import replay_run
from study.plan.model import Plan
from tests.fakes.command import Command, Sweep
from tests.fakes.tiny_study import weights_of

MakeSweep = Callable[..., Sweep]
FEW = ("confirm.base_seeds=[1]", "tune=none", "arms.uniformity={criterion: uniformity, weight: 0.5}")


def finish(command: Command) -> str:
    assert command.wait() == 0, command.output
    return command.output


def test_seeds_may_be_added_and_another_study_takes_over_what_is_there(sweep: MakeSweep, tmp_path: Path) -> None:
    first = sweep(*FEW)
    finish(first.start())
    more = sweep("confirm.base_seeds=[1, 2]", *FEW[1:])
    said = finish(more.start())
    assert "base seeds 2 added after 3 confirming runs had been evaluated; the report says so" in said
    stored = Plan.from_json(read_json(more.study.plan))
    (record,) = stored.amendments
    assert (record.before.base_seeds, stored.confirm.base_seeds, record.num_seen) == ((1,), (1, 2), 3)
    page = (more.study.report / "report.html").read_text()
    assert "Extended after a look" in page and "Pairing audited" in page
    runs = list(more.study.existing_runs())
    assert len(runs) == 6 and all(len(run.existing_attempts()) == 1 for run in runs), "nothing was done twice"

    twin = sweep("study=twin", "confirm.base_seeds=[1, 2]", *FEW[1:])
    finish(twin.start())
    for run in runs:
        same = twin.study.run(run.root.name)
        assert weights_of(same) == weights_of(run) and not run.reused.exists()
        assert {k: v for k, v in read_json(same.reused).items() if k != "t"} == {
            "study": "tiny",
            "run_id": run.root.name,
        }
        assert read_json(same.spec)["labels"]["study"] == "twin"
    for name in ("comparison.csv", "contrasts.csv"):
        assert (twin.study.report / name).read_bytes() == (more.study.report / name).read_bytes()


@pytest.mark.slow
def test_nothing_is_taken_over_when_all_is_to_be_fresh(sweep: MakeSweep) -> None:
    first, fresh = sweep(*FEW), sweep("study=fresh", *FEW)
    fresh.options = ("--fresh",)
    for each in (first, fresh):
        finish(each.start())
    names = {run.root.name for run in first.study.existing_runs()}
    assert names == {run.root.name for run in fresh.study.existing_runs()}
    assert not any(run.reused.exists() for run in fresh.study.existing_runs())


def test_hours_that_run_out(sweep: MakeSweep) -> None:
    study = sweep(*FEW)
    study.options = ("--max-hours", "0.000001")
    command = study.start()
    assert command.wait() == 130
    assert "reach --max-hours" in command.output and "nothing is lost. To carry on" in command.output
    assert not study.study.finished.exists()
    study.options = ("--max-hours", "100")
    finish(study.start())


@pytest.mark.slow
def test_trials_that_fall_behind_are_pruned_and_the_others_are_as_without_pruning(
    sweep: MakeSweep, tmp_path: Path
) -> None:
    options = ("continuation.epochs=2", "confirm.base_seeds=[1]", "tune.sampler=random")
    pruned = sweep(*options, "tune.trials_per_arm=9", "tune.pruning=median")
    finish(pruned.start())
    ended = []
    for run in pruned.study.existing_runs():
        (attempt,) = replay_run(run).attempts
        request = read_json(run.attempt(1).job)["request"]["pruning"]
        assert (request is None) == (attempt.job["phase"] == "confirm")
        if request is not None:
            threshold = request["thresholds"].get("1")
            assert list(attempt.interim) == [1]
            is_behind = threshold is not None and attempt.interim[1] < threshold
            assert is_behind == (attempt.failure is not None and attempt.failure["kind"] == "pruned")
            ended.append(is_behind)
    trials = [read_json(path) for path in pruned.study.trials("uniformity")]
    assert [t["state"] for t in trials].count("infeasible") == sum(ended) and len(trials) == 9, "they count"
    report = (pruned.study.report / "report.md").read_text()
    assert f"{sum(ended)} of {len(ended)} tuning runs; they count in the budget" in report

    plain = sweep(*options, "tune.trials_per_arm=1", home=tmp_path / "plain")
    finish(plain.start())
    first = [run for run in plain.study.existing_runs() if read_json(run.spec)["labels"]["phase"] == "tune"]
    assert first and all(weights_of(run) == weights_of(pruned.study.run(run.root.name)) for run in first)
