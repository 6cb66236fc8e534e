"""SimSiam's pre-training checkpoints."""

from __future__ import annotations

from study.pretrained._layers import Entry, batch_norm, perceptron
from study.pretrained.base import Family


class SimSiam(Family):
    """`{"epoch", "arch", "state_dict", "optimizer"}`; the projector is the encoder's `fc`.

    The projector's last linear layer has a bias that is never trained; the batch normalisation behind it takes it up.

    Source: https://github.com/facebookresearch/simsiam, simsiam/builder.py and main_simsiam.py.
    Licence: CC BY-NC 4.0, no commercial use.
    """

    sections = ({"state_dict": ""},)
    backbones = {"encoder.": "backbone."}
    heads = (
        (
            *perceptron(
                "encoder.fc",
                "projector",
                ("representation_dim", "hidden_dim", "hidden_dim", "projection_dim"),
                last_bias=False,
            ),
            Entry("encoder.fc.6.bias", None, ("projection_dim",), folds_into="projector.7.running_mean"),
            *batch_norm("encoder.fc.7", "projector.7", "projection_dim", is_affine=False),
            *perceptron("predictor", "predictor", ("projection_dim", "predictor_hidden_dim", "projection_dim")),
        ),
    )
    epoch = "epoch"
    optimizer = "optimizer"
    trained = "state_dict"
    addresses = (
        "https://dl.fbaipublicfiles.com/simsiam/models/100ep/pretrain/checkpoint_0099.pth.tar",
        "https://dl.fbaipublicfiles.com/simsiam/models/100ep-256bs/pretrain/checkpoint_0099.pth.tar",
    )
