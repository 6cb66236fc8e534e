"""A component of a plan by name, and an evaluation that a plan asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Component:
    """A component by name, with every field resolved.

    Attributes:
        name: file name in the family's folder.
        params: all fields, defaults included, so that a changed default changes the identity.
    """

    name: str
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PlannedEvaluation(Component):
    """An evaluation of a plan.

    Attributes:
        name: what the plan calls it; its metrics begin with it.
        evaluation: the component, where that is not called `name`.
        dataset: what it is done on, where that is not the plan's dataset.
    """

    evaluation: str | None = None
    dataset: Component | None = None

    @property
    def component(self) -> Component:
        """What computes it."""
        return Component(self.evaluation or self.name, self.params)

    def as_json(self) -> dict[str, Any]:
        """Plain dicts, lists and scalars; what is left out says the usual, so that old results stay valid."""
        return {key: value for key, value in asdict(self).items() if value is not None}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> PlannedEvaluation:
        """Inverse of `as_json`."""
        dataset = data.get("dataset")
        return cls(**{**data, "dataset": None if dataset is None else Component(**dataset)})
