"""What a family of published checkpoints is: a class whose attributes say where which weights lie."""

from __future__ import annotations

from abc import ABC
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from study.errors import DataError
from study.pretrained._layers import Layer


class Family(ABC):  # noqa: B024 - abstract, but of attributes
    """Base of all families; subclasses set attributes and have no code.

    Keys are those of the file after `module.` is taken off, each behind the prefix of its section.

    Attributes:
        sections: ways in which files of this family are nested; the first that fits is taken. Each maps names in the
            file's outermost dict (`""` is that dict itself) to the prefix that their keys get.
        renames: beginnings of keys in older files → in newer ones.
        backbones: prefix of a backbone's keys → prefix in the network (`backbone.`, or `teacher.backbone.`).
        heads: all other layers; more than one where files differ. Names of widths are those of the settings of our
            method; `representation_dim` is the backbone's.
        ignored: beginnings of keys that no network of ours needs, and why.
        inert: functions and classes that files mention and nobody calls, e.g. `__main__.exclude_bias_and_norm`;
            replaced by a placeholder when a file is read.
        epoch: name of the number of complete epochs, or None.
        optimizer: name of the optimiser's state, or None.
        trained: section whose parameters the optimiser has.
        sorts_vectors_last: an optimiser with several groups has matrices in the first, vectors in the last; not so: all
            as the model has them.
        untrained: parameters that an optimiser may leave out.
        moments: the optimiser's names of moments → ours.
        addresses: where the authors publish files of this family.
    """

    sections: ClassVar[Sequence[Mapping[str, str]]] = ({"": ""},)
    renames: ClassVar[Mapping[str, str]] = {}
    backbones: ClassVar[Mapping[str, str]] = {"": "backbone."}
    heads: ClassVar[Sequence[Layer]] = ((),)
    ignored: ClassVar[Mapping[str, str]] = {}
    inert: ClassVar[Sequence[str]] = ()
    epoch: ClassVar[str | None] = None
    optimizer: ClassVar[str | None] = None
    trained: ClassVar[str] = ""
    sorts_vectors_last: ClassVar[bool] = False
    untrained: ClassVar[Sequence[str]] = ()
    moments: ClassVar[Mapping[str, str]] = {}
    addresses: ClassVar[Sequence[str]] = ()


@dataclass(frozen=True)
class Coverage:
    """What became of every key of a file.

    Attributes:
        family: name of the family.
        architecture: torchvision's name of the backbone.
        num_backbone: tensors of the backbone, all of them.
        num_head: tensors of the head, all of them; 0 for files without.
        widths: the head's widths by their names in the settings of our method, e.g. `projection_dim`.
        folded: biases that went into the running mean of the batch normalisation behind them.
        filled: counters that the file lacks, 0 now.
        ignored: keys that nothing needs.
        advice: the line to add to the sweep file, or "" when the hash is there already.
    """

    family: str
    architecture: str
    num_backbone: int
    num_head: int
    widths: Mapping[str, int]
    folded: tuple[str, ...] = ()
    filled: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    advice: str = ""

    def __str__(self) -> str:
        lines = [
            f"{self.family}: all {self.num_backbone} tensors of {self.architecture}, all {self.num_head} of the head"
        ]
        if self.widths:
            lines.append("widths: " + ", ".join(f"{name}={width}" for name, width in self.widths.items()))
        for name in ("folded", "filled", "ignored"):
            if keys := getattr(self, name):
                lines.append(f"{name}: {', '.join(keys)}")
        return "\n".join([*lines, *([self.advice] if self.advice else [])])


@dataclass(frozen=True)
class Checkpoint:
    """A published checkpoint in the names of this framework.

    Attributes:
        backbone: state dict with torchvision's names, without `fc`.
        head: all other tensors of the method's network: `projector.0.weight`, `prototypes.weight`, `teacher.…`.
        epoch: complete epochs, or None when the file does not say.
        optimizer: None when reset or absent. `state` maps names of parameters, `backbone.conv1.weight`, to their
            moments; `param_groups` has the settings of each group.
        sha256: hash of the published file.
        report: what became of every key.
    """

    backbone: Mapping[str, Tensor]
    head: Mapping[str, Tensor]
    epoch: int | None
    optimizer: Mapping[str, Any] | None
    sha256: str
    report: Coverage

    def load_into(self, network: nn.Module, fresh: Collection[str] = ("queue",)) -> None:
        """Load all weights into the network of a method.

        Args:
            network: with a torchvision ResNet as its backbone, and heads of this checkpoint's widths.
            fresh: buffers that no file has and that begin anew.

        Raises:
            DataError: the network lacks a tensor, has another one, or one of another shape; all are listed, and
                nothing has been loaded.
        """
        ours, theirs = network.state_dict(), self.network
        problems = [
            *(f"{key}: not in the checkpoint" for key in ours if key not in theirs and key not in fresh),
            *(f"{key}: not in the network" for key in theirs if key not in ours),
            *(
                f"{key}: {tuple(theirs[key].shape)} in the checkpoint, {tuple(ours[key].shape)} in the network"
                for key in ours
                if key in theirs and ours[key].shape != theirs[key].shape
            ),
        ]
        if problems:
            widths = ", ".join(f"{name}: {width}" for name, width in self.report.widths.items())
            raise DataError(
                f"{len(problems)} tensors of the checkpoint ({self.report.family}, {widths}) and of the network do not "
                "fit; give the method these widths:\n" + "\n".join(f"  - {problem}" for problem in problems)
            )
        network.load_state_dict(theirs, strict=False)

    def moments_for(
        self, network: nn.Module, optimizer: torch.optim.Optimizer, expected: Collection[str]
    ) -> dict[int, dict[str, Any]]:
        """The moments by position, as `state` of the optimiser's `state_dict` has them.

        Parameters whose moments the file lacks begin without.

        Args:
            network: the method's network, whose names of parameters are those of this checkpoint.
            optimizer: of parameters of `network`, in any order and groups.
            expected: names of the optimiser's moments, e.g. `momentum_buffer` of SGD, `momentum` of our LARS.

        Raises:
            DataError: no optimiser was kept, or it was of a kind with other moments.
        """
        if self.optimizer is None:
            raise DataError("the checkpoint was loaded without its optimiser; load it with optimizer: keep")
        state: Mapping[str, Mapping[str, Any]] = self.optimizer["state"]
        if strange := sorted({key for moments in state.values() for key in moments} - {*expected}):
            raise DataError(
                f"the published optimiser has {', '.join(strange)}, but this one knows {', '.join(sorted(expected))}; "
                "choose the published kind of optimiser, or write optimizer: reset"
            )
        names = {parameter: name for name, parameter in network.named_parameters()}
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        return {i: dict(state[names[p]]) for i, p in enumerate(parameters) if names[p] in state}

    @property
    def network(self) -> dict[str, Tensor]:
        """Backbone and head as one state dict of the method's network."""
        return {**{f"backbone.{key}": tensor for key, tensor in self.backbone.items()}, **self.head}
