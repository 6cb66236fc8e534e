"""From a file's keys to the network's: every key has its place, or everything that has none is listed at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from study.errors import DataError, UserError, did_you_mean
from study.pretrained._layers import Entry, Layer
from study.pretrained.base import Family

Parts = Literal["all", "backbone"]


@dataclass
class KeyMap:
    """What became of the keys of a file.

    Attributes:
        tensors: by names in the network.
        targets: key in the file → name in the network, of the keys that have one.
        widths: named widths.
        folded: see `Coverage`; so are `filled` and `ignored`.
        missing: keys that the family declares and the file lacks; `unexpected`: the reverse.
        wrong: shapes and values that are not as declared.
    """

    tensors: dict[str, Tensor] = field(default_factory=dict)
    targets: dict[str, str] = field(default_factory=dict)
    widths: dict[str, int] = field(default_factory=dict)
    folded: list[str] = field(default_factory=list)
    filled: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def num_problems(self) -> int:
        """How many keys have no place, or places no key."""
        return len(self.missing) + len(self.unexpected) + len(self.wrong)


def map_keys(weights: Mapping[str, Tensor], family: type[Family], architecture: str, parts: Parts) -> KeyMap:
    """Map all keys by the head that fits best; the problems are in the result."""
    shapes = backbone_shapes(architecture)
    backbone = [
        Entry(source + key, target + key, shape, is_counter=not shape)
        for source, target in family.backbones.items()
        for key, shape in shapes.items()
    ]
    known = {entry.source for entry in backbone}
    rest = {key for key in weights if key not in known and not key.endswith("num_batches_tracked")}
    head = min(family.heads, key=lambda head: len({entry.source for entry in head if not entry.is_counter} ^ rest))
    return _map(weights, [*backbone, *head], family, shapes, parts)


def backbone_shapes(architecture: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a torchvision ResNet without its classifier.

    Raises:
        UserError: torchvision has no such ResNet.
    """
    from torchvision import models  # late: families are declared without torchvision

    known = [name for name in models.list_models(module=models) if "resne" in name]
    if architecture not in known:
        raise UserError(f"no ResNet {architecture!r} in torchvision.{did_you_mean(architecture, known)}")
    with torch.device("meta"):
        network = models.get_model(architecture, weights=None)
    return {key: tuple(t.shape) for key, t in network.state_dict().items() if not key.startswith("fc.")}


def require_complete(keys: KeyMap, where: str, name: str, hint: str) -> None:
    """Raise DataError with everything that is missing, unexpected or wrong."""
    if keys.num_problems:
        found = (("missing", keys.missing), ("unexpected", keys.unexpected), ("wrong", keys.wrong))
        lines = [
            line for kind, items in found if items for line in (f"{kind} ({len(items)}):", *(f"  - {i}" for i in items))
        ]
        raise DataError("\n".join([f"{where}: not a complete checkpoint of the family {name}", *lines, hint]).strip())


def _map(
    weights: Mapping[str, Tensor], entries: Layer, family: type[Family], shapes: Mapping[str, Sequence[int]],
    parts: Parts,
) -> KeyMap:  # fmt: skip
    keys = KeyMap(widths={"representation_dim": _representation_dim(shapes)})
    for entry in entries:
        if parts == "all" or (entry.target or "").startswith("backbone."):
            _place(keys, entry, weights.get(entry.source))
        elif entry.source in weights:
            keys.ignored.append(entry.source)
    _fold(keys, entries, weights)
    keys.ignored += [key for key in weights if key.startswith(tuple(family.ignored))]
    keys.unexpected = sorted(weights.keys() - {entry.source for entry in entries} - {*keys.ignored})
    return keys


def _place(keys: KeyMap, entry: Entry, tensor: Tensor | None) -> None:
    if tensor is None:
        if entry.is_counter and entry.target is not None:
            keys.tensors[entry.target] = torch.zeros((), dtype=torch.int64)
            keys.filled.append(entry.source)
        else:
            keys.missing.append(f"{entry.source} ({_sizes(_expected(keys, entry))})")
        return
    if not _binds(keys, entry, tensor):
        expected = _sizes(_expected(keys, entry))
        keys.wrong.append(f"{entry.source}: shape {_sizes(tensor.shape)}, expected {expected}")
        return
    if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
        keys.wrong.append(f"{entry.source}: holds values that are not finite")
        return
    if entry.constant is not None and not bool((tensor - entry.constant).abs().max() <= 1e-3):
        keys.wrong.append(f"{entry.source}: between {tensor.min():g} and {tensor.max():g}, expected {entry.constant:g}")
    if entry.folds_into is not None:
        keys.folded.append(entry.source)
    if entry.target is not None:
        value = tensor[0] if entry.drops_axis else tensor
        keys.tensors[entry.target] = _owned(value.detach())
        keys.targets[entry.source] = entry.target


def _owned(tensor: Tensor) -> Tensor:
    """float32 or int64, contiguous, with memory of its own: safetensors stores nothing else."""
    tensor = tensor.to(torch.float32 if tensor.is_floating_point() else torch.int64).contiguous()
    return tensor if tensor.untyped_storage().nbytes() == tensor.nbytes else tensor.clone()


def _binds(keys: KeyMap, entry: Entry, tensor: Tensor) -> bool:
    """Whether the shape fits; names of widths without a value get one."""
    if tensor.ndim != len(entry.shape):
        return False
    free = {
        name: size
        for name, size in zip(entry.shape, tensor.shape, strict=True)
        if isinstance(name, str) and name not in keys.widths
    }
    widths = {**keys.widths, **free}
    fits = all(
        (widths[w] if isinstance(w, str) else w) == size for w, size in zip(entry.shape, tensor.shape, strict=True)
    )
    if fits:
        keys.widths.update({str(name): size for name, size in free.items()})
    return fits


def _fold(keys: KeyMap, entries: Layer, weights: Mapping[str, Tensor]) -> None:
    """Subtract biases from the running means behind them."""
    for entry in entries:
        if entry.folds_into in keys.tensors and entry.source in keys.folded:
            keys.tensors[entry.folds_into] = keys.tensors[entry.folds_into] - weights[entry.source].float()


def _representation_dim(shapes: Mapping[str, Sequence[int]]) -> int:
    """Width of the last normalisation, which is that of the representation."""
    return [shape for shape in shapes.values() if len(shape) == 1][-1][0]


def _expected(keys: KeyMap, entry: Entry) -> Iterator[int | str]:
    return (keys.widths.get(width, width) if isinstance(width, str) else width for width in entry.shape)


def _sizes(shape: object) -> str:
    return "×".join(map(str, shape)) or "scalar"  # type: ignore[call-overload]
