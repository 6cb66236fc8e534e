"""What a study costs in hours of its slots and in disk, phase by phase."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from study.amounts import duration, size
from study.datasets.base import Dataset
from study.orchestration.forecast import Forecast
from study.orchestration.outlook import PhaseOutlook, Slots
from study.paths import HomePaths
from study.plan.components import build
from study.plan.expand import base_spec
from study.plan.model import Component, Phase, Plan

_COUNTED = ("num_ssl_images", "num_validation_images")
_MOMENTS = {"adamw": 2}  # numbers that an optimiser keeps for each weight; others keep one
_BYTES = 4  # of a number


def speed_source(images_per_second: float | None) -> str:
    """Where the times come from."""
    if images_per_second is None:
        return "timed on this machine just now"
    return f"at {images_per_second:g} images per second"


def seconds_left(outlook: Mapping[Phase, PhaseOutlook], expected: Forecast) -> dict[Phase, float]:
    """Slot-seconds of what is left, by phase; runs that are only evaluated cost no training."""
    return {
        phase: one.num_to_train * (expected.training[phase] + expected.evaluating[phase])
        + one.num_to_evaluate * expected.evaluating[phase]
        for phase, one in outlook.items()
    }


def describe_time(
    outlook: Mapping[Phase, PhaseOutlook], expected: Forecast, slots: Slots, source: str
) -> Iterator[str]:
    """Time of a slot, phase by phase, and of all slots; a slot is a GPU where runs have one."""
    left = seconds_left(outlook, expected)
    parts = ", ".join(f"{phase} {duration(left[phase])}" for phase in Phase if outlook[phase].num_left)
    total = sum(left.values())
    yield f"Time of one slot (GPU time where a slot is a GPU): {parts}; all {duration(total)} ({source})."
    longest = max(
        expected.training[phase] + expected.evaluating[phase] for phase, one in outlook.items() if one.num_left
    )
    yield f"Expected: {duration(max(total / slots.number, longest))} with {slots}."


def describe_disk(
    plan: Plan, home: HomePaths, outlook: Mapping[Phase, PhaseOutlook], slots: Slots, num_decoded_bytes: int
) -> str:
    """What the runs that are left will take, and decoded images."""
    weights = size(num_weights(plan) * _BYTES)
    runs = f"{size(bytes_needed(plan, outlook, slots.number))} in {home.root} for what is left"
    images = f", {size(num_decoded_bytes)} for decoded images" if num_decoded_bytes else ""
    return f"Disk: {runs} (weights of {weights} per run, and checkpoints of those that train at once){images}."


def bytes_needed(plan: Plan, outlook: Mapping[Phase, PhaseOutlook], num_slots: int) -> int:
    """The least that the runs that are left take in the home; journals, reports and MLflow come on top.

    Every run keeps its weights, and a base that is trained its checkpoint: the weights, and the optimiser's numbers.
    Others have a checkpoint while they train.
    """
    weights = num_weights(plan) * _BYTES
    checkpoint = (1 + _MOMENTS.get(str(plan.continuation.optimizer["name"]), 1)) * weights
    kept = weights * sum(one.num_to_train + one.num_to_hand_over for one in outlook.values())
    if plan.imported is None and plan.pretraining.epochs:
        own = 1 + _MOMENTS.get(str(plan.pretraining.optimizer["name"]), 1)
        kept += outlook[Phase.PREPARE].num_to_train * own * weights
    return kept + checkpoint * min(num_slots, outlook[Phase.TUNE].num_to_train + outlook[Phase.CONFIRM].num_to_train)


def num_weights(plan: Plan) -> int:
    """Numbers in the network of the plan's method; nothing is allocated."""
    import torch

    from study.training.assemble import build_network

    with torch.device("meta"):
        network = build_network(base_spec(plan, plan.confirm.base_seeds[0]).training)
    return sum(math.prod(tensor.shape) for tensor in network.state_dict().values())


def decoded_bytes(plan: Plan) -> int:
    """Size of the decoded training images that are kept, where the dataset keeps any; test images come on top."""
    datasets = [plan.dataset]
    for dataset in (plan.tune.dataset, *(evaluation.dataset for evaluation in plan.evaluations)):
        if dataset is not None and dataset not in datasets:
            datasets.append(dataset)
    return sum(map(_decoded_bytes, datasets))


def _decoded_bytes(component: Component) -> int:
    dataset: Dataset = build("datasets", component)
    if getattr(dataset, "crops_from", None) != "squares":
        return 0
    num_images = sum(component.params[name] for name in _COUNTED)
    return int(num_images * dataset.num_channels * dataset.image_size**2)
