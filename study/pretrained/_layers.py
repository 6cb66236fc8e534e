"""How the layers of a head are written down: which keys a file must have, of which shape, and where they go."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

Width = int | str


@dataclass(frozen=True)
class Entry:
    """One key of a file.

    Attributes:
        source: key in the file.
        target: key in the network; None: the value is looked at, and dropped.
        shape: widths as numbers, or as names that stand for the same number wherever they occur.
        folds_into: target of the running mean of the batch normalisation behind a linear layer, from which this bias
            is subtracted: BN(x + b; mean) = BN(x; mean - b), and training statistics take b out by themselves.
        is_counter: `num_batches_tracked`, which files of old versions lack; 0 then.
        constant: the only value that can be dropped without changing the network.
        drops_axis: the first axis has length 1, and the network has no such axis.
    """

    source: str
    target: str | None
    shape: tuple[Width, ...]
    folds_into: str | None = None
    is_counter: bool = False
    constant: float | None = None
    drops_axis: bool = False


Layer = Sequence[Entry]


def linear(
    source: str, target: str, inputs: Width, outputs: Width, *, has_bias: bool = True, fold: str | None = None
) -> Layer:
    """A linear layer; `fold` names the batch normalisation in the network that takes up its bias."""
    entries = [Entry(f"{source}.weight", f"{target}.weight", (outputs, inputs))]
    if fold is not None:
        return [*entries, Entry(f"{source}.bias", None, (outputs,), folds_into=f"{fold}.running_mean")]
    return [*entries, Entry(f"{source}.bias", f"{target}.bias", (outputs,))] if has_bias else entries


def batch_norm(source: str, target: str, width: Width, *, is_affine: bool = True) -> Layer:
    """A batch normalisation with running statistics."""
    names = [*(("weight", "bias") if is_affine else ()), "running_mean", "running_var"]
    entries = [Entry(f"{source}.{name}", f"{target}.{name}", (width,)) for name in names]
    counter = "num_batches_tracked"
    return [*entries, Entry(f"{source}.{counter}", f"{target}.{counter}", (), is_counter=True)]


def perceptron(
    source: str, target: str, widths: Sequence[Width], *, folds_biases: bool = False, last_bias: bool = True
) -> Layer:
    """Linear layers with batch normalisation and ReLU between them, numbered like `nn.Sequential`: 0, 1, 3, 4, 6.

    Args:
        source: name of the sequence in the file.
        target: name of the sequence in the network.
        widths: input, hidden layers, output.
        folds_biases: the hidden linear layers of the file have biases.
        last_bias: the last linear layer has a bias.
    """
    entries: list[Entry] = []
    for i, (inputs, outputs) in enumerate(pairwise(widths[:-1])):
        fold = f"{target}.{3 * i + 1}" if folds_biases else None
        entries += linear(f"{source}.{3 * i}", f"{target}.{3 * i}", inputs, outputs, has_bias=False, fold=fold)
        entries += batch_norm(f"{source}.{3 * i + 1}", f"{target}.{3 * i + 1}", outputs)
    last = 3 * (len(widths) - 2)
    return [*entries, *linear(f"{source}.{last}", f"{target}.{last}", *widths[-2:], has_bias=last_bias)]


def moved(layer: Iterable[Entry], source: str, target: str) -> Layer:
    """The same entries with prefixes, for a teacher that has what the student has."""
    return [
        replace(
            entry,
            source=source + entry.source,
            target=None if entry.target is None else target + entry.target,
            folds_into=None if entry.folds_into is None else target + entry.folds_into,
        )
        for entry in layer
    ]
