"""What the sweeps at the paper's scale cost, said without data."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from study.amounts import duration
from study.cli.dry_run import describe
from study.orchestration.cost import describe_time, seconds_left
from study.orchestration.forecast import forecast
from study.orchestration.outlook import Outlook, PhaseOutlook, Slots
from study.orchestration.readiness import Ready
from study.orchestration.room import bytes_at_once, bytes_decoded, bytes_kept, bytes_of_weights
from study.paths import HomePaths
from study.plan.load import load_plan
from study.plan.model import Phase, Plan
from tests.fakes.tiny_study import tiny_plan

_SWEEPS = Path(__file__).parents[2] / "sweeps"
_RATE = 1000.0


def plan_of(name: str, *overrides: str) -> Plan:
    return load_plan((_SWEEPS / f"imagenet_{name}.yaml").read_text(), name, overrides)


def described(plan: Plan, home: Path, slots: int = 1) -> str:
    """The text about a plan of which nothing is there."""
    paths = HomePaths(home)
    ready = Ready(plan, None, Outlook(paths).of(plan), bytes_decoded(plan))
    return describe(ready, paths, Slots(slots, "--slots"), _RATE)


@pytest.mark.parametrize("name", ["swav", "vicreg", "simsiam"])
def test_a_dry_run_at_the_papers_scale(name: str, tmp_path: Path) -> None:
    plan = plan_of(name)
    assert plan.unit == "continuation" and len(plan.confirm.continuation_seeds) == 5
    assert plan.imported is not None and plan.imported.family == plan.method.name == name
    text = described(plan, tmp_path)
    tuned, arms = sum(arm.is_tuned for arm in plan.arms), len(plan.arms)
    assert "  prepare     1: 1 to make without training\n" in text
    assert re.search(rf"^  tune +{6 * tuned}: {6 * tuned} to train, about ", text, re.MULTILINE)
    assert re.search(
        rf"^  confirm +{5 * arms}: {5 * (arms - 1)} to train, .*; 5 only to evaluate, ", text, re.MULTILINE
    )
    # Tuning: 195 steps of 512 images, and a pass forward over the pool that costs a sixth of an epoch.
    left = seconds_left(Outlook(HomePaths(tmp_path)).of(plan), forecast(plan, _RATE))
    assert left[Phase.TUNE] == pytest.approx(6 * tuned * (195 * 512 + 100_000 / 6) / _RATE, rel=1e-3)
    # Confirming: ten epochs, passes over both pools, 20 epochs of fine-tuning on 1 % and 10 %, one view of two.
    tuned_images = 20 * (12_712 + 127_117)
    evaluation_s = ((1_271_167 + 413_087) / 6 + tuned_images / 2) / _RATE
    training_s = 10 * 1_271_167 / _RATE  # of all arms but the one that is not continued
    assert left[Phase.CONFIRM] == pytest.approx(5 * ((arms - 1) * training_s + arms * evaluation_s), rel=2e-3)
    assert "Runs of tune have epochs 1, num_ssl_images 100000, num_validation_images 5000, num_classes 100" in text
    assert "decoded" not in text


def test_decoded_photographs_take_room(tmp_path: Path) -> None:
    plan = plan_of("swav", "dataset.crops_from=squares")
    assert bytes_decoded(plan) == (1_281_167 + 105_000) * 3 * 224**2
    assert "209 GB for decoded images" in described(plan, tmp_path)


def test_time_is_divided_by_the_slots_that_are_known_and_never_below_one_run() -> None:
    plan = plan_of("vicreg")
    expected = forecast(plan, _RATE)
    outlook = {phase: PhaseOutlook(number, num_to_train=number) for phase, number in expected.num_runs.items()}
    lines = [*describe_time(outlook, expected, Slots(10, "--slots"), "at 1000 images per second")]
    total = sum(seconds_left(outlook, expected).values())
    assert lines[0].endswith(f"; all {duration(total)} (at 1000 images per second).")
    assert lines[1] == f"Expected: {duration(total / 10)} with 10 slots (--slots)."
    (_, alone) = describe_time(outlook, expected, Slots(1000, "--slots"), "")
    assert alone.startswith(
        f"Expected: {duration(expected.training[Phase.CONFIRM] + expected.evaluating[Phase.CONFIRM])}"
    )


def test_what_is_there_costs_nothing() -> None:
    plan = plan_of("vicreg")
    expected = forecast(plan, _RATE)
    done = {phase: PhaseOutlook(number, num_done=number) for phase, number in expected.num_runs.items()}
    assert not any(seconds_left(done, expected).values()) and not bytes_kept(plan, done) + bytes_at_once(plan, done, 4)
    evaluated = {**done, Phase.CONFIRM: PhaseOutlook(25, num_done=20, num_to_evaluate=5)}
    left = seconds_left(evaluated, expected)
    assert left[Phase.CONFIRM] == pytest.approx(5 * expected.evaluating[Phase.CONFIRM]) and not left[Phase.TUNE]


def test_disk_is_that_of_weights_and_checkpoints() -> None:
    """A base keeps its checkpoint, with two moments of each weight by Adam; runs have one while they train."""
    plan = tiny_plan()
    weights = bytes_of_weights(plan)
    outlook = Outlook(HomePaths(Path("/nowhere"))).of(plan)
    bases, tuning, confirming, evaluated = 3, 2, 4, 2
    assert [one.num_to_train for one in outlook.values()] == [bases, tuning, confirming]
    kept = bases * 4 + tuning + confirming + evaluated
    assert bytes_kept(plan, outlook) == kept * weights
    assert bytes_at_once(plan, outlook, 2) == 2 * 3 * weights
    assert bytes_at_once(plan, outlook, 1000) == (tuning + confirming) * 3 * weights


def test_the_weights_of_the_published_network_are_counted_without_being_made() -> None:
    plan = plan_of("swav")
    backbone = 23_508_032 + 53_120 + 53  # https://docs.pytorch.org/vision: 25,557,032 with fc's 2,049,000; statistics
    head = 2048 * 2048 + 4 * 2048 + 1 + 2048 * 128 + 128 + 128 * 3000 + 2 * 3584 * 128
    assert bytes_of_weights(plan) == 4 * (backbone + head)


def test_small_images_are_not_decoded() -> None:
    assert bytes_decoded(tiny_plan()) == 0
