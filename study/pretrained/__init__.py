"""One file = one family of published checkpoints; the file name is its YAML name.

::

    loaded = load_checkpoint("swav_800ep_pretrain.pth.tar", family="swav", cache=Path("checkpoints"))
    loaded.backbone   # state dict with torchvision's names
    loaded.head       # everything else that the method's network has, e.g. projector.0.weight, prototypes.weight
    loaded.report     # what was mapped, folded, filled and ignored; the line for the sweep file

`base` says what a family declares, `_layers` how heads are written down, `_unpickle` reads files without running
anything, `_coverage` maps keys or lists everything that does not fit, `_moments` brings optimiser states along, and
`_converted` keeps what was read as safetensors with a manifest.
"""

from study.pretrained._load import load_checkpoint
from study.pretrained.base import Checkpoint, Coverage

__all__ = ["Checkpoint", "Coverage", "load_checkpoint"]
