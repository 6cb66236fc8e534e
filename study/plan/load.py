"""Sweep text → Plan. Every problem of a file is found before anything is reported."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from study.errors import PlanError, Problem, did_you_mean
from study.plan import arms, components, overrides, yaml_text
from study.plan.model import Component, Confirm, Plan, Recipe, Tune
from study.plan.schema import ComponentIn, SweepIn


def load_plan(text: str, source: str, overrides_given: Sequence[str] = ()) -> Plan:
    """Turn the text of a sweep file and `key=value` overrides into a plan.

    Args:
        text: YAML.
        source: what to call the file in errors.
        overrides_given: dotted `key=value` strings; the value is YAML.

    Raises:
        PlanError: anything wrong with the file or the overrides; carries all problems at once.
    """
    raw = yaml_text.parse(text, source)
    raw = overrides.apply(raw, overrides_given, source)
    try:
        sweep = SweepIn.model_validate(raw)
    except ValidationError as error:
        raise PlanError(source, [_problem(e) for e in error.errors()]) from None
    problems: list[Problem] = []
    plan = _resolve(sweep, problems)
    if plan is None or problems:
        raise PlanError(source, problems)
    return plan


def _resolve(sweep: SweepIn, problems: list[Problem]) -> Plan | None:
    dataset = _component("datasets", sweep.dataset, "dataset", problems)
    method = _component("methods", sweep.base.method, "base.method", problems)
    backbone = _component("backbones", sweep.base.backbone, "base.backbone", problems)
    augmentation = _component("augmentations", sweep.augmentation, "augmentation", problems)
    evaluations: list[Component] = []
    metrics: dict[str, list[str]] = {}
    for name, fields in sweep.evaluations.items():
        found = components.resolve("evaluations", name, fields, f"evaluations.{name}", problems)
        if found:
            evaluations.append(found[0])
            metrics[name] = [f"{name}/{metric}" for metric in found[1].metric_names()]
    known_metrics = [m for names in metrics.values() for m in names]
    for path, value in (("primary", sweep.primary), ("tune.objective", sweep.tune.objective)):
        if value not in known_metrics and len(metrics) == len(sweep.evaluations):
            problems.append(Problem(path, f"no metric {value!r}.{did_you_mean(value, known_metrics)}"))
    _check_seeds(sweep, problems)
    _check_recipes(sweep, dataset, problems)
    all_arms = arms.resolve(sweep, problems)
    _check_comparison(sweep, {arm.name for arm in all_arms}, problems)
    if problems or not (dataset and method and backbone and augmentation):
        return None
    return Plan(
        study=sweep.study,
        question=sweep.question,
        dataset=dataset,
        method=method,
        backbone=backbone,
        augmentation=augmentation,
        pretraining=Recipe(sweep.base.epochs, sweep.base.batch_size, _optimizer(sweep.base.optimizer)),
        continuation=Recipe(
            sweep.continuation.epochs, sweep.continuation.batch_size, _optimizer(sweep.continuation.optimizer)
        ),
        arms=tuple(all_arms),
        reference=sweep.reference,
        unit=sweep.unit,
        contrasts=tuple((a, b) for a, b in sweep.contrasts),
        evaluations=tuple(evaluations),
        primary=sweep.primary,
        equivalence_margin_pp=sweep.equivalence_margin_pp,
        tune=Tune(
            sweep.tune.objective, sweep.tune.trials_per_arm, tuple(sweep.tune.base_seeds),
            tuple(sweep.tune.continuation_seeds), sweep.tune.sampler,
        ),
        confirm=Confirm(tuple(sweep.confirm.base_seeds), tuple(sweep.confirm.continuation_seeds)),
        numerics=sweep.numerics.model_dump(),
    )  # fmt: skip


def _component(family: str, given: ComponentIn, path: str, problems: list[Problem]) -> Component | None:
    found = components.resolve(family, given.name, given.fields_given, path, problems)
    return found[0] if found else None


def _optimizer(given: BaseModel) -> dict[str, Any]:
    """The optimiser's settings without those it does not read, which would be part of the identity for nothing."""
    settings = given.model_dump()
    if settings["name"] != "sgd":
        del settings["momentum"]
    return settings


def _check_seeds(sweep: SweepIn, problems: list[Problem]) -> None:
    lists = {
        "tune.base_seeds": sweep.tune.base_seeds,
        "tune.continuation_seeds": sweep.tune.continuation_seeds,
        "confirm.base_seeds": sweep.confirm.base_seeds,
        "confirm.continuation_seeds": sweep.confirm.continuation_seeds,
    }
    for path, seeds in lists.items():
        twice = sorted({s for s in seeds if seeds.count(s) > 1})
        if twice:
            problems.append(Problem(path, f"every seed counts once, but {twice} stand there more than once"))
    shared = sorted(set(sweep.tune.base_seeds) & set(sweep.confirm.base_seeds))
    if shared:
        message = f"tune and confirm share base seeds {shared}; what was tuned on a base cannot be confirmed on it"
        problems.append(Problem("confirm.base_seeds", message))


def _check_recipes(sweep: SweepIn, dataset: Component | None, problems: list[Problem]) -> None:
    num_images = dataset.params.get("num_ssl_images") if dataset else None
    for path, recipe in (("base", sweep.base), ("continuation", sweep.continuation)):
        if num_images is not None and recipe.batch_size > num_images:
            message = f"{recipe.batch_size} is more than the {num_images} SSL images; an epoch would have no step"
            problems.append(Problem(f"{path}.batch_size", message))
        optimizer = recipe.optimizer
        if optimizer.name != "sgd" and "momentum" in optimizer.model_fields_set:
            problems.append(Problem(f"{path}.optimizer.momentum", f"{optimizer.name} has no momentum; leave it out"))


def _check_comparison(sweep: SweepIn, names: set[str], problems: list[Problem]) -> None:
    if sweep.reference not in names:
        problems.append(Problem("reference", f"no arm {sweep.reference!r}.{did_you_mean(sweep.reference, names)}"))
    seen = set()
    for index, (a, b) in enumerate(sweep.contrasts):
        path = f"contrasts[{index}]"
        problems += [Problem(path, f"no arm {n!r}.{did_you_mean(n, names)}") for n in (a, b) if n not in names]
        if a == b:
            problems.append(Problem(path, f"{a!r} is compared with itself"))
        if frozenset((a, b)) in seen:
            problems.append(Problem(path, f"[{a}, {b}] is declared twice; a family counts each contrast once"))
        seen.add(frozenset((a, b)))


def _problem(error: Mapping[str, Any]) -> Problem:
    """A pydantic error in the words of a sweep file."""
    location = [part for part in error["loc"] if part not in ("AblateIn", "list[AblateIn]", "[key]")]
    path = overrides.dotted(location)
    kind, value = error["type"], error["input"]
    if kind == "extra_forbidden":
        known = _fields_at(location[:-1])
        return Problem(path, f"unknown key {location[-1]!r}.{did_you_mean(str(location[-1]), known)}")
    if kind == "missing":
        return Problem(path, "is missing; see sweeps/ablation.yaml for an example")
    message = error["msg"].removeprefix("Input ").removeprefix("Value error, ")
    shown = repr(value)
    return Problem(path, f"{message}, but got {shown if len(shown) < 80 else shown[:77] + '…'}")


def _fields_at(location: Sequence[Any]) -> list[str]:
    """Keys that the schema knows at a place."""
    kind: Any = SweepIn
    for part in location:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            field = kind.model_fields.get(str(part))
            kind = field.annotation if field else None
        elif typing.get_origin(kind) is dict:
            kind = typing.get_args(kind)[1]
        elif typing.get_origin(kind) is list:
            kind = typing.get_args(kind)[0]
        kind = _model_in(kind)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [f.alias or name for name, f in kind.model_fields.items()]
    return []


def _model_in(kind: Any) -> Any:
    """The model or container inside `X | None` and `Annotated[X, …]`."""
    if typing.get_origin(kind) is typing.Annotated:
        return _model_in(typing.get_args(kind)[0])
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        options = [_model_in(k) for k in typing.get_args(kind) if k is not type(None)]
        return next((k for k in options if isinstance(k, type) and issubclass(k, BaseModel)), options[0])
    return kind
