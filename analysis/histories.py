"""Training histories of runs as tidy frames, read from the journals, and their bands over units."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from analysis.accuracies import intervals
from analysis.asked import listed, require_study
from analysis.frames import Steps, read_steps, require_metrics
from study.journal.files import read_json, read_json_or_none
from study.paths import StudyPaths
from study.plan.model import Phase, Plan
from study.plan.spec import RunSpec

ENTROPY = "train/projections/entropy_mean"
COLUMNS = ("run_id", "arm", "base_seed", "continuation_seed", "step", "epoch", "metric", "value")


def histories_frame(
    study_root: Path, run_ids: str | Iterable[str], metrics: str | Iterable[str] | None = None
) -> pd.DataFrame:
    """Return the settled training steps of some runs, tidy: `COLUMNS`.

    `epoch` counts continued epochs, as a fraction: step s of S is s · epochs / S. S is known of runs that are trained;
    for one that is not, it is that of a trained run with as many epochs and equal batches, and NaN when there is none.

    Args:
        study_root: a study's directory.
        run_ids: runs of it; one without steps has no rows.
        metrics: as they are logged, e.g. `train/loss`; by default `ENTROPY`, if it was logged.

    Raises:
        UnknownNameError: there is no such run, or none of them has such a metric; see `analysis.frames.history_frame`.
        HomeError: the directory is not that of a study.
    """
    require_study(Path(study_root))
    steps = read_steps(Path(study_root), listed(run_ids))
    wanted = [ENTROPY] if metrics is None else listed(metrics)
    if metrics is not None:
        require_metrics(Path(study_root), wanted, steps)
    paths, lengths = StudyPaths(Path(study_root)), dict[tuple[object, object], int]()
    specs = {run_id: RunSpec.from_json(read_json(paths.run(run_id).spec)) for run_id in steps}
    for run_id, spec in specs.items():
        trained = read_json_or_none(paths.run(run_id).trained)
        if trained is not None:
            lengths[_kind(spec)] = int(trained["step"])
    rows = [
        row for run_id, spec in specs.items() for row in _rows(spec, steps[run_id], lengths.get(_kind(spec)), wanted)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def confirm_histories(study_root: Path, runs: pd.DataFrame, metrics: str | Iterable[str] | None = None) -> pd.DataFrame:
    """Return the histories of a study's confirm runs; see `histories_frame` and `analysis.frames.runs_frame`."""
    return histories_frame(study_root, runs.loc[runs["phase"] == Phase.CONFIRM, "run_id"], metrics)


def bands_frame(histories: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """Return `metric`, `arm`, `epoch`, `n`, `mean`, `low`, `high`: 95 % t intervals over units at every step.

    Continuation seeds are averaged within their base first; values that are not finite do not count.
    """
    unit = histories["base_seed"] if plan.unit == "base" else histories["continuation_seed"]
    finite = pd.to_numeric(histories["value"]).map(math.isfinite) & histories["epoch"].notna()
    return intervals(histories.assign(unit=unit)[finite.astype(bool)], ["metric", "arm", "epoch"])


def _kind(spec: RunSpec) -> tuple[object, object]:
    return spec.training.get("epochs"), spec.training.get("batch_size")  # neither when nothing is trained


def _rows(
    spec: RunSpec, steps: Steps, num_steps: int | None, metrics: Sequence[str]
) -> list[tuple[str, str, int, int, int, float, str, float]]:
    labels = spec.labels
    seeds = int(labels["base_seed"]), int(labels["continuation_seed"])
    per_step = spec.training["epochs"] / num_steps if num_steps else math.nan
    return [
        (spec.run_id, str(labels["arm"]), *seeds, step, step * per_step, metric, float(values[metric]))
        for step, values in steps
        for metric in metrics
        if metric in values
    ]
