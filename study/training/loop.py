"""The training loop. All that is random is a function of (seeds, epoch, step): a resumed run repeats what was lost.

Steps count from 1; a step's number is how many updates the weights have seen.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from study.augmentations.base import Augmentation
from study.errors import DivergedError
from study.methods.base import MethodNetwork, MethodOutput, Moment
from study.tensors.images import Images
from study.tensors.streams import seed_global_generators
from study.training.add_on import AddOn, Pull, norm_over_ranks
from study.training.diagnostics import describe_projections
from study.training.feed import Batch, Feed
from study.training.optimizers import build_optimizer, learning_rate
from study.training.pairing import epoch_order, has_hashed_views, seed_hashes, stream_keys
from study.training.precision import Precision
from study.training.seen import Seen
from study.training.team import Team

_FLUSH_AFTER_S = 2.0
_MINIMISED = ("train/criterion", "train/base_loss", "train/loss")


@dataclass(frozen=True)
class StepRecord:
    """What one step measured.

    Attributes:
        step: from 1.
        metrics: `train/loss`, `train/base_loss`, `train/criterion`, `train/criterion/<term>`, `train/lr`,
            `train/criterion_scale`, `train/gradient_ratio` (norm of the criterion's gradient at the projections
            relative to that of the base loss), `train/projections/<what>` (see `diagnostics`), with float16 also
            `train/loss_scale`, and those of `Batch`.
    """

    step: int
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Schedule:
    """The steps of a run."""

    num_images: int
    batch_size: int
    epochs: int

    @property
    def steps_per_epoch(self) -> int:
        """Full batches only."""
        return self.num_images // self.batch_size

    @property
    def num_steps(self) -> int:
        """Steps of the whole run."""
        return self.steps_per_epoch * self.epochs


class Trainer:
    """One run in memory: network, optimiser and the step they stand at.

    Attributes:
        loaded_from: the file that the network's weights are from, to be set before the first step; see `Seen.start`.
    """

    def __init__(
        self,
        training: Mapping[str, Any],
        *,
        network: MethodNetwork,
        add_on: AddOn,
        augmentation: Augmentation,
        images: Images,
        device: torch.device,
    ) -> None:
        """Prepare step 0.

        Args:
            training: the hashed part of a run spec.
            network: initialised, or with the base's weights; moved to `device`.
            add_on: the criterion.
            augmentation: makes the views.
            images: uint8, shape (num_images, channels, height, width), or files that become so.
            device: where to train.
        """
        self.schedule = Schedule(len(images), training["batch_size"], training["epochs"])
        self.step = 0
        self.loaded_from: Path | None = None
        self.network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network.micro_batch_size = training["numerics"]["micro_batch_size"]
        if training["numerics"].get("compile"):
            self.network.backbone.compile()
        self.optimizer = build_optimizer(self.network, training["optimizer"], network.own_rates)
        self._precision = Precision(training["numerics"], device)
        self._training = training
        self._add_on = add_on
        self._augmentation = augmentation
        self._team = Team.current()
        self._team.require_divides(self.schedule.batch_size)
        self._device = device
        self._keys = stream_keys(training)
        self._feed = Feed(images, augmentation, device, self._keys, self.schedule.batch_size)
        self._seen = Seen(device)

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold."""
        return {
            "step": self.step,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "criterion_scale": self._add_on.scale,
            "loss_scaler": self._precision.state(),
            "seen": self._seen.state(),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self._add_on.scale = state["criterion_scale"]
        self._precision.load_state(state["loss_scaler"])
        self.step = int(state["step"])
        self._seen.load_state(state.get("seen"), self.step)

    def pairing(self) -> dict[str, Any]:
        """Hashes of what arms with equal seeds share, see `seed_hashes` and `Seen.hashes`."""
        schedule = self.schedule
        of_seeds = seed_hashes(
            self._training,
            num_images=schedule.num_images,
            steps_per_epoch=schedule.steps_per_epoch,
            num_views=self._augmentation.num_views,
        )
        return {**of_seeds, **self._seen.hashes()}

    @property
    def is_done(self) -> bool:
        """Whether the last step is done."""
        return self.step == self.schedule.num_steps

    def run(self, *, flush_every: int, must_stop: Callable[[], bool]) -> Iterator[list[StepRecord]]:
        """Train to the end, or until `must_stop` says so after a step; `is_done` tells which.

        Metrics stay on the device and are fetched in one transfer. Whenever records come out, `self` stands at the
        newest of them, so the caller may save a checkpoint between two of them.

        Args:
            flush_every: steps between two transfers; fewer when steps are slow.
            must_stop: asked after every step.

        Yields:
            The records of the steps since the last ones; the caller should `check_finite` them.

        Raises:
            DivergedError: a weight is not finite after the last step.
            DataError: an image cannot be decoded.
        """
        with closing(self._feed.batches(self._batches())) as batches:
            yield from self._run(batches, flush_every, must_stop)

    def _run(
        self, batches: Iterable[Batch], flush_every: int, must_stop: Callable[[], bool]
    ) -> Iterator[list[StepRecord]]:
        if self.step == 0:
            self._seen.start(self.network, self.optimizer, self.loaded_from)
        self.network.train()
        pending: list[tuple[int, dict[str, Tensor | float]]] = []
        flushed = time.monotonic()
        for batch in batches:
            self._look(batch)
            metrics = {**self._update(batch.epoch, batch.index, batch.views), **batch.metrics}
            self.step += 1
            pending.append((self.step, metrics))
            stop = must_stop()
            is_epoch_end = self.step % self.schedule.steps_per_epoch == 0
            if stop or is_epoch_end or len(pending) >= flush_every or time.monotonic() - flushed > _FLUSH_AFTER_S:
                yield _fetch(pending)
                pending.clear()
                flushed = time.monotonic()
            if stop and not self.is_done:
                return
        bad = [name for name, value in self.network.state_dict().items() if not _is_finite(value)]
        if bad:
            raise DivergedError(f"after the last step {len(bad)} weights are not finite, {bad[0]} first")

    def _batches(self) -> Iterator[tuple[int, int, Tensor]]:
        """Yield (epoch, step within it, image rows) from the current step on; the order is new in every epoch.

        Whoever prepares batches is ahead of `step`, which is read but once.
        """
        per_epoch, size = self.schedule.steps_per_epoch, self.schedule.batch_size
        start = self.step
        for epoch in range(start // max(1, per_epoch), self.schedule.epochs):
            order = epoch_order(self._keys, epoch, self.schedule.num_images)
            first = max(0, start - epoch * per_epoch)
            for index in range(first, per_epoch):
                yield epoch, index, order[index * size : (index + 1) * size]

    def _look(self, batch: Batch) -> None:
        self._seen.add(
            self.step + 1, batch.rows, batch.views, batch_size=self.schedule.batch_size,
            with_views=has_hashed_views(batch.index, self.schedule.steps_per_epoch),
        )  # fmt: skip

    def _update(self, epoch: int, index: int, views: list[Tensor]) -> dict[str, Tensor | float]:
        seed_global_generators("network", *self._keys, epoch, index)
        moment = Moment(
            self.step, self.schedule.num_steps, self.schedule.steps_per_epoch, self._training["initial"] is not None
        )
        rate = learning_rate(self._training["optimizer"], moment.step, moment.num_steps, moment.steps_per_epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = group.get("own_rate") or rate
        self.network.before_step(moment)
        with self._precision.autocast():
            output: MethodOutput = self.network(views)
        loss_scale = self._precision.loss_scale
        pull = self._add_on.pull(output, loss_scale or 1.0)
        base_gradient = backpropagate(output, pull, loss_scale or 1.0)
        self._team.average_gradients(self.network.parameters())
        base_loss = self._team.mean(output.loss.detach())
        self.network.before_update(moment)
        self._precision.step(self.optimizer)
        self.optimizer.zero_grad(set_to_none=True)  # what comes until the next step has their memory
        self.network.after_update(moment)
        return {
            "train/loss": base_loss + pull.total,
            "train/base_loss": base_loss,
            "train/criterion": pull.total,
            **{f"train/criterion/{name}": value for name, value in pull.terms.items()},
            "train/criterion_scale": self._add_on.scale or 0.0,
            "train/gradient_ratio": _ratio(pull.gradient, base_gradient),
            **{f"train/projections/{name}": value for name, value in describe_projections(output.projections).items()},
            "train/lr": rate,
            **({} if loss_scale is None else {"train/loss_scale": loss_scale}),
        }


def _is_finite(value: Tensor) -> bool:
    """Whether all numbers are; without the copies that `isfinite` would make of each large tensor."""
    if not value.is_floating_point() or not value.numel():
        return True
    return bool(torch.stack(torch.aminmax(value)).isfinite().all())


def backpropagate(output: MethodOutput, pull: Pull, loss_scale: float = 1.0) -> Tensor:
    """Add the gradients of base loss and criterion, times `loss_scale`, to the parameters.

    Returns:
        The gradient of the base loss at the projections.
    """
    seen: list[Tensor] = []
    handle = output.projections.register_hook(seen.append)  # type: ignore[no-untyped-call]
    of_loss = torch.full_like(output.loss, loss_scale)
    if pull.gradient is None:
        torch.autograd.backward([output.loss], [of_loss])
    else:
        own = (pull.gradient * loss_scale if loss_scale != 1 else pull.gradient).to(output.projections.dtype)
        torch.autograd.backward([output.loss, output.projections], [of_loss, own])
    handle.remove()
    both = seen[0].float() / loss_scale if loss_scale != 1 else seen[0]
    return both if pull.gradient is None else both - pull.gradient


def _ratio(criterion: Tensor | None, base: Tensor) -> Tensor | float:
    return 0.0 if criterion is None else norm_over_ranks(criterion) / norm_over_ranks(base)


def check_finite(records: Sequence[StepRecord]) -> None:
    """Raise DivergedError when what is minimised is not finite; names the first such step, and its terms first."""
    for record in records:
        if (scale := record.metrics.get("train/loss_scale", 1.0)) < 1:
            raise DivergedError(f"step {record.step}: gradients stay beyond float16 at a loss scale of {scale:g}")
        terms = (name for name in record.metrics if name.startswith("train/criterion/"))
        bad = [name for name in (*terms, *_MINIMISED) if not math.isfinite(record.metrics[name])]
        if not set(_MINIMISED).isdisjoint(bad):
            raise DivergedError(f"step {record.step}: {', '.join(bad)} not finite")


def _fetch(pending: Sequence[tuple[int, Mapping[str, Tensor | float]]]) -> list[StepRecord]:
    flat = [value for _, metrics in pending for value in metrics.values() if isinstance(value, Tensor)]
    fetched = iter(torch.stack([value.double() for value in flat]).tolist())
    return [
        StepRecord(step, {k: next(fetched) if isinstance(v, Tensor) else v for k, v in metrics.items()})
        for step, metrics in pending
    ]
