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


def digest(data: Mapping[str, Any]) -> str:
    """sha256 (hex) of `data` as canonical JSON: sorted keys, no spaces, no NaN."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def training_identity(training: Mapping[str, Any]) -> str:
    """Identity of a run: everything that decides its weights, and the version of the schema that says so."""
    return digest({"schema_version": SCHEMA_VERSION, "training": training})


def arm_of(run_id: str) -> str | None:
    """The arm that a run belongs to; None for a base."""
    found = _RUN_ID.fullmatch(run_id)
    return found[1] if found else None


def evaluation_request(evaluation: PlannedEvaluation, split: str) -> EvaluationRequest:
    """An evaluation on a split, with the key that names its file."""
    short = digest({**evaluation.as_json(), "split": split})[:8]
    return EvaluationRequest(evaluation, split, f"{evaluation.name}-{split}-{short}")
