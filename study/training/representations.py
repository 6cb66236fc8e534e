"""Frozen representations of clean images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from study.datasets.base import LabelledImages
from study.evaluations.base import Representations
from study.tensors.images import to_float

_BATCH_SIZE = 500


@torch.inference_mode()
def represent(backbone: nn.Module, images: LabelledImages, device: torch.device) -> Representations:
    """Backbone outputs in evaluation mode; the backbone is left as it was."""
    was_training = backbone.training
    backbone.eval()
    features: list[Tensor] = []
    for batch in torch.split(images.images, _BATCH_SIZE):
        clean = to_float(batch.to(device)).contiguous(memory_format=torch.channels_last)
        features.append(backbone(clean).float().cpu())
    backbone.train(was_training)
    return Representations(torch.cat(features).numpy(), images.labels.numpy())
