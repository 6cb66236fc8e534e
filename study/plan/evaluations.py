"""The evaluations of a sweep file, each under a name of its own where the component or its dataset is another."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from pydantic import ValidationError

from study import registry
from study.errors import Problem, did_you_mean, shown
from study.plan import components
from study.plan.components import asked, build
from study.plan.contract import wrong_metrics
from study.plan.model import Component, PlannedEvaluation
from study.plan.names import PATTERN
from study.plan.salvage import has
from study.plan.schema import ComponentIn, SweepIn
from study.plan.wording import what_is_wrong

_OWN_KEYS = ("evaluation", "dataset")
_NAME = re.compile(PATTERN)


def resolve(sweep: SweepIn, raw: Mapping[str, Any], problems: list[Problem]) -> list[PlannedEvaluation]:
    """The evaluations, after checking that the metrics which the plan names are among theirs."""
    if not has(sweep, "evaluations"):
        return []
    found = [pair for name, fields in sweep.evaluations.items() if (pair := _resolved(name, fields, problems))]
    if len(found) == len(raw["evaluations"]):  # else a metric may be one of an evaluation that is wrong itself
        metrics = [f"{e.name}/{metric}" for e, instance in found for metric in instance.metric_names()]
        named = {"primary": sweep.primary} if has(sweep, "primary") else {}
        named |= {"tune.objective": sweep.tune.objective} if has(sweep, "tune") and sweep.tune else {}
        for path, metric in named.items():
            if metric not in metrics:
                problems.append(Problem(path, f"no metric {metric!r}.{did_you_mean(metric, metrics)}"))
        _check_pruning(sweep, found, problems)
    return [planned for planned, _ in found]


def check_data(
    evaluations: Sequence[PlannedEvaluation], dataset: Component | None, backbone: Component | None,
    problems: list[Problem],
) -> None:  # fmt: skip
    """The labelled pools are large enough, and the backbone takes the images of every evaluation's dataset."""
    for evaluation in evaluations:
        path = f"evaluations.{evaluation.name}"
        chosen = evaluation.dataset or dataset
        num_images = chosen.params.get("num_ssl_images") if chosen else None
        if chosen is None or num_images is None:
            continue
        images = build("datasets", chosen)
        try:
            check_pool = build("evaluations", evaluation.component).check_pool
            asked(partial(check_pool, num_images, images.num_classes), "evaluations", evaluation.component.name)
        except ValueError as error:
            problems.append(Problem(path, str(error)))
        if evaluation.dataset is None or dataset is None:
            continue
        own = build("datasets", dataset)
        if images.num_channels != own.num_channels:
            message = f"has {images.num_channels} channels, but the network is trained on {own.num_channels}"
            problems.append(Problem(f"{path}.dataset", f"{chosen.name} {message}"))
        takes_any = backbone is None or registry.component("backbones", backbone.name).accepts_any_size
        if backbone is not None and not takes_any and images.image_size != own.image_size:
            message = f"{images.image_size} pixels, but {backbone.name} takes images of {own.image_size} pixels alone"
            problems.append(Problem(f"{path}.dataset", f"{chosen.name} has {message}"))


def _resolved(name: str, fields: Mapping[str, Any], problems: list[Problem]) -> tuple[PlannedEvaluation, Any] | None:
    path, before = f"evaluations.{name}", len(problems)
    if not _NAME.fullmatch(name):
        problems.append(Problem(path, "a name may hold letters, digits, - and _, and starts with a letter or digit"))
    own = {key: value for key, value in fields.items() if key not in _OWN_KEYS}
    component = fields.get("evaluation", name)
    if not isinstance(component, str):
        problems.append(Problem(f"{path}.evaluation", f"must be a name, but got {shown(component)}"))
        return None
    name_path = f"{path}.evaluation" if "evaluation" in fields else None
    found = components.resolve("evaluations", component, own, path, problems, other_keys=_OWN_KEYS, name_path=name_path)
    dataset = _dataset(fields["dataset"], f"{path}.dataset", problems) if "dataset" in fields else None
    if found is None or len(problems) > before:
        return None
    if wrong := wrong_metrics(asked(found[1].metric_names, "evaluations", component)):
        problems.append(Problem(name_path or path, f"{registry.file_of('evaluations', component)}: {wrong}"))
        return None
    params = found[0].params
    return PlannedEvaluation(name, params, None if component == name else component, dataset), found[1]


def _dataset(given: Any, path: str, problems: list[Problem]) -> Component | None:
    try:
        read = ComponentIn.model_validate(given)
    except ValidationError as error:
        problems += [Problem(path, what_is_wrong(e)) for e in error.errors()]
        return None
    found = components.resolve("datasets", read.name, read.fields_given, path, problems)
    return found[0] if found else None


def _check_pruning(sweep: SweepIn, found: Sequence[tuple[PlannedEvaluation, Any]], problems: list[Problem]) -> None:
    """What a run is judged by after each epoch must be quick, and made of the images that it trains on."""
    if not has(sweep, "tune") or sweep.tune is None or sweep.tune.pruning == "none":
        return
    name = sweep.tune.objective.split("/")[0]
    for planned, instance in found:
        if planned.name == name and (instance.trains_network or planned.dataset is not None):
            why = "trains the network" if instance.trains_network else "has a dataset of its own"
            message = f"{name} {why}, which is too much after every epoch; write none"
            problems.append(Problem("tune.pruning", message))
