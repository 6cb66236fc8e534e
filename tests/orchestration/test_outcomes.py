"""Which arms came to nothing: the same by files of runs, as status reads them, and by frames, as the report does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from analysis.frames import load_study
from analysis.outcomes import fruitless_arms
from analysis.report import write_report
from study.orchestration.status import study_status
from study.paths import HomePaths, StudyPaths
from study.plan.expand import confirm_specs, tune_specs
from study.plan.fruitless import sentences, without_result
from study.plan.model import Confirm, Plan
from tests.fakes.study_home import StudyHome, make_plan, trial_params, without


def plan() -> Plan:
    """Three searches, and an arm that inherits from one of them."""
    own = make_plan(confirm=Confirm((1, 2), (1,)))
    e2mc = own.arm("e2mc")
    arms = (own.arm("base"), own.arm("continued"), e2mc, without(e2mc, "entropy", inherits=True), own.arm("mmcr"))
    return replace(own, arms=arms, contrasts=(("e2mc", "continued"), ("mmcr", "continued")))


@pytest.fixture
def home(tmp_path: Path) -> StudyHome:
    return StudyHome(tmp_path / "toy", plan(), lambda arm, base, metric: 60.0 + len(arm) % 3 * base)


def lose_search(home: StudyHome, arm: str, numbers: tuple[int, ...] = (0, 1), kind: str = "diverged") -> None:
    for number in numbers:
        (spec,) = tune_specs(home.plan, home.plan.arm(arm), trial_params(home.plan.arm(arm), number))
        home.write_failed_run(spec, kind)
        home.write_trial(arm, number, "infeasible", None, [spec.run_id])


def build(home: StudyHome, *lost: str) -> None:
    """All arms but those whose searches are lost."""
    home.write_plan()
    for arm in home.plan.arms:
        if arm.name in lost:
            lose_search(home, arm.name)
        elif arm.parent not in lost:
            home.write_search(arm)
            for spec in confirm_specs(home.plan, arm, home.winner(arm)):
                home.write_run(spec)


def said(home: StudyHome) -> list[str]:
    """What status and the report say alike."""
    frames = load_study(home.root)
    by_frames = sentences(fruitless_arms(frames.everything, frames.trials, frames.plan), frames.plan)
    status = study_status(HomePaths(home.root.parent), home.root.name)
    assert list(status.without_result) == by_frames
    assert all(sentence in status.as_text() for sentence in by_frames)
    return by_frames


def test_a_study_with_results_says_nothing(home: StudyHome) -> None:
    build(home)
    assert said(home) == []
    assert "No result" not in write_report(home.root).text


def test_a_search_without_a_winner(home: StudyHome) -> None:
    """In the state line, the findings, the tables of winners and of failures, the provenance and on the page."""
    build(home, "e2mc")
    what, advice = said(home)
    assert what.startswith(
        "e2mc has no winner: all 2 trials diverged (loss is nan). Tried: entropy_weight 0.5, 0.45 of ["
    )
    assert what.endswith("It was not confirmed, and neither was e2mc-no-entropy.")
    assert advice.startswith("To try other values, add to the command: study=toy-2 'arms.e2mc.start={")
    report, folder = write_report(home.root), StudyPaths(home.root).report
    assert "6 of 10 confirm runs completed" in report.text
    assert "No result for e2mc, e2mc-no-entropy." in " ".join(report.text.split())
    assert f"\n{what}\n{advice}\n" in report.text, "not wrapped, so that it can be copied"
    for name in ("report.md", "report.html"):
        text = (folder / name).read_text()
        assert "No result for e2mc, e2mc-no-entropy." in text
        assert "e2mc has no winner: all 2 trials diverged (loss is nan)" in text
        assert "confirm, not run: " in text and "not there yet" not in text
    assert "| e2mc | – | – | – | no winner: all 2 trials diverged |" in (folder / "winners.md").read_text()
    assert "| e2mc-no-entropy | – | – | – | no winner of e2mc |" in (folder / "winners.md").read_text()
    assert "e2mc-b1-c1 | confirm | not run | 0 | – | no winner: all 2 trials" in (folder / "failures.md").read_text()


def test_a_search_that_goes_on_has_not_lost_yet(home: StudyHome) -> None:
    build(home, "e2mc")
    home.plan = replace(home.plan, tune=replace(home.plan.tune, trials_per_arm=3))
    home.write_plan()
    assert said(home) == []
    assert "no winner yet" in (
        write_report(home.root).text and (StudyPaths(home.root).report / "winners.md").read_text()
    )


def test_no_arm_has_a_winner(home: StudyHome) -> None:
    """Then the learning rate, which all arms search, is lowered as well."""
    build(home, "continued", "e2mc", "mmcr")
    assert "tune.shared={continuation.optimizer.lr: {" in said(home)[-1]


def test_all_confirming_runs_of_an_arm_diverge(home: StudyHome) -> None:
    build(home, "mmcr")
    for number in (0, 1):
        home.write_trial("mmcr", number, "complete", 60.0 + number)
    for spec in confirm_specs(home.plan, home.plan.arm("mmcr"), home.winner(home.plan.arm("mmcr"))):
        home.write_failed_run(spec)
    what, advice = said(home)
    assert what == "mmcr has no result: all 2 confirming runs diverged (loss is nan), with weight 0.09, lr 0.0009."
    assert "'arms.mmcr.space={weight: {" in advice
    frames = load_study(home.root)
    found = fruitless_arms(frames.everything, frames.trials, frames.plan)
    assert without_result(found) == {"mmcr": "no result: all 2 confirming runs diverged"}
    assert "Incomplete, completed confirm runs: mmcr 0/2 (2 diverged)." in write_report(home.root).text


def test_one_confirming_run_of_two_is_no_loss_of_the_arm(home: StudyHome) -> None:
    build(home, "mmcr")
    for number in (0, 1):
        home.write_trial("mmcr", number, "complete", 60.0 + number)
    first, second = confirm_specs(home.plan, home.plan.arm("mmcr"), home.winner(home.plan.arm("mmcr")))
    home.write_failed_run(first)
    home.write_run(second)
    assert said(home) == []


def test_memory_that_does_not_suffice(home: StudyHome) -> None:
    build(home, "mmcr")
    for run in StudyPaths(home.root).existing_runs():
        events = run.attempt(1).events
        if run.root.name.startswith("mmcr-"):
            events.write_text(events.read_text().replace('"diverged"', '"memory"'))
    assert "mmcr has no winner: all 2 trials ran out of memory" in said(home)[0]
    assert said(home)[1].endswith("study=toy-2 'numerics.micro_batch_size=125'")
