"""Files as the authors of pre-training methods publish them: their modules by structure, their nesting, their pickles.

The modules here are written down from the names and shapes of the originals; each names its source.
"""

from __future__ import annotations

import argparse
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision import models

State = dict[str, Tensor]


def resnet(architecture: str = "resnet50", seed: int = 0) -> nn.Module:
    """A torchvision ResNet with running statistics and affine parameters that are not the initial ones."""
    network: nn.Module = models.get_model(architecture, weights=None)
    network.fc = nn.Identity()
    return scrambled(network, seed)


def hollow_resnet(architecture: str = "resnet50", num_classes: int | None = None) -> nn.Module:
    """Names and shapes alone, for `spread`."""
    with torch.device("meta"):
        network: nn.Module = models.get_model(architecture, weights=None)
        network.fc = nn.Identity() if num_classes is None else nn.Linear(2048, num_classes)
    return network


def scrambled(network: nn.Module, seed: int) -> nn.Module:
    """Every normalisation layer and bias gets values under which a mix-up would show."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 1.5, generator=generator)
            elif name.endswith("num_batches_tracked"):
                tensor.fill_(1000 + seed)
            elif tensor.ndim == 1:
                low = 0.5 if name.endswith("weight") else -0.2
                tensor.uniform_(low, low + 0.4, generator=generator)
    return network


def spread(network: nn.Module) -> nn.Module:
    """The same names and shapes with one number behind each tensor: a file of a few kilobytes."""
    for module in network.modules():
        for name, tensor in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
            small = torch.full((1,) * tensor.ndim, 1.0 if tensor.is_floating_point() else 7).to(tensor.dtype)
            value = small.expand(tensor.shape)
            if isinstance(tensor, nn.Parameter):
                module.register_parameter(name, nn.Parameter(value, tensor.requires_grad))
            else:
                module.register_buffer(name, value)
    return network


def mlp(widths: Sequence[int], *, bias: bool, last_bias: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths[:-1]):
        layers += [nn.Linear(inputs, outputs, bias=bias), nn.BatchNorm1d(outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1], bias=last_bias))


class SwAVModel(nn.Module):
    """https://github.com/facebookresearch/swav, src/resnet50.py; the backbone is the module itself."""

    def __init__(self, backbone: nn.Module, hidden: int = 2048, output: int = 128, prototypes: int = 3000) -> None:
        super().__init__()
        for name, module in backbone.named_children():
            if name != "fc":
                self.add_module(name, module)
        width = backbone.layer4[-1].bn3.num_features if hasattr(backbone.layer4[-1], "bn3") else 512
        self.projection_head = mlp((width, hidden, output), bias=True, last_bias=True)
        self.prototypes = nn.Linear(output, prototypes, bias=False)


class VICRegModel(nn.Module):
    """https://github.com/facebookresearch/vicreg, main_vicreg.py."""

    def __init__(self, backbone: nn.Module, width: int = 8192, representation: int = 2048) -> None:
        super().__init__()
        self.backbone = backbone
        self.projector = mlp((representation, width, width, width), bias=True, last_bias=False)


class BarlowTwinsModel(nn.Module):
    """https://github.com/facebookresearch/barlowtwins, main.py."""

    def __init__(self, backbone: nn.Module, width: int = 8192, representation: int = 2048) -> None:
        super().__init__()
        self.backbone = backbone
        self.projector = mlp((representation, width, width, width), bias=False, last_bias=False)
        self.bn = nn.BatchNorm1d(width, affine=False)


class SimSiamModel(nn.Module):
    """https://github.com/facebookresearch/simsiam, simsiam/builder.py."""

    def __init__(self, encoder: nn.Module, dim: int = 2048, pred_dim: int = 512, representation: int = 2048) -> None:
        super().__init__()
        self.encoder = encoder
        head = mlp((representation, representation, representation, dim), bias=False, last_bias=True)
        head[-1].bias.requires_grad = False
        encoder.fc = nn.Sequential(*head, nn.BatchNorm1d(dim, affine=False))
        self.predictor = mlp((dim, pred_dim, dim), bias=False, last_bias=True)


class MoCoV3Model(nn.Module):
    """https://github.com/facebookresearch/moco-v3, moco/builder.py."""

    def __init__(
        self, base: nn.Module, momentum: nn.Module, *, dim: int = 256, mlp_dim: int = 4096, ends_in_norm: bool = True
    ) -> None:
        super().__init__()
        self.base_encoder, self.momentum_encoder = base, momentum
        for encoder in (base, momentum):
            encoder.fc = self._mlp(2048, mlp_dim, dim)
        self.momentum_encoder.requires_grad_(False)
        self.predictor = self._mlp(dim, mlp_dim, dim, ends_in_norm=ends_in_norm)

    @staticmethod
    def _mlp(inputs: int, hidden: int, outputs: int, *, ends_in_norm: bool = True) -> nn.Sequential:
        layers = mlp((inputs, hidden, outputs), bias=False, last_bias=False)
        return nn.Sequential(*layers, nn.BatchNorm1d(outputs, affine=False)) if ends_in_norm else layers


class _WeightNormed(nn.Module):
    """What `torch.nn.utils.weight_norm` makes of a linear layer: `weight_g` and `weight_v`."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight_g = nn.Parameter(torch.ones(outputs, 1), requires_grad=False)
        self.weight_v = nn.Parameter(torch.randn(outputs, inputs))


class DINOModel(nn.Module):
    """https://github.com/facebookresearch/dino, utils.MultiCropWrapper and vision_transformer.DINOHead.

    The published ResNet-50 has `out_dim=60000, hidden=4096, use_bn=True, nlayers=2, weight_norm=False`:
    https://github.com/facebookresearch/dino/issues/189.
    """

    def __init__(
        self, backbone: nn.Module, out_dim: int = 65536, hidden: int = 2048, bottleneck: int = 256,
        *, use_bn: bool = False, nlayers: int = 3, weight_norm: bool = True, representation: int = 2048,
    ) -> None:  # fmt: skip
        super().__init__()
        self.backbone = backbone
        layers: list[nn.Module] = []
        for inputs in (representation, *[hidden] * (nlayers - 2)):
            layers += [nn.Linear(inputs, hidden), *([nn.BatchNorm1d(hidden)] if use_bn else []), nn.GELU()]
        self.head = nn.Module()
        self.head.mlp = nn.Sequential(*layers, nn.Linear(hidden, bottleneck))
        plain = nn.Linear(bottleneck, out_dim, bias=False)
        self.head.last_layer = _WeightNormed(bottleneck, out_dim) if weight_norm else plain


def wrapped(network: nn.Module) -> State:
    """The state dict as DistributedDataParallel has it."""
    return OrderedDict((f"module.{key}", tensor) for key, tensor in network.state_dict().items())


def momentum_state(groups: Iterable[Iterable[nn.Parameter]], key: str, **settings: Any) -> dict[str, Any]:
    """`state_dict()` of an optimiser with a moment, `parameter / 2`, per trained parameter."""
    positions, state, packed = iter(range(10_000)), {}, []
    for group in groups:
        numbers = []
        for parameter in group:
            numbers.append(next(positions))
            if parameter.requires_grad:
                state[numbers[-1]] = {key: _half(parameter.detach())}
        packed.append({**settings, "params": numbers})
    return {"state": state, "param_groups": packed}


def _half(tensor: Tensor) -> Tensor:
    """Half of everything, as small in a file as the tensor is."""
    is_spread = tensor.ndim > 0 and not any(tensor.stride())
    return (tensor[(slice(0, 1),) * tensor.ndim] / 2).expand(tensor.shape) if is_spread else tensor / 2


def by_dimension(network: nn.Module) -> list[list[nn.Parameter]]:
    """Matrices, then vectors: the groups of Barlow Twins and, of what is trained, DINO."""
    parameters = list(network.parameters())
    return [[p for p in parameters if p.ndim != 1], [p for p in parameters if p.ndim == 1]]


@contextmanager
def in_main(name: str, function: Callable[..., object]) -> Iterator[Callable[..., object]]:
    """Let `function` be `__main__.<name>` while a file is written, as in a training script that is run."""
    main = sys.modules["__main__"]
    function.__module__, function.__qualname__, function.__name__ = "__main__", name, name
    setattr(main, name, function)
    try:
        yield function
    finally:
        delattr(main, name)


def exclude_bias_and_norm(parameter: Tensor) -> bool:
    raise AssertionError("a function of the authors' script was called")


def save_swav(path: Path, network: nn.Module) -> Path:
    torch.save(wrapped(network), path)
    return path


def save_lars(path: Path, network: nn.Module, groups: list[list[nn.Parameter]]) -> Path:
    """VICReg's and Barlow Twins' files: the optimiser's settings hold a function."""
    with in_main("exclude_bias_and_norm", exclude_bias_and_norm) as function:
        optimizer = momentum_state(
            groups, "mu", lr=0.2, weight_decay=1e-6, momentum=0.9, eta=0.001,
            weight_decay_filter=function, lars_adaptation_filter=function,
        )  # fmt: skip
        torch.save({"epoch": 1000, "model": wrapped(network), "optimizer": optimizer}, path)
    return path


def save_simsiam(path: Path, network: SimSiamModel) -> Path:
    groups = [list(network.encoder.parameters()), list(network.predictor.parameters())]
    optimizer = momentum_state(groups, "momentum_buffer", lr=0.05, momentum=0.9, weight_decay=1e-4, nesterov=False)
    torch.save({"epoch": 100, "arch": "resnet50", "state_dict": wrapped(network), "optimizer": optimizer}, path)
    return path


def save_moco_v3(path: Path, network: MoCoV3Model) -> Path:
    optimizer = momentum_state([list(network.parameters())], "mu", lr=0.3, momentum=0.9, weight_decay=1.5e-6)
    scaler = {"scale": 65536.0, "growth_factor": 2.0, "backoff_factor": 0.5, "growth_interval": 2000}
    state = wrapped(network)
    torch.save({"epoch": 1000, "arch": "resnet50", "state_dict": state, "optimizer": optimizer, "scaler": scaler}, path)
    return path


def save_dino(path: Path, student: DINOModel, teacher: DINOModel, *, has_old_names: bool = False) -> Path:
    groups = [[p for p in group if p.requires_grad] for group in by_dimension(student)]
    states = {"student": wrapped(student), "teacher": wrapped(teacher)}
    if has_old_names:
        states = {name: {_old_name(key): value for key, value in state.items()} for name, state in states.items()}
    content = {
        **states,
        "optimizer": momentum_state(groups, "momentum_buffer", lr=0.03, momentum=0.9, weight_decay=1e-4),
        "epoch": 800,
        "args": argparse.Namespace(arch="resnet50", out_dim=65536, output_dir=Path("logs")),
        "dino_loss": {"center": torch.linspace(-1, 1, next(student.head.last_layer.parameters()).shape[0])[None]},
    }
    torch.save(content, path)
    return path


def _old_name(key: str) -> str:
    """https://github.com/facebookresearch/dino/issues/30."""
    return key.removeprefix("module.").replace("head.mlp", "head.projection_head").replace("last_layer", "prototypes")
