"""A published checkpoint as the base: what the sweep file must say, and what decides identities."""

from __future__ import annotations

from typing import Any

import pytest

from study.plan.expand import base_spec, run_spec
from study.plan.load import load_plan
from study.plan.model import Imported, Phase, Plan
from tests.fakes.sweep_file import edited, problems_of

_HASH = "ab" * 32
_BASE = {"method": "simsiam", "backbone": "resnet18", "checkpoint": "there.pth", "family": "simsiam"}
_SEEDS = {"tune": "none", "confirm": {"base_seeds": [1], "continuation_seeds": [1, 2]}, "unit": "continuation"}


def text_of(**base: Any) -> str:
    return edited(**{**_SEEDS, "base": {**_BASE, **base}})


def plan_of(**base: Any) -> Plan:
    return load_plan(text_of(**base), "imported.yaml")


def test_what_the_plan_keeps_survives_json() -> None:
    plan = plan_of(sha256=_HASH)
    assert plan.imported == Imported("there.pth", "simsiam", _HASH)
    assert Plan.from_json(plan.as_json()).imported == plan.imported
    assert plan_of(checkpoint=f"https://host/a.pth#sha256={_HASH}").imported == Imported(
        "https://host/a.pth", "simsiam", _HASH
    )


def test_identities_know_the_file_by_its_hash_alone() -> None:
    here, there = (base_spec(plan_of(sha256=_HASH, checkpoint=path), 1) for path in ("here.pth", "there.pth"))
    assert here.identity == there.identity and here.labels["checkpoint"] == "here.pth"
    assert here.training["epochs"] == 0 and here.training["initial"] is None
    assert here.identity != base_spec(plan_of(sha256="cd" * 32), 1).identity
    plan = plan_of(sha256=_HASH)
    continued = run_spec(plan, plan.arm("continued"), {}, 1, 2, Phase.CONFIRM).training
    assert continued["initial"] == {"base": here.identity} and continued["pixels"] == "imagenet"


def test_kept_moments_are_those_of_the_continuations_optimiser() -> None:
    text = text_of(sha256=_HASH)
    kept = load_plan(text, "x", ["continuation.optimizer={name: sgd, lr: 0.1, state: keep}"])
    assert kept.imported is not None and kept.imported.moments == {"name": "sgd", "exclude_bias_and_norm": False}
    assert base_spec(kept, 1).identity != base_spec(load_plan(text, "x"), 1).identity


@pytest.mark.parametrize(
    ("base", "path", "message"),
    [
        ({"family": "simsam"}, "base.family", "Did you mean 'simsiam'?"),
        ({"family": "swav"}, "base.family", "write method: swav"),
        ({"checkpoint": " "}, "base.checkpoint", "is empty"),
        ({"backbone": "conv_fc"}, "base.backbone", "write resnet18 or resnet50"),
        ({"backbone": {"name": "resnet18", "stem": "small"}}, "base.backbone.stem", "have the stem imagenet"),
        ({"epochs": 3}, "base.epochs", "an imported base is not trained"),
        ({"sha265": _HASH}, "base.sha265", "Did you mean 'sha256'?"),
        ({"sha256": "abc"}, "base.sha256", "but got 'abc'"),
    ],
)
def test_what_does_not_fit(base: dict[str, Any], path: str, message: str) -> None:
    assert message in problems_of(text_of(**base))[path]


def test_an_imported_base_has_continuations_as_units() -> None:
    assert "write unit: continuation" in problems_of(edited(**{**_SEEDS, "base": _BASE, "unit": "base"}))["unit"]


def test_half_of_an_imported_base_lacks_the_other_half() -> None:
    base = {key: value for key, value in _BASE.items() if key != "family"}
    assert "is missing" in problems_of(edited(**{**_SEEDS, "base": base}))["base.family"]
