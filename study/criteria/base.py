"""What a criterion is: a frozen dataclass that maps the projections of a batch to one scalar to be minimised."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from study.plan.space import FloatRange


@dataclass(frozen=True)
class Views:
    """The views of one batch, as a criterion sees them.

    Attributes:
        projections: shape (views, batch, dim); projector outputs, not normalised.
    """

    projections: Tensor

    @cached_property
    def embeddings(self) -> Tensor:
        """Projections on the unit sphere, shape (views, batch, dim)."""
        return functional.normalize(self.projections, dim=-1)


@dataclass(frozen=True)
class CriterionResult:
    """What a criterion returns.

    Attributes:
        total: scalar added to the base loss and minimised.
        terms: named, unweighted scalars that make up the total.
    """

    total: Tensor
    terms: Mapping[str, Tensor] = field(default_factory=dict)


class Criterion(ABC):
    """Base of all criteria; subclasses are frozen dataclasses whose fields are their configuration.

    Calling one computes in at least float32 whatever autocast says: half precision destroys sorted spacings.

    Attributes:
        search_space: the fields a search tunes unless the sweep file says otherwise.
        components: what an ablation can drop: component name → the field values that switch it off.
        reported_fields: fields that change what is reported and nothing in the training.
        presets: named sets of field values, for a sweep file's `preset: <name>`.
        min_views: how many views it needs; 2 when it compares views.
    """

    search_space: ClassVar[Mapping[str, FloatRange]] = {}
    components: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    reported_fields: ClassVar[tuple[str, ...]] = ()
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    min_views: ClassVar[int] = 1

    def __call__(self, views: Views) -> CriterionResult:
        """Compute the criterion of (views, batch, dim) projections.

        Raises:
            ValueError: the projections have another number of dimensions, fewer than two rows or too few views.
        """
        z = views.projections
        if z.ndim != 3 or z.shape[0] < self.min_views or z.shape[1] < 2:
            needed = "views" if self.min_views == 1 else f"views >= {self.min_views}"
            raise ValueError(
                f"{type(self).__name__} needs projections of shape ({needed}, batch >= 2, dim), got {tuple(z.shape)}"
            )
        with torch.autocast(z.device.type, enabled=False):
            return self.compute(Views(z.double() if z.dtype == torch.float64 else z.float()))

    def check_batch(self, num_rows: int) -> None:  # noqa: B027 - most are content with two
        """Raise ValueError when batches of so many rows are too small; asked before anything is trained."""

    @abstractmethod
    def compute(self, views: Views) -> CriterionResult:
        """Compute the criterion; `views` holds float32 or float64 and autocast is off."""
