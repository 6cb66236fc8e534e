"""What the training loop is fed with: the views of one batch after the other, on its device.

Images in memory are looked up when their step comes. Images in files are decoded and cut by threads while the steps
before compute: a few batches ahead, so that memory is bounded. Neither changes what a step sees, because everything
that is random is a function of (seeds, epoch, step).

Threads, not processes: decoding leaves the interpreter's lock, attempts are forked, and they handle signals. They run
only code of datasets; augmentations run in the main thread, because the global generators, which some draw from, are
shared by all threads.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice
from typing import TypeVar

import torch
from torch import Tensor

from study.augmentations.base import Augmentation, CropAugmentation
from study.datasets.base import OriginalImages
from study.errors import UserError
from study.journal.process import num_cpus
from study.tensors.images import Images
from study.tensors.streams import global_draws, global_states, seed_global_generators, stream
from study.training.pairing import Keys, view_keys
from study.training.team import Team

_IMAGES_SHARE = 0.25  # of a GPU's memory
_NUM_AHEAD = 2  # batches that are prepared while a step computes

T = TypeVar("T")
Part = tuple[int, int]
Place = tuple[int, int, Tensor]
"""Epoch, step within it, and rows of the whole batch."""


@dataclass(frozen=True)
class Batch:
    """What one step of this process sees.

    Attributes:
        epoch: from 0.
        index: of the step within the epoch, from 0.
        rows: the images that this process looked up, int64, on the CPU.
        views: float32, each of shape (rows of this process, channels, height, width), channels last, on the device.
        metrics: of images in files, how long the loop waited for them: `train/data_wait_s`, and `train/data_wait_share`
            of the time since it got the batch before.
    """

    epoch: int
    index: int
    rows: Tensor
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
            UserError: something draws from a global generator where that cannot be repeated.
        """
        if isinstance(self._images, OriginalImages):
            yield from self._from_files(self._images, places)
            return
        for epoch, index, rows in places:
            own = self._own(rows)
            found = self._images[own.to(self._images.device) if isinstance(self._images, Tensor) else own]
            yield Batch(epoch, index, own, _channels_last(self._augmented(found, epoch, index)))

    def _own(self, rows: Tensor) -> Tensor:
        return rows[self._team.rows(len(rows))]

    def _augmented(self, images: Tensor, epoch: int, index: int) -> list[Tensor]:
        images = images.to(self._device, non_blocking=True)
        make = partial(self._augmentation, images)
        return [self._drawn(make, epoch, index, view) for view in range(self._augmentation.num_views)]

    def _drawn(self, make: Callable[[torch.Generator, int, Part], T], epoch: int, index: int, view: int) -> T:
        """What `make` draws for a view, from the view's stream; the global generators begin streams of their own.

        Raises:
            UserError: it draws from a global generator, so that several processes would not see what one would see.
        """
        keys = view_keys(self._keys, epoch, index, view)
        seed_global_generators("global", *keys)
        is_checked = self._team.size > 1 and index == 0
        before = global_states() if is_checked else {}
        made = make(stream(*keys), view, self._part)
        if is_checked and (names := global_draws(before)):
            raise UserError(
                f"augmentation {type(self._augmentation).__name__} draws from {' and '.join(names)}: {self._team.size} "
                "processes cannot see with it what one would see; let it draw from its argument `generator`, or take "
                "processes_per_run out of the site file"
            )
        return made

    def _from_files(self, images: OriginalImages, places: Iterable[Place]) -> Iterator[Batch]:
        waiting, begun = self._checked(images, iter(places)), deque[_Begun]()
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
                yield Batch(batch.epoch, batch.index, batch.rows, _channels_last(self._finished(batch)), metrics)
        finally:
            pool.shutdown(cancel_futures=True)

    def _checked(self, images: OriginalImages, places: Iterator[Place]) -> Iterator[Place]:
        """The places, after one image has been decoded without a draw from what threads share; see `batches`."""
        for first in islice(places, 1):
            before = global_states()
            images.read(int(self._own(first[2])[0]), self._empty(*images.shape[1:]))
            if names := global_draws(before):
                raise UserError(
                    f"{type(images).__name__} draws from {' and '.join(names)} while it decodes an image; threads "
                    "decode in any order, so that nothing of it could be repeated: draw in the augmentation instead"
                )
            yield from chain([first], places)

    def _begin(self, images: OriginalImages, place: Place, pool: ThreadPoolExecutor) -> _Begun:
        """Let the threads decode a batch: the crops of all views, or the squares that an augmentation begins with."""
        epoch, index, rows = place[0], place[1], self._own(place[2])
        own = rows.tolist()
        num_channels, image_size = images.shape[1], images.shape[-1]
        if not isinstance(self._augmentation, CropAugmentation):
            squares = self._empty(len(own), *images.shape[1:])
            tasks = [pool.submit(images.read, row, square) for row, square in zip(own, squares, strict=True)]
            return _Begun(epoch, index, rows, [squares], tasks)
        draw = partial(self._augmentation.crops, len(own), image_size)
        crops = [self._drawn(draw, epoch, index, view) for view in range(self._augmentation.num_views)]
        pixels = [self._empty(len(own), num_channels, *each.size) for each in crops]
        tasks = [
            pool.submit(images.cut, row, [each[i] for each in crops], [each[i] for each in pixels])
            for i, row in enumerate(own)
        ]
        return _Begun(epoch, index, rows, pixels, tasks)

    def _finished(self, batch: _Begun) -> list[Tensor]:
        if not isinstance(self._augmentation, CropAugmentation):
            return self._augmented(batch.pixels[0], batch.epoch, batch.index)
        views = []
        for view, pixels in enumerate(batch.pixels):
            cut = pixels.to(self._device, non_blocking=True)
            views.append(self._drawn(partial(self._augmentation.photometry, cut), batch.epoch, batch.index, view))
        return views

    def _empty(self, *shape: int) -> Tensor:
        """Bytes; for GPUs, where the transfer need not wait for the processor."""
        return torch.empty(shape, dtype=torch.uint8, pin_memory=self._device.type == "cuda")


@dataclass(frozen=True)
class _Begun:
    """A batch that threads are at, or done with."""

    epoch: int
    index: int
    rows: Tensor
    pixels: Sequence[Tensor]
    tasks: Sequence[Future[None]]


def _channels_last(views: Sequence[Tensor]) -> list[Tensor]:
    """Halves the time of convolutions on CPUs, and suits tensor cores."""
    return [view.contiguous(memory_format=torch.channels_last) for view in views]


def _fits(images: Tensor, device: torch.device) -> bool:
    """Whether all images may lie on the device; what is mapped into memory is read row by row on CPUs."""
    if device.type != "cuda":
        return True
    return images.nbytes < _IMAGES_SHARE * torch.cuda.get_device_properties(device).total_memory
