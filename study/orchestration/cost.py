"""What a study costs in hours of its slots and in disk, phase by phase."""

from __future__ import annotations

import math
from collections.abc import Iterator

from study.datasets.base import Dataset
from study.orchestration.forecast import Forecast
from study.plan.components import build
from study.plan.expand import base_spec
from study.plan.model import Component, Phase, Plan

_GB = 1e9
_COUNTED = ("num_ssl_images", "num_validation_images")


def speed_source(images_per_second: float | None) -> str:
    """Where the times come from."""
    if images_per_second is None:
        return "timed on this machine just now"
    return f"at {images_per_second:g} images per second"


def describe_cost(plan: Plan, expected: Forecast) -> Iterator[str]:
    """Hours of a slot, tuning and confirming apart, and disk; a slot is a GPU where runs have one."""
    hours = {phase: expected.num_runs[phase] * expected.seconds[phase] / 3600 for phase in Phase}
    parts = ", ".join(f"{phase} {hours[phase]:,.1f}" for phase in Phase)
    yield f"Hours of a slot (GPU-hours where a slot is a GPU): {parts}; all {sum(hours.values()):,.1f}."
    weights = num_weights(plan) * 4 / _GB
    runs = sum(expected.num_runs.values()) * weights
    images = decoded_gb(plan)
    text = f"Disk: {runs:,.1f} GB for the weights of all runs ({weights:.2f} GB each)"
    # A checkpoint has the weights and, with Adam, two moments of each.
    yield (
        text
        + f", {3 * weights:.2f} GB per run at once"
        + (f", {images:,.1f} GB for decoded images." if images else ".")
    )


def num_weights(plan: Plan) -> int:
    """Numbers in the network of the plan's method; nothing is allocated."""
    import torch

    from study.training.assemble import build_network

    with torch.device("meta"):
        network = build_network(base_spec(plan, plan.confirm.base_seeds[0]).training)
    return sum(math.prod(tensor.shape) for tensor in network.state_dict().values())


def decoded_gb(plan: Plan) -> float:
    """Size of the decoded training images that are kept, where the dataset keeps any; test images come on top."""
    datasets = [plan.dataset]
    for dataset in (plan.tune.dataset, *(evaluation.dataset for evaluation in plan.evaluations)):
        if dataset is not None and dataset not in datasets:
            datasets.append(dataset)
    return sum(map(_decoded_gb, datasets))


def _decoded_gb(component: Component) -> float:
    dataset: Dataset = build("datasets", component)
    if getattr(dataset, "crops_from", None) != "squares":
        return 0.0
    num_images = sum(component.params[name] for name in _COUNTED)
    return float(num_images * dataset.num_channels * dataset.image_size**2 / _GB)
