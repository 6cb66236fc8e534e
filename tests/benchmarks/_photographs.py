"""Images per second of a step that is fed from JPEG files, beside what the same step allows and torch's own loader.

SimSiam with the small convolutional encoder on views of 64 pixels, cut from files of 500 × 375: a step that takes about
as long as the decoding of its images by one processor. Every loop trains the same network with the same steps, on one
thread, and only what feeds it differs. Times are those of a clock, because threads work beside the step; the first
steps, in which nothing is prepared yet, are left out.

The files are random and smooth, so that they are decoded faster than photographs of the same size.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.datasets.folder import pil_loader
from torchvision.transforms import v2

from study.datasets.base import Split
from study.plan.expand import base_spec
from study.training.assemble import build_network, build_trainer, component, set_numerics
from study.training.feed import Batch
from study.training.loop import Trainer
from tests.benchmarks._report import Measurement
from tests.fakes.tiny_datasets import write_image
from tests.fakes.tiny_study import tiny_plan

_BATCH, _NUM_IMAGES, _SIZE = 64, 512, 64
_WARM_UP, _STEPS, _REPEATS = 2, 6, 3
_WORKERS = len(os.sched_getaffinity(0))
_MEAN, _SD = (0.5,) * 3, (0.5,) * 3


class _Files(Dataset[Any]):
    """Two views of each file, by torchvision's transforms, with the ranges of `photographs`."""

    def __init__(self, paths: list[Path]) -> None:
        self._paths = paths
        jitter = v2.ColorJitter(0.4, 0.4, 0.4, 0.1)
        self._view = v2.Compose(
            [
                v2.RandomResizedCrop(_SIZE, scale=(0.2, 1.0)),
                v2.RandomHorizontalFlip(),
                v2.RandomApply([jitter], p=0.8),
                v2.RandomGrayscale(0.2),
                v2.RandomApply([v2.GaussianBlur(13, (0.1, 2.0))], p=0.5),
                v2.ToImage(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(_MEAN, _SD),
            ]
        )

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> list[Tensor]:
        image = pil_loader(str(self._paths[index]))
        return [self._view(image), self._view(image)]


class _LoaderFeed:
    """torch's loader with as many processes as ours has threads, in the place of a `Feed`."""

    def __init__(self, paths: list[Path]) -> None:
        self._files = _Files(paths)

    def batches(self, places: Iterator[tuple[int, int, Tensor]]) -> Iterator[Batch]:
        listed = list(places)
        sampler = [rows.tolist() for _, _, rows in listed]
        loader = iter(DataLoader(self._files, batch_sampler=sampler, num_workers=_WORKERS))
        handed_out = time.perf_counter()
        for epoch, index, rows in listed:
            asked = time.perf_counter()
            views = [view.contiguous(memory_format=torch.channels_last) for view in next(loader)]
            ready = time.perf_counter()
            share = (ready - asked) / (ready - handed_out)
            handed_out = ready
            yield Batch(epoch, index, rows, views, {"train/data_wait_share": share})


def measure() -> list[Measurement]:
    """Measure all loops; print their images per second, and their shares of waiting."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for i in range(_NUM_IMAGES + 4):
            part = "train" if i < _NUM_IMAGES + 2 else "val"
            write_image(root / part / str(i % 2) / f"{i}.jpg", i, (500, 375))
        rates: dict[str, list[float]] = {}
        waits: dict[str, list[float]] = {}
        for _ in range(_REPEATS):
            for loop in ("files", "in memory", "torchvision"):
                rate, wait = _timed(_trainer(root, loop))
                rates.setdefault(loop, []).append(rate)
                waits.setdefault(loop, []).append(wait)
    rate = {loop: statistics.median(values) for loop, values in rates.items()}
    wait = {loop: statistics.median(values) for loop, values in waits.items()}
    for loop in rate:
        print(f"photographs, {loop:12} {rate[loop]:8.1f} images per second, {wait[loop]:6.1%} of the time waiting")
    print(f"photographs, share of the bound: {rate['files'] / rate['in memory']:.2f}")
    peer, bound = {"torchvision": rate["torchvision"]}, {"in memory": rate["in memory"]}
    return [
        Measurement("training from JPEG files", rate["files"], peer, "images/s", more_is_better=True),
        Measurement("training from JPEG files, bound", rate["files"], bound, "images/s", more_is_better=True),
    ]


def _trainer(root: Path, loop: str) -> Trainer:
    crops_from = "squares" if loop == "in memory" else "originals"
    settings = f"num_classes: 2, num_ssl_images: {_NUM_IMAGES}, num_validation_images: 2, image_size: {_SIZE}"
    plan = tiny_plan(
        f"dataset={{name: image_folder, crops_from: {crops_from}, {settings}}}", "augmentation=photographs",
        "base.backbone=conv_gap", f"base.batch_size={_BATCH}", f"continuation.batch_size={_BATCH}",
    )  # fmt: skip
    training = base_spec(plan, 1).training
    set_numerics(training["numerics"])
    dataset = component(training, "datasets", "dataset")
    images = dataset.unlabelled(root)
    images = images[:].clone() if loop == "in memory" else images
    trainer = build_trainer(training, build_network(training), images, torch.device("cpu"))
    if loop == "torchvision":
        trainer._feed = _LoaderFeed(dataset.files(root, Split.TRAIN).paths())  # type: ignore[assignment]
    return trainer


def _timed(trainer: Trainer) -> tuple[float, float]:
    """Images per second, and the mean share of waiting."""
    ends: list[float] = []

    def must_stop() -> bool:
        ends.append(time.perf_counter())
        return len(ends) == _WARM_UP + _STEPS

    records = [record for some in trainer.run(flush_every=1, must_stop=must_stop) for record in some]
    waits = [record.metrics.get("train/data_wait_share", 0.0) for record in records[_WARM_UP:]]
    return _BATCH * _STEPS / (ends[-1] - ends[_WARM_UP - 1]), statistics.mean(waits)
