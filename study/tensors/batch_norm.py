"""Batch normalisation over the rows of all processes, and running statistics that stand still for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from study.tensors.gather import gather_rows, own_rows


class GatheredBatchNorm(_BatchNorm):
    """Batch normalisation whose statistics are those of all processes' rows, on any device.

    Gathers the input itself, so that values and gradients are those of one process with the whole batch. That is
    simple and slow: meant for CPUs, whose tensors `nn.SyncBatchNorm` refuses.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (batch, features, …), this process's rows."""
        if not self.training:
            return super().forward(x)
        everything: Tensor = super().forward(gather_rows(x))
        return everything[own_rows(x)]

    def _check_input_dim(self, x: Tensor) -> None:
        if x.dim() < 2:
            raise ValueError(f"expected at least 2 dimensions, but got {x.dim()}")


def synchronise(network: nn.Module, device: torch.device) -> nn.Module:
    """Let every batch normalisation of `network` see the rows of all processes; returns the network.

    CUDA gets torch's own module, everything else `GatheredBatchNorm`.
    """
    if device.type == "cuda":
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
        return converted
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, _BatchNorm) and not isinstance(child, GatheredBatchNorm):
                setattr(parent, name, _gathered(child))
    return network


@contextmanager
def running_statistics_kept(network: nn.Module) -> Iterator[None]:
    """Inside, batch normalisation in training mode leaves its running statistics as they are.

    The statistics are still passed to the kernel, with momentum 0, so that a forward pass which is repeated for
    activation checkpointing saves the same tensors as the first.
    """
    layers = [m for m in network.modules() if isinstance(m, _BatchNorm)]
    momenta = [layer.momentum for layer in layers]
    counts = [None if layer.num_batches_tracked is None else layer.num_batches_tracked.clone() for layer in layers]
    for layer in layers:
        layer.momentum = 0.0
    try:
        yield
    finally:
        for layer, momentum, count in zip(layers, momenta, counts, strict=True):
            layer.momentum = momentum
            if count is not None and layer.num_batches_tracked is not None:
                layer.num_batches_tracked.copy_(count)


def _gathered(layer: _BatchNorm) -> GatheredBatchNorm:
    """The same layer with the same weights and statistics."""
    made = GatheredBatchNorm(layer.num_features, layer.eps, layer.momentum, layer.affine, layer.track_running_stats)
    state = layer.state_dict()
    for tensor in state.values():
        if tensor.is_floating_point():
            made = made.to(tensor.device, tensor.dtype)
    made.load_state_dict(state)
    for name, parameter in layer.named_parameters():
        made.get_parameter(name).requires_grad_(parameter.requires_grad)  # a teacher's stay fixed
    return made.train(layer.training)
