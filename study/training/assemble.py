"""From the hashed part of a spec to the objects of a run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import threadpoolctl
import torch
import torch.utils.deterministic
from torch import Tensor, nn

from study.methods.base import MethodNetwork
from study.plan.components import build
from study.plan.model import Component
from study.tensors.images import Images, as_imagenet_pixels
from study.tensors.streams import global_stream
from study.training.add_on import AddOn
from study.training.loop import Trainer
from study.training.pairing import stream_keys


def set_numerics(numerics: Mapping[str, Any]) -> None:
    """Set what changes the bits of a result, for this process."""
    torch.set_num_threads(numerics["num_threads"])
    threadpoolctl.threadpool_limits(numerics["num_threads"])  # scikit-learn's BLAS
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it CUDA refuses to be deterministic
    torch.use_deterministic_algorithms(numerics["deterministic"])
    # Filling uninitialised memory is a debugging aid that costs 10 % of a small step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.allow_tf32 = False  # `float32` means it, also in convolutions
    torch.backends.cudnn.benchmark = not numerics["deterministic"]


def component(training: Mapping[str, Any], family: str, key: str) -> Any:
    """The component that a spec names under `key`."""
    return build(family, Component(training[key]["name"], training[key]["params"]))


def build_network(training: Mapping[str, Any]) -> MethodNetwork:
    """A freshly initialised network; its weights are a function of the base seed."""
    dataset = component(training, "datasets", "dataset")
    backbone = component(training, "backbones", "backbone")
    method = component(training, "methods", "method")
    with global_stream("initialisation", training["seeds"]["base"]):
        encoder = backbone.build(dataset.num_channels, dataset.image_size)
        if training.get("pixels") == "imagenet":
            encoder.register_forward_pre_hook(_to_imagenet_pixels)  # has no weights, so that names stay
        network: MethodNetwork = method.build(encoder, backbone.representation_dim)
    return network


def _to_imagenet_pixels(_encoder: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (as_imagenet_pixels(inputs[0]), *inputs[1:])


def build_trainer(training: Mapping[str, Any], network: MethodNetwork, images: Images, device: torch.device) -> Trainer:
    """A trainer that stands at step 0; what components draw when they are made is a function of the seeds."""
    with global_stream("components", *stream_keys(training)):
        criterion = component(training, "criteria", "criterion")
        augmentation = component(training, "augmentations", "augmentation")
    return Trainer(
        training,
        network=network,
        add_on=AddOn(criterion, training["criterion"]["strength"]),
        augmentation=augmentation,
        images=images,
        device=device,
    )
