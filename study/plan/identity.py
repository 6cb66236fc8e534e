"""Identities: of a run's training, and of an evaluation."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from study.plan.model import SCHEMA_VERSION, PlannedEvaluation
from study.plan.spec import EvaluationRequest

_RUN_ID = re.compile(r"(.+)-b\d+-c\d+-[0-9a-f]{12}")
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True)


def canonical(data: Any) -> str:
    """`data` as canonical JSON: sorted keys, no spaces, no NaN."""
    return _ENCODER.encode(data)


def digest(data: Mapping[str, Any]) -> str:
    """sha256 (hex) of `data` as canonical JSON."""
    return hashlib.sha256(canonical(data).encode()).hexdigest()


def training_identity(training: Mapping[str, Any], texts: Mapping[str, str] | None = None) -> str:
    """Identity of a run: everything that decides its weights, and the version of the schema that says so.

    `texts` are some values of `training` as canonical JSON, by name, where they are known already. The identity is the
    `digest` of `{"schema_version": …, "training": …}`.
    """
    known = texts or {}
    parts = [f'"{name}":{known[name] if name in known else canonical(training[name])}' for name in sorted(training)]
    text = f'{{"schema_version":{SCHEMA_VERSION},"training":{{{",".join(parts)}}}}}'
    return hashlib.sha256(text.encode()).hexdigest()


def arm_of(run_id: str) -> str | None:
    """The arm that a run belongs to; None for a base."""
    found = _RUN_ID.fullmatch(run_id)
    return found[1] if found else None


def evaluation_request(evaluation: PlannedEvaluation, split: str) -> EvaluationRequest:
    """An evaluation on a split, with the key that names its file."""
    short = digest({**evaluation.as_json(), "split": split})[:8]
    return EvaluationRequest(evaluation, split, f"{evaluation.name}-{split}-{short}")
