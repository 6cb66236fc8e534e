"""Frozen representations and projections of clean images."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from study.datasets.base import LabelledImages
from study.evaluations.base import Representations
from study.methods.base import MethodNetwork
from study.tensors.images import to_float

_BATCH_SIZE = 500


@torch.inference_mode()
def represent(
    backbone: nn.Module, images: LabelledImages, device: torch.device, pause: Callable[[], None] = lambda: None
) -> Representations:
    """Backbone outputs in evaluation mode; the backbone is left as it was. `pause` is called after every batch."""
    was_training = backbone.training
    backbone.eval()
    features: list[Tensor] = []
    for start in range(0, len(images.images), _BATCH_SIZE):
        clean = to_float(images.images[start : start + _BATCH_SIZE].to(device)).contiguous(
            memory_format=torch.channels_last
        )
        features.append(backbone(clean).float().cpu())
        pause()
    backbone.train(was_training)
    return Representations(torch.cat(features).numpy(), images.labels.numpy())


@torch.inference_mode()
def project(
    network: MethodNetwork, images: LabelledImages, device: torch.device, pause: Callable[[], None] = lambda: None
) -> NDArray[np.float32]:
    """Projector outputs in evaluation mode, shape (num_images, projection_dim); both views of the method are the image.

    Methods that keep a state of their own between steps may change it: `network` is for this alone.
    """
    network.eval()
    projections: list[Tensor] = []
    # Equal parts: a last one of a single image would be too few for some losses.
    rows = torch.arange(len(images.images))
    for part in torch.tensor_split(rows, math.ceil(len(rows) / _BATCH_SIZE)):
        clean = to_float(images.images[slice(int(part[0]), int(part[-1]) + 1)].to(device)).contiguous(
            memory_format=torch.channels_last
        )
        representations = network.backbone(clean)
        output = network.compare([representations, representations], [clean, clean])
        projections.append(output.projections[0].float().cpu())
        pause()
    return torch.cat(projections).numpy()
