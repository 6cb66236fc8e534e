"""MoCo v3's ResNets."""

from __future__ import annotations

from study.pretrained._layers import Layer, batch_norm, moved, perceptron
from study.pretrained.base import Family


def _projector(source: str, target: str) -> Layer:
    widths = ("representation_dim", "hidden_dim", "projection_dim")
    return [
        *perceptron(source, target, widths, last_bias=False),
        *batch_norm(f"{source}.4", f"{target}.4", "projection_dim", is_affine=False),
    ]


_BOTH = [
    *_projector("base_encoder.fc", "projector"),
    *moved(_projector("fc", "projector"), "momentum_encoder.", "teacher."),
    *perceptron("predictor", "predictor", ("projection_dim", "hidden_dim", "projection_dim"), last_bias=False),
]
_PREDICTOR_NORM = batch_norm("predictor.4", "predictor.4", "projection_dim", is_affine=False)


class MoCoV3(Family):
    """`{"epoch", "arch", "state_dict", "optimizer", "scaler"}`; projectors are the encoders' `fc`.

    Versions of the code differ in whether the predictor ends in a batch normalisation; both are read. No method here
    has these heads; the momentum encoder is the `teacher`.

    Source: https://github.com/facebookresearch/moco-v3, moco/builder.py and main_moco.py.
    Licence: CC BY-NC 4.0, no commercial use.
    """

    sections = ({"state_dict": ""},)
    backbones = {"base_encoder.": "backbone.", "momentum_encoder.": "teacher.backbone."}
    heads = ((*_BOTH, *_PREDICTOR_NORM), tuple(_BOTH))
    epoch = "epoch"
    optimizer = "optimizer"
    trained = "state_dict"
    moments = {"mu": "momentum"}
    addresses = ("https://dl.fbaipublicfiles.com/moco-v3/r-50-1000ep/r-50-1000ep.pth.tar",)
