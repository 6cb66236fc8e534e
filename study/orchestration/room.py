"""Room on disk: what a study will take, and whether that is free."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from study.amounts import size
from study.orchestration.outlook import PhaseOutlook
from study.plan.components import build
from study.plan.expand import base_spec
from study.plan.model import Component, Phase, Plan, Recipe

if TYPE_CHECKING:
    from study.datasets.base import Dataset

_COUNTED = ("num_ssl_images", "num_validation_images")
_MOMENTS = {"adamw": 2}  # numbers that an optimiser keeps for each weight; others keep one
_BYTES = 4  # of a number


def bytes_kept(plan: Plan, outlook: Mapping[Phase, PhaseOutlook]) -> int:
    """The least that the runs that are left keep in the home; journals, reports and MLflow come on top.

    Every run keeps its weights, and a base that is trained its last checkpoint.
    """
    num_runs = sum(one.num_to_train + one.num_to_hand_over for one in outlook.values())
    num_bases = outlook[Phase.PREPARE].num_to_train if plan.pretraining.epochs else 0
    return bytes_of_weights(plan) * num_runs + _checkpoint(plan, plan.pretraining) * num_bases


def bytes_at_once(plan: Plan, outlook: Mapping[Phase, PhaseOutlook], num_slots: int) -> int:
    """What the checkpoints of continued runs take while they train."""
    num_runs = outlook[Phase.TUNE].num_to_train + outlook[Phase.CONFIRM].num_to_train
    return _checkpoint(plan, plan.continuation) * min(num_slots, num_runs)


def bytes_of_weights(plan: Plan) -> int:
    """Size of the network of the plan's method; nothing is allocated."""
    import torch

    from study.training.assemble import build_network

    with torch.device("meta"):
        network = build_network(base_spec(plan, plan.confirm.base_seeds[0]).training)
    num_weights: int = sum(math.prod(tensor.shape) for tensor in network.state_dict().values())
    return num_weights * _BYTES


def bytes_decoded(plan: Plan) -> int:
    """Size of the decoded training images that are kept, where the dataset keeps any; test images come on top."""
    datasets = [plan.dataset]
    for dataset in (plan.tune.dataset, *(evaluation.dataset for evaluation in plan.evaluations)):
        if dataset is not None and dataset not in datasets:
            datasets.append(dataset)
    return sum(map(_decoded, datasets))


def lacking(home: Path, needs: Mapping[Path, int]) -> Iterator[str]:
    """Say on which file systems less is free than is needed.

    Args:
        home: the study home.
        needs: bytes by folder; folders need not be there yet.
    """
    on_device: dict[int, list[Path]] = {}
    for folder in needs:
        on_device.setdefault(nearest(folder).stat().st_dev, []).append(folder)
    for folders in on_device.values():
        usage = shutil.disk_usage(nearest(folders[0]))
        if sum(needs[folder] for folder in folders) <= usage.free or not usage.total:  # some file systems do not say
            continue
        parts = " and ".join(f"{size(needs[folder])} in {folder}" for folder in folders if needs[folder])
        ways = ["make room and start the same command again"]
        ways += ["choose another home with --home DIR"] if home in folders else []
        ways += ["set STUDY_CACHE to a folder with more room"] if folders != [home] else []
        yield f"no space left for {folders[0]}: at least {parts} needed, {size(usage.free)} free; {', or '.join(ways)}"


def nearest(folder: Path) -> Path:
    """The folder itself, or the nearest of those that it lies in that is there."""
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists() or path.is_symlink())


def _checkpoint(plan: Plan, recipe: Recipe) -> int:
    """The weights, and the optimiser's numbers."""
    return bytes_of_weights(plan) * (1 + _MOMENTS.get(str(recipe.optimizer.get("name")), 1))


def _decoded(component: Component) -> int:
    dataset: Dataset = build("datasets", component)
    if getattr(dataset, "crops_from", None) != "squares":
        return 0
    num_images = sum(component.params[name] for name in _COUNTED)
    return int(num_images * dataset.num_channels * dataset.image_size**2)
