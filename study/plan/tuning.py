"""Searches that train shorter, or on fewer images, than the runs that confirm: `tune.overrides`."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from study import registry
from study.errors import Problem
from study.plan import overrides
from study.plan.components import build
from study.plan.model import Plan
from study.plan.schema import BaseIn, SweepIn
from study.plan.wording import is_about

_PATH = "tune.overrides"
_MAY_DIFFER = ("continuation.", "dataset.")
_OF_THE_BASE = tuple(f"continuation.optimizer.{key}" for key in ("name", "state", "exclude_bias_and_norm"))
Load = Callable[[Mapping[str, Any], list[Problem]], Plan | None]


def with_overrides(plan: Plan, sweep: SweepIn, raw: Mapping[str, Any], load: Load, problems: list[Problem]) -> Plan:
    """The plan with the dataset and the continuation of its searches, where they differ.

    The sweep file is read once more with the overrides in place, and with the objective as its only evaluation, so that
    everything that holds of a plan holds of its searches. The base model stays that of the plan.

    Args:
        plan: what the file says without them.
        sweep: the file.
        raw: its keys.
        load: makes a plan of keys, or adds to problems.
        problems: every problem found is appended here.
    """
    given = sweep.tune.overrides if sweep.tune is not None else {}
    if not given:
        return plan
    before = len(problems)
    searched = {key for arm in plan.arms for key in arm.space}
    for key in given:
        if not key.startswith(_MAY_DIFFER):
            _blame(key, "only keys of continuation and dataset may differ, e.g. continuation.epochs", problems)
        elif key == "dataset.name" or key.startswith(_OF_THE_BASE):
            _blame(key, "is that of the base model, which searches share; leave it out", problems)
        elif key in searched:
            _blame(key, "is searched, so that every trial has its own; leave it out", problems)
    if len(problems) > before:
        return plan
    own: list[Problem] = []
    texts = [f"{key}={json.dumps(value, default=str)}" for key, value in given.items()]
    found = load(overrides.apply(_searches_alone(plan, sweep, raw), texts, own), own)
    if own or found is None:
        problems += [_placed(problem, given) for problem in own]
        return plan
    _check_size(plan, found, problems)
    dataset = None if found.dataset == plan.dataset else found.dataset
    continuation = None if found.continuation == plan.continuation else found.continuation
    return replace(plan, tune=replace(plan.tune, dataset=dataset, continuation=continuation))


def _searches_alone(plan: Plan, sweep: SweepIn, raw: Mapping[str, Any]) -> dict[str, Any]:
    keys = copy.deepcopy(dict(raw))
    del keys["tune"]["overrides"]
    objective = plan.tune.objective
    name = objective.split("/")[0]
    if isinstance(sweep.base, BaseIn):  # it is trained on the plan's images, which are enough for its batches
        keys["base"]["batch_size"] = sweep.numerics.micro_batch_size or 2
    return {**keys, "evaluations": {name: keys["evaluations"][name]}, "primary": objective}


def _placed(problem: Problem, given: Mapping[str, Any]) -> Problem:
    """A problem of the file with overrides, at the override that is to blame."""
    path = problem.path.removeprefix("override ")
    for key in given:
        if path and is_about(path, key):
            return Problem(f"{_PATH}.{key}", problem.message)
    return Problem(_PATH, f"with these, {path}: {problem.message}")


def _check_size(plan: Plan, found: Plan, problems: list[Problem]) -> None:
    before, after = (build("datasets", p.dataset).image_size for p in (plan, found))
    if before != after and not registry.component("backbones", plan.backbone.name).accepts_any_size:
        message = f"must be {before}, because {plan.backbone.name} takes images of one size alone, but got {after}"
        _blame("dataset.image_size", message, problems)


def _blame(key: str, message: str, problems: list[Problem]) -> None:
    problems.append(Problem(f"{_PATH}.{key}", message))
