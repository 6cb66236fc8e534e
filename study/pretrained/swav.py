"""SwAV's ResNets."""

from __future__ import annotations

from study.pretrained._layers import linear, perceptron
from study.pretrained.base import Family


class SwAV(Family):
    """Weights alone, flat, each key behind `module.`; the published files have neither optimiser nor epoch.

    Files of the authors' training script nest the weights in `state_dict`. Their network pads images by hand, which
    makes no difference to the weights.

    Source: https://github.com/facebookresearch/swav, src/resnet50.py and main_swav.py; for what the published files
    lack, issues 6, 44 and 50 there. Licence: CC BY-NC 4.0, no commercial use.
    """

    sections = ({"state_dict": ""}, {"": ""})
    heads = (
        (
            *perceptron(
                "projection_head",
                "projector",
                ("representation_dim", "hidden_dim", "projection_dim"),
                folds_biases=True,
            ),
            *linear("prototypes", "prototypes", "projection_dim", "num_prototypes", has_bias=False),
        ),
    )
    epoch = "epoch"
    optimizer = "optimizer"
    trained = "state_dict"
    addresses = (
        "https://dl.fbaipublicfiles.com/deepcluster/swav_800ep_pretrain.pth.tar",
        "https://dl.fbaipublicfiles.com/deepcluster/swav_400ep_bs256_pretrain.pth.tar",
    )
