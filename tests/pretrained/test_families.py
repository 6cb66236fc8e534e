"""Every official layout: features are those of torchvision's ResNet-50, heads fit our methods and compute the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from study import registry
from study.backbones.resnet18 import ResNet18
from study.backbones.resnet50 import ResNet50
from study.errors import DataError
from study.methods.barlow_twins import BarlowTwins
from study.methods.base import Method, MethodNetwork
from study.methods.dino import DINO
from study.methods.simsiam import SimSiam
from study.methods.swav import SwAV
from study.methods.vicreg import VICReg
from study.pretrained import Checkpoint, load_checkpoint
from study.training.lars import LARS
from study.training.optimizers import carry_over
from tests.fakes import published_checkpoints as published

_ROWS = torch.randn(16, 2048, generator=torch.Generator().manual_seed(2))
_NUM_BACKBONE = len(published.hollow_resnet().state_dict())


def _represent(backbone: Mapping[str, Tensor], images: Tensor) -> Tensor:
    with torch.device("meta"):
        network = ResNet50().build(3, 64)
    network.load_state_dict(backbone, assign=True)
    with torch.no_grad():
        return network.eval()(images)


def _network(method: type[Any], checkpoint: Checkpoint, *left_out: str) -> MethodNetwork:
    """Our method with the checkpoint's widths and all of its weights; everything but `left_out` must be there."""
    fields = {name: w for name, w in checkpoint.report.widths.items() if name != "representation_dim"}
    settings: Method = method(**fields)
    with torch.device("meta"):
        network = settings.build(ResNet50().build(3, 64), 2048)
    result = network.load_state_dict(checkpoint.network, strict=False, assign=True)
    assert (result.missing_keys, result.unexpected_keys) == ([*left_out], [])
    return network


def _agree(ours: nn.Module, theirs: nn.Module, rows: Tensor) -> None:
    """The same outputs from stored statistics and from the batch's."""
    for mode in (False, True):
        with torch.no_grad():
            torch.testing.assert_close(
                deepcopy(ours).train(mode)(rows), deepcopy(theirs).train(mode)(rows), rtol=1e-4, atol=1e-5
            )


def test_padding_by_hand_makes_no_difference(resnet50: nn.Module, images: Tensor, features: Tensor) -> None:
    """SwAV's and VICReg's networks pad images by 1 before a convolution that pads by 2; torchvision's pads by 3."""
    theirs = deepcopy(resnet50)
    theirs.conv1.padding = (2, 2)
    with torch.no_grad():
        assert torch.equal(theirs.eval()(nn.functional.pad(images, (1, 1, 1, 1))), features)


def test_swav(swav_file: Path, images: Tensor, features: Tensor) -> None:
    checkpoint = load_checkpoint(swav_file, family="swav")
    assert torch.equal(_represent(checkpoint.backbone, images), features)
    network = _network(SwAV, checkpoint, "queue")
    original = torch.load(swav_file, weights_only=True)
    theirs = published.mlp((2048, 2048, 128), bias=True, last_bias=True)
    head = "module.projection_head."
    theirs.load_state_dict({k.removeprefix(head): v for k, v in original.items() if k.startswith(head)})
    _agree(network.projector, theirs, _ROWS)
    assert torch.equal(network.prototypes.weight, original["module.prototypes.weight"])
    assert (checkpoint.epoch, checkpoint.optimizer) == (None, None)
    report = checkpoint.report
    assert (report.num_backbone, report.num_head) == (_NUM_BACKBONE, 9)
    assert report.widths == {
        "representation_dim": 2048, "hidden_dim": 2048, "projection_dim": 128, "num_prototypes": 3000
    }  # fmt: skip
    assert report.folded == ("projection_head.0.bias",)


def test_vicreg(tmp_path: Path, resnet50: nn.Module, images: Tensor, features: Tensor) -> None:
    model = published.VICRegModel(resnet50, width=96)
    published.scrambled(model.projector, 1)
    file = published.save_lars(tmp_path / "resnet50_fullckpt.pth", model, [list(model.parameters())])
    checkpoint = load_checkpoint(file, family="vicreg", optimizer="keep")
    assert torch.equal(_represent(checkpoint.backbone, images), features)
    network = _network(VICReg, checkpoint)
    _agree(network.projector, model.projector, _ROWS)
    assert checkpoint.epoch == 1000
    assert checkpoint.report.folded == ("projector.0.bias", "projector.3.bias")
    _moments_are_halves(checkpoint, network, "momentum")
    assert checkpoint.optimizer is not None
    assert checkpoint.optimizer["param_groups"] == [{"lr": 0.2, "weight_decay": 1e-6, "momentum": 0.9, "eta": 0.001}]


@pytest.mark.parametrize(
    ("family", "key", "build"),
    [
        ("vicreg", "momentum", lambda parameters: LARS(parameters, lr=0.1)),
        ("simsiam", "momentum_buffer", lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9)),
    ],
)
def test_optimisers_go_on_with_the_published_moments(
    tmp_path: Path, family: str, key: str, build: Callable[[Any], torch.optim.Optimizer]
) -> None:
    """One step without gradient: the weights, all 1, move by the rate times the decayed moment, a half."""
    file = _official(family, tmp_path / "file.pth", width=8)
    checkpoint = load_checkpoint(file, family=family, optimizer="keep")
    network = _network({"vicreg": VICReg, "simsiam": SimSiam}[family], checkpoint)
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    parameters = [*network.parameters()]
    optimizer = build([{"params": parameters[1::2]}, {"params": parameters[::2]}])
    carry_over(optimizer, {"state": checkpoint.moments_for(network, optimizer, {key})})
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(parameter.detach(), before[name] - 0.1 * 0.9 * 0.5)
    with pytest.raises(DataError, match=f"published optimiser has {key}, but this one knows exp_avg, exp_avg_sq, step"):
        checkpoint.moments_for(network, optimizer, {"exp_avg", "exp_avg_sq", "step"})
    with pytest.raises(DataError, match="load it with optimizer: keep"):
        load_checkpoint(file, family=family).moments_for(network, optimizer, {key})


def test_loading_into_a_network_is_complete_or_says_why_not(swav_file: Path) -> None:
    checkpoint = load_checkpoint(swav_file, family="swav")
    settings = {"hidden_dim": 2048, "projection_dim": 128, "num_prototypes": 3000, "queue_size": 4}
    network = SwAV(**settings).build(ResNet50().build(3, 64), 2048)
    network.queue.fill_(2.0)
    checkpoint.load_into(network)
    for key, tensor in network.state_dict().items():
        assert torch.equal(tensor, torch.full_like(tensor, 2.0) if key == "queue" else checkpoint.network[key])
    with torch.device("meta"):
        small = SwAV(**{**settings, "num_prototypes": 64}).build(ResNet50().build(3, 64), 2048)
        other = VICReg(projection_dim=128, hidden_dim=2048).build(ResNet50().build(3, 64), 2048)
    with pytest.raises(DataError, match=r"prototypes\.weight: \(3000, 128\) in the checkpoint, \(64, 128\) in the net"):
        checkpoint.load_into(small)
    with pytest.raises(DataError) as caught:
        checkpoint.load_into(other)
    assert "projector.6.weight: not in the checkpoint" in str(caught.value)
    assert "prototypes.weight: not in the network" in str(caught.value)
    assert "hidden_dim: 2048, projection_dim: 128, num_prototypes: 3000" in str(caught.value)


def test_barlow_twins(tmp_path: Path, resnet50: nn.Module, images: Tensor, features: Tensor) -> None:
    model = published.BarlowTwinsModel(resnet50, width=96)
    published.scrambled(model.projector, 1)
    file = published.save_lars(tmp_path / "checkpoint.pth", model, published.by_dimension(model))
    checkpoint = load_checkpoint(file, family="barlow_twins", optimizer="keep")
    assert torch.equal(_represent(checkpoint.backbone, images), features)
    network = _network(BarlowTwins, checkpoint)
    _agree(network.projector, model.projector, _ROWS)
    _moments_are_halves(checkpoint, network, "momentum")
    assert checkpoint.report.ignored == ("bn.running_mean", "bn.running_var", "bn.num_batches_tracked")


def test_barlow_twins_without_the_rest(tmp_path: Path) -> None:
    with torch.device("meta"):
        model = published.BarlowTwinsModel(published.hollow_resnet(), width=96)
    torch.save(published.spread(model).state_dict(), tmp_path / "checkpoint.pth")
    checkpoint = load_checkpoint(tmp_path / "checkpoint.pth", family="barlow_twins")
    _network(BarlowTwins, checkpoint)
    assert (checkpoint.epoch, checkpoint.report.num_head) == (None, 13)


@pytest.mark.parametrize("num_groups", [1, 2])
def test_order_of_the_parameters_of_barlow_twins(tmp_path: Path, num_groups: int) -> None:
    """One group in the older code, matrices before vectors in the newer."""
    with torch.device("meta"):
        model = published.BarlowTwinsModel(published.hollow_resnet("resnet18"), width=96, representation=512)
    for i, parameter in enumerate(published.spread(model).parameters()):
        parameter.data = torch.full((1,) * parameter.ndim, float(i)).expand(parameter.shape)
    groups = published.by_dimension(model) if num_groups == 2 else [list(model.parameters())]
    file = published.save_lars(tmp_path / "checkpoint.pth", model, groups)
    checkpoint = load_checkpoint(file, family="barlow_twins", architecture="resnet18", optimizer="keep")
    assert checkpoint.optimizer is not None and len(checkpoint.optimizer["state"]) == len(list(model.parameters()))
    for name, moments in checkpoint.optimizer["state"].items():
        torch.testing.assert_close(moments["momentum"], checkpoint.network[name] / 2)


def test_simsiam(tmp_path: Path, resnet50: nn.Module, images: Tensor, features: Tensor) -> None:
    model = published.SimSiamModel(deepcopy(resnet50), dim=160, pred_dim=48)
    published.scrambled(model.encoder.fc, 1)
    published.scrambled(model.predictor, 2)
    file = published.save_simsiam(tmp_path / "checkpoint_0099.pth.tar", model)
    checkpoint = load_checkpoint(file, family="simsiam", optimizer="keep")
    assert torch.equal(_represent(checkpoint.backbone, images), features)
    # Our settings have one width for both hidden layers, which is the representation's there.
    network = _network(SimSiam, checkpoint)
    _agree(network.projector, model.encoder.fc, _ROWS)
    _agree(network.predictor, model.predictor, _ROWS[:, :160])
    assert checkpoint.epoch == 100
    assert checkpoint.report.folded == ("encoder.fc.6.bias",)
    _moments_are_halves(checkpoint, network, "momentum_buffer")


@pytest.mark.parametrize("ends_in_norm", [True, False])
def test_moco_v3(tmp_path: Path, images: Tensor, resnet50: nn.Module, features: Tensor, ends_in_norm: bool) -> None:
    momentum = published.spread(published.hollow_resnet())
    model = published.MoCoV3Model(deepcopy(resnet50), momentum, dim=64, mlp_dim=128, ends_in_norm=ends_in_norm)
    file = published.save_moco_v3(tmp_path / "r-50-1000ep.pth.tar", model)
    checkpoint = load_checkpoint(file, family="moco_v3", optimizer="keep")
    assert torch.equal(_represent(checkpoint.backbone, images), features)
    assert torch.equal(checkpoint.head["projector.0.weight"], model.base_encoder.fc[0].weight)
    assert torch.equal(checkpoint.head["teacher.projector.3.weight"], model.momentum_encoder.fc[3].weight)
    assert checkpoint.head["teacher.backbone.conv1.weight"].eq(1).all()
    assert ("predictor.4.running_mean" in checkpoint.head) == ends_in_norm
    assert checkpoint.report.num_head == _NUM_BACKBONE + 10 + 10 + 7 + 3 * ends_in_norm
    assert checkpoint.epoch == 1000
    assert checkpoint.optimizer is not None
    moments = checkpoint.optimizer["state"]
    torch.testing.assert_close(moments["predictor.0.weight"]["momentum"], model.predictor[0].weight / 2)
    assert not any(name.startswith("teacher.") for name in moments)


@pytest.mark.parametrize("has_old_names", [False, True])
def test_dino(tmp_path: Path, resnet50: nn.Module, images: Tensor, features: Tensor, has_old_names: bool) -> None:
    teacher_backbone = published.spread(published.hollow_resnet())
    student, teacher = (
        published.DINOModel(backbone, out_dim=80, hidden=48, bottleneck=32) for backbone in (resnet50, teacher_backbone)
    )
    file = published.save_dino(tmp_path / "checkpoint.pth", student, teacher, has_old_names=has_old_names)
    checkpoint = load_checkpoint(file, family="dino", optimizer="keep")
    assert torch.equal(_represent(checkpoint.backbone, images), features)
    network = _network(DINO, checkpoint)
    _agree(network.projector, student.head.mlp, _ROWS)
    _agree(network.teacher.projector, teacher.head.mlp, _ROWS)
    assert torch.equal(network.teacher.prototypes.weight, teacher.head.last_layer.weight_v)
    assert torch.equal(network.centre, torch.linspace(-1, 1, 80))
    rows = torch.randn(4, 32)
    directions = nn.functional.normalize(student.head.last_layer.weight_v, dim=1)
    torch.testing.assert_close(network.prototypes(rows), nn.functional.normalize(rows, dim=1) @ directions.T)
    assert checkpoint.epoch == 800
    _moments_are_halves(checkpoint, network, "momentum_buffer")


@pytest.mark.parametrize("use_bn", [False, True])
@pytest.mark.parametrize("nlayers", [2, 3])
@pytest.mark.parametrize("weight_norm", [False, True])
def test_heads_of_dino(tmp_path: Path, use_bn: bool, nlayers: int, weight_norm: bool) -> None:
    with torch.device("meta"):
        backbones = [published.hollow_resnet("resnet18") for _ in ("student", "teacher")]
    models = [
        published.DINOModel(
            published.spread(backbone), 80, 48, 32, use_bn=use_bn, nlayers=nlayers, weight_norm=weight_norm,
            representation=512,
        )
        for backbone in backbones
    ]  # fmt: skip
    for seed, model in enumerate(models):
        published.scrambled(model.head, seed)
        if weight_norm:
            model.head.last_layer.weight_g.data.fill_(1.0)
    file = published.save_dino(tmp_path / "checkpoint.pth", *models)
    checkpoint = load_checkpoint(file, family="dino", architecture="resnet18", optimizer="keep")
    widths = {name: width for name, width in checkpoint.report.widths.items() if name != "representation_dim"}
    settings = DINO(**widths, num_layers=nlayers, has_batch_norm=use_bn)
    network = settings.build(ResNet18().build(3, 64), 512)
    network.load_state_dict(checkpoint.network)
    rows = _ROWS[:, :512]
    _agree(network.projector, models[0].head.mlp, rows)
    _agree(network.teacher.projector, models[1].head.mlp, rows)
    _moments_are_halves(checkpoint, network, "momentum_buffer")


def test_dino_whose_prototypes_have_other_norms_is_refused(tmp_path: Path) -> None:
    models = [
        published.DINOModel(published.spread(published.hollow_resnet()), 80, 48, 32) for _ in ("student", "teacher")
    ]
    models[0].head.last_layer.weight_g.data[3] = 2.5
    file = published.save_dino(tmp_path / "checkpoint.pth", *models)
    with pytest.raises(DataError, match=r"student\.head\.last_layer\.weight_g: between 1 and 2\.5, expected 1"):
        load_checkpoint(file, family="dino")
    assert load_checkpoint(file, family="dino", parts="backbone").head == {}


@pytest.mark.parametrize(("nesting", "has_classifier"), [(None, True), ("model", False), ("state_dict", True)])
def test_torchvision(
    tmp_path: Path, resnet50: nn.Module, images: Tensor, features: Tensor, nesting: str | None, has_classifier: bool
) -> None:
    state = {**resnet50.state_dict(), **({"fc.weight": torch.zeros(10, 2048)} if has_classifier else {})}
    if nesting == "state_dict":
        state = {f"module.{key}": value for key, value in state.items()}
    torch.save({nesting: state, "epoch": 89} if nesting else state, tmp_path / "resnet50.pth")
    checkpoint = load_checkpoint(tmp_path / "resnet50.pth", "torchvision_resnet")
    assert torch.equal(_represent(checkpoint.backbone, images), features)
    assert checkpoint.head == {}
    assert checkpoint.epoch == (89 if nesting else None)
    assert checkpoint.report.ignored == (("fc.weight",) if has_classifier else ())


def _official(family: str, file: Path, width: int = 8192) -> Path:
    """The file of a family with the original's names, shapes and nesting, and one number behind each tensor.

    Another `width` is that of wide heads.
    """
    with torch.device("meta"):
        backbone = published.hollow_resnet()
        match family:
            case "swav":
                models: list[Any] = [published.SwAVModel(backbone)]
            case "vicreg":
                models = [published.VICRegModel(backbone, width)]
            case "barlow_twins":
                models = [published.BarlowTwinsModel(backbone, width)]
            case "simsiam":
                models = [published.SimSiamModel(backbone)]
            case "moco_v3":
                models = [published.MoCoV3Model(backbone, published.hollow_resnet())]
            case _:
                options = {"use_bn": True, "nlayers": 2, "weight_norm": False}
                models = [
                    published.DINOModel(b, 60_000, 4096, **options) for b in (backbone, published.hollow_resnet())
                ]
    networks = [published.spread(model) for model in models]
    match family:
        case "vicreg":
            return published.save_lars(file, *networks, [list(networks[0].parameters())])
        case "barlow_twins":
            return published.save_lars(file, *networks, published.by_dimension(networks[0]))
        case _:
            save = {"swav": published.save_swav, "simsiam": published.save_simsiam, "moco_v3": published.save_moco_v3}
            return {**save, "dino": published.save_dino}[family](file, *networks)


@pytest.mark.parametrize(
    ("family", "widths"),
    [
        ("swav", {"hidden_dim": 2048, "projection_dim": 128, "num_prototypes": 3000}),
        ("vicreg", {"hidden_dim": 8192, "projection_dim": 8192}),
        ("barlow_twins", {"hidden_dim": 8192, "projection_dim": 8192}),
        ("simsiam", {"hidden_dim": 2048, "projection_dim": 2048, "predictor_hidden_dim": 512}),
        ("moco_v3", {"hidden_dim": 4096, "projection_dim": 256}),
        ("dino", {"hidden_dim": 4096, "projection_dim": 256, "num_prototypes": 60_000}),
    ],
)
def test_widths_of_the_originals(tmp_path: Path, family: str, widths: dict[str, int]) -> None:
    checkpoint = load_checkpoint(_official(family, tmp_path / "file.pth"), family=family)
    assert checkpoint.report.widths == {"representation_dim": 2048, **widths}
    assert checkpoint.report.num_backbone == _NUM_BACKBONE


@pytest.mark.slow
def test_the_largest_original_is_converted_with_its_optimiser(tmp_path: Path) -> None:
    """VICReg's 175 million parameters and as many moments, written and read back."""
    file = _official("vicreg", tmp_path / "resnet50_fullckpt.pth")
    for _ in ("converted", "read back"):
        checkpoint = load_checkpoint(file, family="vicreg", cache=tmp_path / "cache", optimizer="keep")
        assert sum(tensor.numel() for tensor in checkpoint.network.values()) > 174e6
        assert checkpoint.optimizer is not None
        moments = checkpoint.optimizer["state"]["projector.6.weight"]["momentum"]
        assert moments.shape == (8192, 8192) and moments.eq(0.5).all()


def test_every_family_is_tested_here() -> None:
    text = Path(__file__).read_text()
    assert [name for name in registry.names("pretrained") if f'"{name}"' not in text] == []


def _moments_are_halves(checkpoint: Checkpoint, network: nn.Module, key: str) -> None:
    """Moments were written as half their parameter: each must have found its own, and every trained one has one."""
    assert checkpoint.optimizer is not None
    state, parameters = checkpoint.optimizer["state"], dict(network.named_parameters())
    for name, moments in state.items():
        torch.testing.assert_close(moments[key], parameters[name].detach() / 2)
    assert state.keys() == {name for name, p in parameters.items() if p.requires_grad}
