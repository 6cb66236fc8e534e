"""VICReg's full checkpoints."""

from __future__ import annotations

from study.pretrained._layers import perceptron
from study.pretrained.base import Family


class VICReg(Family):
    """`{"epoch", "model", "optimizer"}`; the optimiser's settings mention a function of the training script.

    The expander's hidden layers have biases, which the batch normalisation behind them takes up here. `resnet50.pth`,
    the backbone alone, is of the family torchvision_resnet.

    Source: https://github.com/facebookresearch/vicreg, main_vicreg.py; for the function, issue 6 there. Licence: MIT.
    """

    sections = ({"model": ""},)
    backbones = {"backbone.": "backbone."}
    heads = (
        perceptron(
            "projector",
            "projector",
            ("representation_dim", "hidden_dim", "hidden_dim", "projection_dim"),
            folds_biases=True,
            last_bias=False,
        ),
    )
    inert = ("__main__.exclude_bias_and_norm", "__mp_main__.exclude_bias_and_norm")
    epoch = "epoch"
    optimizer = "optimizer"
    trained = "model"
    moments = {"mu": "momentum"}
    addresses = ("https://dl.fbaipublicfiles.com/vicreg/resnet50_fullckpt.pth",)
