"""What the training loop is fed with: the views of one batch after the other, on its device.

Images in memory are looked up when their step comes. Images in files are decoded and cut by threads while the steps
before compute: a few batches ahead, so that memory is bounded. Neither changes what a step sees, because everything
that is random is a function of (seeds, epoch, step).

Threads, not processes: decoding leaves the interpreter's lock, attempts are forked, and they handle signals.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice

import torch
from torch import Tensor

from study.augmentations.base import Augmentation, CropAugmentation
from study.datasets.base import OriginalImages
from study.journal.process import num_cpus
from study.tensors.images import Images
from study.tensors.streams import stream
from study.training.pairing import Keys, view_keys
from study.training.team import Team

_IMAGES_SHARE = 0.25  # of a GPU's memory
_NUM_AHEAD = 2  # batches that are prepared while a step computes

Place = tuple[int, int, Tensor]
"""Epoch, step within it, and rows of the whole batch."""


@dataclass(frozen=True)
class Batch:
    """What one step of this process sees.

    Attributes:
        epoch: from 0.
        index: of the step within the epoch, from 0.
        views: float32, each of shape (rows of this process, channels, height, width), channels last, on the device.
        metrics: of images in files, how long the loop waited for them: `train/data_wait_s`, and `train/data_wait_share`
            of the time since it got the batch before.
    """

    epoch: int
    index: int
    views: list[Tensor]
    metrics: Mapping[str, float] = field(default_factory=dict)


class Feed:
    """Batches of one training."""

    def __init__(
        self, images: Images, augmentation: Augmentation, device: torch.device, keys: Keys,
        batch_size: int,
    ) -> None:  # fmt: skip
        """Say what is drawn from what.

        Args:
            images: of the whole dataset; a tensor is kept on the device when it takes little of it.
            augmentation: makes the views.
            device: where they are wanted.
            keys: what the random streams belong to.
            batch_size: rows of a batch, of all processes together.
        """
        self._images = images.to(device) if isinstance(images, Tensor) and _fits(images, device) else images
        self._augmentation, self._device, self._keys = augmentation, device, keys
        self._team = Team.current()
        self._part = (self._team.rows(batch_size).start, batch_size)

    def batches(self, places: Iterable[Place]) -> Generator[Batch, None, None]:
        """Make the batches of some places in their order; whoever leaves early closes the iterator, to end its threads.

        Raises:
            DataError: a file cannot be decoded; names it and says what to do.
        """
        if isinstance(self._images, OriginalImages):
            yield from self._from_files(self._images, places)
            return
        for epoch, index, rows in places:
            yield Batch(epoch, index, self._augmented(self._images[self._own(rows)], epoch, index))

    def _own(self, rows: Tensor) -> Tensor:
        own = rows[self._team.rows(len(rows))]
        return own.to(self._images.device) if isinstance(self._images, Tensor) else own

    def _augmented(self, images: Tensor, epoch: int, index: int) -> list[Tensor]:
        images = images.to(self._device, non_blocking=True)
        return make_views(self._augmentation, images, self._keys, epoch, index, self._part)

    def _from_files(self, images: OriginalImages, places: Iterable[Place]) -> Iterator[Batch]:
        waiting, begun = iter(places), deque[_Begun]()
        pool = ThreadPoolExecutor(max(1, num_cpus() // self._team.num_on_this_machine), thread_name_prefix="decode")
        handed_out = time.perf_counter()
        try:
            while True:
                begun += (self._begin(images, place, pool) for place in islice(waiting, 1 + _NUM_AHEAD - len(begun)))
                if not begun:
                    return
                asked, batch = time.perf_counter(), begun.popleft()
                for task in batch.tasks:
                    task.result()
                ready = time.perf_counter()
                share = (ready - asked) / (ready - handed_out)
                handed_out = ready
                metrics = {"train/data_wait_s": ready - asked, "train/data_wait_share": share}
                yield Batch(batch.epoch, batch.index, self._finished(batch), metrics)
        finally:
            pool.shutdown(cancel_futures=True)

    def _begin(self, images: OriginalImages, place: Place, pool: ThreadPoolExecutor) -> _Begun:
        """Let the threads decode a batch: the crops of all views, or the squares that an augmentation begins with."""
        epoch, index, rows = place
        own = self._own(rows).tolist()
        num_channels, image_size = images.shape[1], images.shape[-1]
        if not isinstance(self._augmentation, CropAugmentation):
            squares = self._empty(len(own), *images.shape[1:])
            tasks = [pool.submit(images.read, row, square) for row, square in zip(own, squares, strict=True)]
            return _Begun(epoch, index, [squares], tasks)
        crops = [
            self._augmentation.crops(len(own), image_size, self._stream(epoch, index, view), view, self._part)
            for view in range(self._augmentation.num_views)
        ]
        pixels = [self._empty(len(own), num_channels, *each.size) for each in crops]
        tasks = [
            pool.submit(images.cut, row, [each[i] for each in crops], [each[i] for each in pixels])
            for i, row in enumerate(own)
        ]
        return _Begun(epoch, index, pixels, tasks)

    def _finished(self, batch: _Begun) -> list[Tensor]:
        if not isinstance(self._augmentation, CropAugmentation):
            return self._augmented(batch.pixels[0], batch.epoch, batch.index)
        views = []
        for view, pixels in enumerate(batch.pixels):
            cut = pixels.to(self._device, non_blocking=True)
            generator = self._stream(batch.epoch, batch.index, view)
            views.append(_channels_last(self._augmentation.photometry(cut, generator, view, self._part)))
        return views

    def _stream(self, epoch: int, index: int, view: int) -> torch.Generator:
        return stream(*view_keys(self._keys, epoch, index, view))

    def _empty(self, *shape: int) -> Tensor:
        """Bytes; for GPUs, where the transfer need not wait for the processor."""
        return torch.empty(shape, dtype=torch.uint8, pin_memory=self._device.type == "cuda")


@dataclass(frozen=True)
class _Begun:
    """A batch that threads are at, or done with."""

    epoch: int
    index: int
    pixels: Sequence[Tensor]
    tasks: Sequence[Future[None]]


def make_views(
    augmentation: Augmentation, images: Tensor, keys: Keys, epoch: int, index: int, part: tuple[int, int] | None = None
) -> list[Tensor]:
    """The views of a batch; their randomness is a function of everything but the images."""
    return [
        _channels_last(augmentation(images, stream(*view_keys(keys, epoch, index, view)), view, part))
        for view in range(augmentation.num_views)
    ]


def _channels_last(view: Tensor) -> Tensor:
    """Halves the time of convolutions on CPUs, and suits tensor cores."""
    return view.contiguous(memory_format=torch.channels_last)


def _fits(images: Tensor, device: torch.device) -> bool:
    """Whether all images may lie on the device; what is mapped into memory is read row by row on CPUs."""
    if device.type != "cuda":
        return True
    return images.nbytes < _IMAGES_SHARE * torch.cuda.get_device_properties(device).total_memory
