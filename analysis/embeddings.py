"""How the projections of each arm are distributed, from what the evaluation `embedding_statistics` has kept.

Whole weights and images are not read here: the worker that had them wrote histograms and correlations of bounded size.
What an arm looked like before it was continued is the arm that is not continued, from the same base.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.frames import RunStatus
from study.journal.files import read_json_or_none
from study.paths import StudyPaths
from study.plan.model import Phase, Plan

EVALUATION = "embedding_statistics"


def marginals_frame(study_root: Path, runs: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """Return the histograms of the projections after the normal map: `arm`, `left`, `right`, `low`, `median`, `high`.

    One row per arm and bin [left, right) of [0, 1]; density, its 10 %, 50 % and 90 % quantile over the dimensions, each
    averaged over the completed confirm runs; `num_runs` says how many.
    """
    rows = []
    for arm, details in _by_arm(study_root, runs, plan):
        # Runs of one plan have the same bins; of others, such as in a damaged file, only those like the first count.
        num_bins = len(details[0]["density"]["median"])
        alike = [d["density"] for d in details if len(d["density"]["median"]) == num_bins]
        means = {q: np.mean([d[q] for d in alike], axis=0) for q in ("low", "median", "high")}
        for i in range(num_bins):
            values = {q: float(mean[i]) for q, mean in means.items()}
            rows.append(
                {"arm": arm, "left": i / num_bins, "right": (i + 1) / num_bins, **values, "num_runs": len(alike)}
            )
    return pd.DataFrame(rows, columns=["arm", "left", "right", "low", "median", "high", "num_runs"])


def correlations_frame(study_root: Path, runs: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """Return the correlations of the first dimensions, tidy: `arm`, `run_id`, `row`, `column`, `value`.

    Of the first completed confirm run of each arm, because dimensions of different bases have nothing in common.
    """
    parts = []
    for arm, details in _by_arm(study_root, runs, plan):
        matrix = np.asarray(details[0]["correlation"], dtype=float)
        row, column = np.indices(matrix.shape)
        parts.append(
            pd.DataFrame(
                {"arm": arm, "run_id": details[0]["run_id"], "row": row.ravel(), "column": column.ravel(),
                 "value": matrix.ravel()}
            )
        )  # fmt: skip
    columns = ["arm", "run_id", "row", "column", "value"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def _by_arm(study_root: Path, runs: pd.DataFrame, plan: Plan) -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    names = [
        planned.name for planned in plan.evaluations if planned.component.name == EVALUATION and not planned.dataset
    ]
    done = runs[(runs["phase"] == Phase.CONFIRM) & (runs["status"] == RunStatus.COMPLETED)]
    for arm in plan.arms:
        own = done[done["arm"] == arm.name].sort_values(["base_seed", "continuation_seed"])
        found = [details for run_id in own["run_id"] if (details := _details(study_root, run_id, names)) is not None]
        if found:
            yield arm.name, found


def _details(study_root: Path, run_id: str, names: Sequence[str]) -> Mapping[str, Any] | None:
    """What the first of the evaluations `names` has kept of a run."""
    folder = StudyPaths(study_root).run(run_id).evaluations
    for file in (file for name in names for file in sorted(folder.glob(f"{name}-test-*.json"))):
        record = read_json_or_none(file)
        if record is not None and "details" in record:
            return {**record["details"], "run_id": run_id}
    return None
