"""DINO's full checkpoints with a ResNet."""

from __future__ import annotations

from itertools import pairwise, product

from study.pretrained._layers import Entry, Layer, batch_norm, linear, moved
from study.pretrained.base import Family


def _head(num_layers: int, *, has_batch_norm: bool, is_weight_normed: bool) -> Layer:
    """Linear layers with GELU between them, then prototypes, which are compared with normalised rows."""
    step = 3 if has_batch_norm else 2
    widths = ("representation_dim", *["hidden_dim"] * (num_layers - 1), "projection_dim")
    entries: list[Entry] = []
    for i, (inputs, outputs) in enumerate(pairwise(widths)):
        entries += linear(f"head.mlp.{step * i}", f"projector.{step * i}", inputs, outputs)
        if has_batch_norm and i < num_layers - 1:
            entries += batch_norm(f"head.mlp.{3 * i + 1}", f"projector.{3 * i + 1}", "hidden_dim")
    shape = ("num_prototypes", "projection_dim")
    if not is_weight_normed:
        return [*entries, Entry("head.last_layer.weight", "prototypes.weight", shape)]
    return [
        *entries,
        Entry("head.last_layer.weight_g", None, ("num_prototypes", 1), constant=1.0),
        Entry("head.last_layer.weight_v", "prototypes.weight", shape),
    ]


def _both(head: Layer) -> Layer:
    """Student, teacher, and the centre of the teacher's scores."""
    return (
        *moved(head, "student.", ""),
        *moved(head, "teacher.", "teacher."),
        Entry("loss.center", "centre", (1, "num_prototypes"), drops_axis=True),
    )


class DINO(Family):
    """`{"student", "teacher", "optimizer", "epoch", "args", "dino_loss"}`, with and without `module.`.

    `backbone` is the student's, as our method has it; the teacher's, which the authors evaluate and publish alone, is
    `teacher.backbone.…` in the head.

    The published ResNet-50 has another head than the published code makes by default: two layers with a batch
    normalisation between them, and prototypes without weight normalisation (issue 189); for our method, that is
    `num_layers: 2` and `has_batch_norm: true`. Our method has prototypes of norm 1, and a head in which weight
    normalisation gives them others is refused.

    Older files call the layers of the head `projection_head` and `prototypes`. `dino_resnet50_pretrain.pth`, the
    teacher's backbone alone, is of the family torchvision_resnet.

    Source: https://github.com/facebookresearch/dino, main_dino.py and vision_transformer.py; for the older names,
    issue 30 there. Licence: Apache 2.0.
    """

    sections = ({"student": "student.", "teacher": "teacher.", "dino_loss": "loss."},)
    renames = {"head.projection_head.": "head.mlp.", "head.prototypes.": "head.last_layer."}
    backbones = {"student.backbone.": "backbone.", "teacher.backbone.": "teacher.backbone."}
    heads = tuple(
        _both(_head(num_layers, has_batch_norm=has_batch_norm, is_weight_normed=is_weight_normed))
        for num_layers, has_batch_norm, is_weight_normed in product((3, 2), (False, True), (True, False))
    )
    inert = ("argparse.Namespace", "pathlib.PosixPath")
    epoch = "epoch"
    optimizer = "optimizer"
    trained = "student"
    sorts_vectors_last = True
    untrained = ("head.last_layer.weight_g",)
    moments = {"mu": "momentum"}
    addresses = (
        "https://dl.fbaipublicfiles.com/dino/dino_resnet50_pretrain/dino_resnet50_pretrain_full_checkpoint.pth",
    )
