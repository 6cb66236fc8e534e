"""DINO's full checkpoints with a ResNet."""

from __future__ import annotations

from study.pretrained._layers import Entry, Layer, batch_norm, linear, moved
from study.pretrained.base import Family


def _head(*, has_batch_norm: bool) -> Layer:
    """Three linear layers with GELU, then prototypes as weight-normalised rows of norm 1."""
    step = 3 if has_batch_norm else 2
    widths = ("representation_dim", "hidden_dim", "hidden_dim", "projection_dim")
    entries: list[Entry] = []
    for i in range(3):
        entries += linear(f"head.mlp.{step * i}", f"projector.{step * i}", widths[i], widths[i + 1])
        if has_batch_norm and i < 2:
            entries += batch_norm(f"head.mlp.{3 * i + 1}", f"projector.{3 * i + 1}", "hidden_dim")
    return [
        *entries,
        Entry("head.last_layer.weight_g", None, ("num_prototypes", 1), constant=1.0),
        Entry("head.last_layer.weight_v", "prototypes.weight", ("num_prototypes", "projection_dim")),
    ]


def _both(*, has_batch_norm: bool) -> Layer:
    """Student, teacher, and the centre of the teacher's scores."""
    head = _head(has_batch_norm=has_batch_norm)
    return (
        *moved(head, "student.", ""),
        *moved(head, "teacher.", "teacher."),
        Entry("loss.center", "centre", (1, "num_prototypes"), drops_axis=True),
    )


class DINO(Family):
    """`{"student", "teacher", "optimizer", "epoch", "args", "dino_loss"}`, with and without `module.`.

    `backbone` is the student's, as our method has it; the teacher's, which the authors evaluate and publish alone, is
    `teacher.backbone.…` in the head. A head whose prototypes have other norms than 1 is refused: our method has none.
    Older files call the layers of the head `projection_head` and `prototypes`. `dino_resnet50_pretrain.pth`, the
    teacher's backbone alone, is of the family torchvision_resnet.

    Source: https://github.com/facebookresearch/dino, main_dino.py and vision_transformer.py; for the older names,
    issue 30 there. Licence: Apache 2.0.
    """

    sections = ({"student": "student.", "teacher": "teacher.", "dino_loss": "loss."},)
    renames = {"head.projection_head.": "head.mlp.", "head.prototypes.": "head.last_layer."}
    backbones = {"student.backbone.": "backbone.", "teacher.backbone.": "teacher.backbone."}
    heads = (_both(has_batch_norm=False), _both(has_batch_norm=True))
    inert = ("argparse.Namespace",)
    epoch = "epoch"
    optimizer = "optimizer"
    trained = "student"
    sorts_vectors_last = True
    untrained = ("head.last_layer.weight_g",)
    moments = {"mu": "momentum"}
