"""ResNets by torchvision's names, without a head."""

from __future__ import annotations

from study.pretrained.base import Family


class TorchvisionResNet(Family):
    """A backbone alone: torchvision's own weights, and `resnet50.pth` of VICReg, Barlow Twins and DINO.

    Flat, or in `model` as torchvision's training script nests it, or in `state_dict`; with or without `module.`. The
    classifier is ignored.

    Source: https://docs.pytorch.org/vision/stable/models/resnet.html. Licence: BSD 3-clause for torchvision's.
    """

    sections = ({"model": ""}, {"state_dict": ""}, {"": ""})
    ignored = {"fc.": "the classifier"}
    epoch = "epoch"
    addresses = (
        "https://dl.fbaipublicfiles.com/vicreg/resnet50.pth",
        "https://dl.fbaipublicfiles.com/barlowtwins/ljng/resnet50.pth",
        "https://dl.fbaipublicfiles.com/dino/dino_resnet50_pretrain/dino_resnet50_pretrain.pth",
    )
