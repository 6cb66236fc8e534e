"""Images per second of continued pre-training on the small model, beside what the model alone allows and other loops.

SimSiam with the small convolutional encoder, batches of 250, two views, AdamW, float32, one thread, images in memory;
repetitions take turns, and the times are those of the processor. Every loop trains the same network on the same images:

- the bound: forward, backward and update on views that are there already;
- lightly: its transform for SimSiam at this size, its loss, torch's loader in the same process;
- plain torchvision: the transforms of a tutorial, one image at a time, in the same loader.

Photographs are decoded once and read as bytes afterwards (what that costs is said), or decoded while training: see
`_photographs`.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from study.datasets.image_folder import ImageFolder
from study.training.assemble import build_network, build_trainer, component, set_numerics
from study.training.feed import Feed
from study.training.loop import Trainer
from tests.benchmarks import _photographs
from tests.benchmarks._report import Measurement, print_lines
from tests.fakes.tiny_datasets import write_image
from tests.fakes.tiny_study import data_folder, pretraining

_BATCH, _STEPS, _REPEATS = 250, 8, 3
_PHOTOGRAPHS = 64


class _Transformed(Dataset[Any]):
    """Grey images one at a time, through a transform that takes and returns colours."""

    def __init__(self, images: Tensor, transform: Callable[[Any], Any]) -> None:
        self._images, self._transform = images, transform

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> list[Tensor]:
        image = v2.functional.to_pil_image(self._images[index].expand(3, -1, -1))
        return [view[:1] for view in self._transform(image)]


def run() -> None:
    """Measure all loops and print their images per second."""
    spec = pretraining(10, **{"dataset.num_ssl_images": _BATCH * _STEPS, "base.batch_size": _BATCH})
    training = spec.training
    set_numerics(training["numerics"])
    images = component(training, "datasets", "dataset").unlabelled(data_folder())
    loops = {
        "ours": _ours(training, images),
        "model alone": _bound(training, images),
        "lightly": _loop(training, images, _lightly_transform(), _lightly_loss),
        "torchvision": _loop(training, images, _torchvision_transform(), None),
    }
    seconds: dict[str, list[float]] = {name: [] for name in loops}
    for _ in range(_REPEATS):
        for name, epoch in loops.items():
            start = time.process_time()
            epoch()
            seconds[name].append(time.process_time() - start)
    rates = {name: _BATCH * _STEPS / statistics.median(times) for name, times in seconds.items()}
    for name, rate in rates.items():
        print(f"{name:12} {rate:8.0f} images per second")
    print(f"share of the bound: {rates['ours'] / rates['model alone']:.2f}")
    decoding = _seconds_per_photograph()
    print(f"decoding a photograph of 500 x 375 once: {decoding * 1e3:.1f} ms")
    peers = {name: rates[name] for name in ("lightly", "torchvision")}
    bound = {"model alone": rates["model alone"]}
    print_lines(
        [
            Measurement("training", rates["ours"], peers, "images/s", more_is_better=True),
            Measurement("training, bound", rates["ours"], bound, "images/s", more_is_better=True),
            *_photographs.measure(),
        ]
    )


def _ours(training: Any, images: Tensor) -> Callable[[], None]:
    trainer: Trainer = build_trainer(training, build_network(training), images, torch.device("cpu"))

    def epoch() -> None:
        goal = trainer.step + _STEPS
        for _ in trainer.run(flush_every=10, must_stop=lambda: trainer.step >= goal):
            pass

    return epoch


def _bound(training: Any, images: Tensor) -> Callable[[], None]:
    network = build_network(training).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    augmentation = component(training, "augmentations", "augmentation")
    places = [(0, i, torch.arange(i * _BATCH, (i + 1) * _BATCH)) for i in range(_STEPS)]
    feed = Feed(images, augmentation, torch.device("cpu"), ("bench",), _BATCH)
    batches = [batch.views for batch in feed.batches(places)]

    def epoch() -> None:
        for views in batches:
            optimizer.zero_grad(set_to_none=True)
            network(views).loss.backward()
            optimizer.step()

    return epoch


def _loop(
    training: Any, images: Tensor, transform: Callable[[Any], Any], loss: Callable[[nn.Module, Any], Tensor] | None
) -> Callable[[], None]:
    network = build_network(training)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    loader: Iterator[Any] | DataLoader[Any] = DataLoader(
        _Transformed(images, transform), batch_size=_BATCH, shuffle=True, drop_last=True
    )

    def epoch() -> None:
        for views in loader:
            optimizer.zero_grad(set_to_none=True)
            value = network(views).loss if loss is None else loss(network, views)
            value.backward()
            optimizer.step()

    return epoch


def _lightly_transform() -> Callable[[Any], Any]:
    from lightly.transforms import SimCLRTransform  # its recipe for SimSiam on CIFAR-10 has this transform, too

    transform: Callable[[Any], Any] = SimCLRTransform(input_size=28, gaussian_blur=0.0)
    return transform


def _lightly_loss(network: Any, views: Any) -> Tensor:
    from lightly.loss import NegativeCosineSimilarity

    criterion = NegativeCosineSimilarity()
    first, second = (network.projector(network.backbone(view)) for view in views)
    loss: Tensor = criterion(network.predictor(first), second.detach()) / 2
    return loss + criterion(network.predictor(second), first.detach()) / 2


def _torchvision_transform() -> Callable[[Any], Any]:
    view = v2.Compose(
        [
            v2.RandomResizedCrop(28, scale=(0.3, 1.0)),
            v2.RandomHorizontalFlip(),
            v2.RandomApply([v2.ColorJitter(0.4, 0.4)], p=0.8),
            v2.RandomApply([v2.GaussianBlur(3)], p=0.3),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.5], [0.5]),
        ]
    )
    return lambda image: [view(image), view(image)]


def _seconds_per_photograph() -> float:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for i in range(_PHOTOGRAPHS):
            write_image(root / ("train" if i < _PHOTOGRAPHS - 2 else "val") / str(i % 2) / f"{i}.jpg", i, (500, 375))
        dataset = ImageFolder(num_ssl_images=_PHOTOGRAPHS - 4, num_validation_images=2, num_classes=2)
        start = time.process_time()
        dataset.unlabelled(root)
        return (time.process_time() - start) / (_PHOTOGRAPHS - 2)


if __name__ == "__main__":
    run()
