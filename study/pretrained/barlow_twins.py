"""Barlow Twins' full checkpoints."""

from __future__ import annotations

from study.pretrained._layers import perceptron
from study.pretrained.base import Family


class BarlowTwins(Family):
    """`{"epoch", "model", "optimizer"}`; the optimiser's settings mention a function of the training script.

    The authors have replaced the file at their address since (issue 36): it may hold the weights alone, flat.

    The loss has a batch normalisation of its own, whose running statistics nothing reads. `resnet50.pth`, the
    backbone alone, is of the family torchvision_resnet.

    Source: https://github.com/facebookresearch/barlowtwins, main.py; for the function, issues 20 and 36 there.
    Licence: MIT.
    """

    sections = ({"model": ""}, {"": ""})
    backbones = {"backbone.": "backbone."}
    heads = (
        perceptron(
            "projector",
            "projector",
            ("representation_dim", "hidden_dim", "hidden_dim", "projection_dim"),
            last_bias=False,
        ),
    )
    ignored = {"bn.": "running statistics of the loss, which nothing reads"}
    inert = ("__main__.exclude_bias_and_norm", "__mp_main__.exclude_bias_and_norm")
    epoch = "epoch"
    optimizer = "optimizer"
    trained = "model"
    sorts_vectors_last = True
    moments = {"mu": "momentum"}
    addresses = ("https://dl.fbaipublicfiles.com/barlowtwins/ljng/checkpoint.pth",)
