"""The criterion beside the base method: how strongly each pulls at the projections, and in what proportion."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, distributed

from study.criteria.base import Criterion, Views
from study.errors import DivergedError
from study.methods.base import MethodOutput
from study.tensors.gather import gather_rows


@dataclass(frozen=True)
class Pull:
    """What a criterion makes of a batch.

    Attributes:
        total: scaled scalar that is added to the base loss, detached.
        terms: named, unweighted scalars, detached.
        gradient: of the total at this process's projections, at least float32; None when it has none.
    """

    total: Tensor
    terms: Mapping[str, Tensor]
    gradient: Tensor | None


class AddOn:
    """A criterion with its scale.

    Weights of different criteria have different units. `strength` puts all on one scale: the criterion is multiplied
    by the one constant that makes the norm of its gradient at the projections `strength` times the norm of the base
    loss's there, for the first batch of the training. Ranges of `strength` are therefore equally wide for every
    criterion, base method, batch size and dimension.

    Attributes:
        scale: the constant; None until the first batch has been seen.
    """

    def __init__(self, criterion: Criterion, strength: float | None = None) -> None:
        """`strength` None leaves the criterion as its weights make it."""
        self._criterion = criterion
        self._strength = strength
        self.scale = 1.0 if strength is None else None

    def pull(self, output: MethodOutput, loss_scale: float = 1.0) -> Pull:
        """Judge the projections of all processes.

        Args:
            output: what the method made of the batch.
            loss_scale: factor under which gradients of the base loss are taken, see `Precision`.

        Raises:
            DivergedError: the scale is needed, and one of the two gradients is zero or not finite.
        """
        leaf = output.projections.detach()
        if leaf.dtype in (torch.float16, torch.bfloat16):
            leaf = leaf.float()  # half precision would round the gradient that is taken here
        leaf.requires_grad_()
        with torch.enable_grad():
            result = self._criterion(Views(gather_rows(leaf, dim=1)))
        gradient = None
        if result.total.requires_grad:
            (gradient,) = torch.autograd.grad(result.total, leaf)
        if self.scale is None:
            self.scale = self._calibrated(output, gradient, loss_scale)
        scaled = gradient if gradient is None or self.scale == 1 else gradient * self.scale
        return Pull(result.total.detach() * self.scale, result.terms, scaled)

    def _calibrated(self, output: MethodOutput, gradient: Tensor | None, loss_scale: float) -> float:
        assert self._strength is not None
        of_loss = torch.full_like(output.loss, loss_scale)
        (base,) = torch.autograd.grad(output.loss, output.projections, of_loss, retain_graph=True)
        base = base.float() / loss_scale if loss_scale != 1 else base
        own = norm_over_ranks(gradient) if gradient is not None else base.new_zeros(())
        ratio = float(norm_over_ranks(base) / own)
        if not (math.isfinite(ratio) and ratio > 0):
            raise DivergedError(
                f"no scale gives {type(self._criterion).__name__} the strength {self._strength:g} on the first batch: "
                f"the norms of the gradients at the projections are {float(norm_over_ranks(base)):g} (base loss) and "
                f"{float(own):g} (criterion)"
            )
        return self._strength * ratio


def norm_over_ranks(x: Tensor) -> Tensor:
    """Euclidean norm of a tensor whose rows are spread over the processes, float64."""
    squares = x.double().square().sum()
    if distributed.is_available() and distributed.is_initialized():
        distributed.all_reduce(squares)
    return squares.sqrt()
