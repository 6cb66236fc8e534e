"""A sweep file with every kind of section, and what loading a wrong one says."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from study.errors import PlanError
from study.plan.load import load_plan, load_plans
from study.plan.model import Plan

TEXT = """\
study: example
question: Does it help?
dataset: {name: fashion_mnist, num_ssl_images: 10000, num_validation_images: 5000}
base: {method: simsiam, backbone: conv_fc, epochs: 20}
continuation: {epochs: 2, batch_size: 250, optimizer: {name: adamw, lr: 1.0e-3}}
arms:
  base:       {continue: false}
  continued:  {criterion: none}
  e2mc:       {criterion: e2mc, start: {entropy_weight: 0.5, covariance_weight: 0.5}}
  uniformity: {criterion: uniformity, kernel_scale: 2, start: {weight: 0.5}}
ablate: {arm: e2mc, drop: [entropy, covariance], weights: tuned}
reference: continued
unit: base
contrasts:
  - [e2mc, continued]
  - [e2mc, base]
  - [e2mc, e2mc-no-entropy]
evaluations: {linear_probe: {label_percent: [1, 10, 100]}, knn: {}}
primary: linear_probe/top1_mean
equivalence_margin_pp: 0.5
tune:
  objective: linear_probe/top1_mean
  trials_per_arm: 4
  base_seeds: [101]
  shared: {continuation.optimizer.lr: {low: 3.0e-4, high: 3.0e-3, log: true}}
confirm: {base_seeds: [1, 2, 3], continuation_seeds: [1]}
"""
DELETED = object()


def edited(**changes: Any) -> str:
    """The file with other values: `base__epochs=3` sets `base.epochs`; DELETED removes a key."""
    data: dict[str, Any] = copy.deepcopy(yaml.safe_load(TEXT))
    for key, value in changes.items():
        *parents, last = key.split("__")
        place = data
        for parent in parents:
            place = place[parent]
        if value is DELETED:
            del place[last]
        else:
            place[last] = value
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True)


def plan_of(*overrides: str, **changes: Any) -> Plan:
    """The plan of the file with overrides or changes."""
    return load_plan(edited(**changes), "example.yaml", overrides)


def problems_of(text: str, *overrides: str) -> Mapping[str, str]:
    """Path → message of every problem that loading reports."""
    with pytest.raises(PlanError) as caught:
        load_plans(text, "example.yaml", overrides)
    problems = caught.value.problems
    assert len(set(problems)) == len(problems), "nothing is said twice"
    assert str(caught.value).count("\n  - ") == len(problems)
    messages: dict[str, str] = {}
    for problem in problems:
        messages[problem.path] = "; ".join(filter(None, (messages.get(problem.path), problem.message)))
    return messages
