"""What one run trains and is evaluated on, resolved. `as_json` is what `spec.json` holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from study.errors import JournalError
from study.plan.model import SCHEMA_VERSION, PlannedEvaluation, require_version


@dataclass(frozen=True)
class RunSpec:
    """Everything that defines a run's training, resolved, plus labels that do not.

    Attributes:
        run_id: folder name: `<arm>-b<base seed>-c<continuation seed>-<hash12>`; for a base, the hash alone.
        identity: sha256 (hex) of `training` and the schema version.
        training: what is hashed: dataset, method, backbone, augmentation, initial, criterion, recipe, seeds, numerics.
        labels: what the run is for: study, arm, phase, base_seed, continuation_seed. Not part of the identity.
    """

    run_id: str
    identity: str
    training: Mapping[str, Any]
    labels: Mapping[str, Any]
    schema_version: int = SCHEMA_VERSION

    def as_json(self) -> dict[str, Any]:
        """Plain dicts, lists and scalars."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RunSpec:
        """Inverse of `as_json`.

        Raises:
            JournalError: the data are not a spec of this schema version.
        """
        require_version(data, f"the spec of run {data.get('run_id')!r}")
        try:
            return cls(**data)
        except TypeError as error:
            raise JournalError(f"the spec of run {data.get('run_id')!r} is damaged ({error})") from error


@dataclass(frozen=True)
class EvaluationRequest:
    """An evaluation that a run must have.

    Attributes:
        evaluation: name, resolved fields, and the dataset where it is not the run's.
        split: `validation` or `test`.
        key: `<name>-<split>-<hash8>`, the file name without suffix.
    """

    evaluation: PlannedEvaluation
    split: str
    key: str
