"""What the sweeps at the paper's scale cost, said without data."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from study.cli.dry_run import describe
from study.orchestration.cost import decoded_gb, num_weights
from study.paths import HomePaths
from study.plan.load import load_plan
from study.plan.model import Phase, Plan
from tests.fakes.tiny_study import tiny_plan

_SWEEPS = Path(__file__).parents[2] / "sweeps"
_RATE = 1000.0


def plan_of(name: str, *overrides: str) -> Plan:
    return load_plan((_SWEEPS / f"imagenet_{name}.yaml").read_text(), name, overrides)


@pytest.mark.parametrize("name", ["swav", "vicreg", "simsiam"])
def test_a_dry_run_at_the_papers_scale(name: str, tmp_path: Path) -> None:
    plan = plan_of(name)
    assert plan.unit == "continuation" and len(plan.confirm.continuation_seeds) == 5
    assert plan.imported is not None and plan.imported.family == plan.method.name == name
    text = describe(plan, HomePaths(tmp_path), _RATE)
    tuned, arms = sum(arm.is_tuned for arm in plan.arms), len(plan.arms)
    for phase, runs in ((Phase.PREPARE, 1), (Phase.TUNE, 6 * tuned), (Phase.CONFIRM, 5 * arms)):
        assert re.search(rf"^  {phase} +{runs},", text, re.MULTILINE), text
    # Tuning: 195 steps of 512 images, and a pass forward over the pool that costs a sixth of an epoch.
    tuning, confirming = re.findall(r"tune ([\d,.]+), confirm ([\d,.]+);", text)[0]
    tune_s = (195 * 512 + 100_000 / 6) / _RATE
    assert float(tuning) == pytest.approx(6 * tuned * tune_s / 3600, abs=0.06)
    # Confirming: ten epochs, passes over both pools, 20 epochs of fine-tuning on 1 % and 10 %, one view of two.
    tuned_images = 20 * (12_712 + 127_117)
    evaluation_s = ((1_271_167 + 413_087) / 6 + tuned_images / 2) / _RATE
    training_s = 10 * 1_271_167 / _RATE  # of all arms but the one that is not continued
    assert float(confirming) == pytest.approx(5 * ((arms - 1) * training_s + arms * evaluation_s) / 3600, rel=2e-3)
    assert "Runs of tune have epochs 1, num_ssl_images 100000, num_validation_images 5000, num_classes 100" in text
    assert "decoded" not in text


def test_decoded_photographs_take_room(tmp_path: Path) -> None:
    text = describe(plan_of("swav", "dataset.crops_from=squares"), HomePaths(tmp_path), _RATE)
    assert f"{(1_281_167 + 105_000) * 3 * 224**2 / 1e9:.1f} GB for decoded images" in text


def test_the_weights_of_the_published_network_are_counted_without_being_made() -> None:
    plan = plan_of("swav")
    backbone = 23_508_032 + 53_120 + 53  # https://docs.pytorch.org/vision: 25,557,032 with fc's 2,049,000; statistics
    head = 2048 * 2048 + 4 * 2048 + 1 + 2048 * 128 + 128 + 128 * 3000 + 2 * 3584 * 128
    assert num_weights(plan) == backbone + head


def test_small_images_are_not_decoded() -> None:
    assert decoded_gb(tiny_plan()) == 0
