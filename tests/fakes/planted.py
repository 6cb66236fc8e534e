"""Components of one's own, as they should not be written: they draw from elsewhere than their generator."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor

from study import registry
from study.augmentations.base import Augmentation
from study.criteria.base import Criterion, CriterionResult, Views
from study.tensors.images import to_float

Source = Literal["python", "numpy", "torch", "counter", "own", "criterion"]
GLOBAL: tuple[Source, ...] = ("python", "numpy", "torch")  # what is seeded for every view
OTHER: tuple[Source, ...] = ("counter", "own")  # what cannot be
_calls = count()
_own = random.Random()  # as a library's own generator
_left_by_criteria: list[float] = [0.5]
_SOURCES: Mapping[Source, Callable[[], float]] = {
    "python": random.random,
    "numpy": lambda: float(np.random.rand()),  # noqa: NPY002
    "torch": lambda: float(torch.rand(())),
    "counter": lambda: next(_calls) % 997 / 997,
    "own": _own.random,
    "criterion": lambda: _left_by_criteria[0],
}


@dataclass(frozen=True)
class Brightness(Augmentation):
    """Every image darker by a factor that comes from somewhere."""

    source: Source = "python"

    def __call__(
        self, images: Tensor, generator: torch.Generator, view: int = 0, part: tuple[int, int] | None = None
    ) -> Tensor:
        factors = torch.tensor([_SOURCES[self.source]() for _ in images])[:, None, None, None]
        noise = torch.randn(images.shape, generator=generator)
        return to_float(images) * (0.5 + factors / 2) + noise / 10


@dataclass(frozen=True)
class Drawing(Criterion):
    """Draws from all global generators, and leaves something behind."""

    def compute(self, views: Views) -> CriterionResult:
        _left_by_criteria[0] = random.random() + float(np.random.rand()) + float(torch.rand(()))  # noqa: NPY002
        return CriterionResult(
            views.projections.square().mean(), {"square": views.projections.square().mean().detach()}
        )


_PLANTED: Mapping[tuple[str, str], type[Any]] = {
    ("augmentations", "brightness"): Brightness,
    ("criteria", "drawing"): Drawing,
}


def plant(patch: pytest.MonkeyPatch) -> None:
    """Let sweep files name `brightness` and `drawing`, as if they lay in their folders."""
    names, component, path_of = registry.names, registry.component, registry.path_of
    patch.setattr(registry, "names", lambda f: sorted([*names(f), *(n for family, n in _PLANTED if family == f)]))
    patch.setattr(registry, "component", lambda f, name: _PLANTED.get((f, name)) or component(f, name))
    patch.setattr(registry, "path_of", lambda f, name: f"{f}/base.py" if (f, name) in _PLANTED else path_of(f, name))
    _left_by_criteria[0] = 0.5
