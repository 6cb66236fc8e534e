"""A study as a colleague sees it who has the tracking URI alone.

`write_frame` puts all runs into one Parquet file, with the plan and the trials in its metadata; the publisher attaches
it. `read_published` fetches it in one request. Where it is missing or out of date, the runs are searched for one page
at a time, and the frame is made from what was published about each: an equal one, unless evaluations were replaced.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from analysis.asked import require_known
from analysis.frames import StudyFrames, history_of, load_study
from analysis.provenance import Provenance
from analysis.records import Metrics, RunRecord, runs_of, trials_of, with_code_differences
from study.errors import JournalError
from study.journal.files import read_json, write_atomic, write_json
from study.paths import StudyPaths
from study.plan.model import Plan
from study.tracking import describe
from study.tracking.base import TrackerError

if TYPE_CHECKING:
    from study.tracking.reader import TrackedRun

FORMAT = 1
_KEY = b"study"  # of our part of the file's metadata
_SPLITS = ("validation", "test")


def write_frame(study_root: Path, frames: StudyFrames | None = None) -> Path:
    """Write the runs of a study directory as one Parquet file; equal runs give equal bytes.

    Args:
        study_root: the directory.
        frames: what was read from it already.
    """
    import pyarrow as pa
    from pyarrow import parquet

    paths, frames = StudyPaths(study_root), frames or load_study(study_root)
    trials = [read_json(file) for arm in frames.plan.arms for file in paths.trials(arm.name)]
    about = {
        "format": FORMAT, "plan": frames.plan.as_json(), "trials": trials, "provenance": frames.provenance.as_json()
    }  # fmt: skip
    table = pa.Table.from_pandas(frames.everything, preserve_index=False)
    table = table.replace_schema_metadata({**table.schema.metadata, _KEY: json.dumps(about).encode()})
    paths.runs_parquet.parent.mkdir(exist_ok=True)
    write_json(paths.provenance_json, frames.provenance.as_json())
    write_atomic(paths.runs_parquet, lambda file: parquet.write_table(table, file, compression="zstd"))
    return paths.runs_parquet


def read_frame(data: bytes, where: str) -> StudyFrames:
    """Read what `write_frame` wrote.

    Raises:
        JournalError: it is something else, or was written in another format.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = parquet.read_table(pa.BufferReader(data))
        about = json.loads((table.schema.metadata or {})[_KEY])
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise JournalError(f"{where} is not a frame of a study ({error!r})") from error
    if about["format"] != FORMAT:
        message = f"{where} has format {about['format']}, but this code reads format {FORMAT}"
        raise JournalError(f"{message}; use the code that wrote it, or publish the study again")
    provenance = Provenance(**about.get("provenance", {}))
    return StudyFrames(
        Plan.from_json(about["plan"]), table.to_pandas(), trials_of(about["trials"]), provenance=provenance
    )


def read_published(study: str, uri: str) -> StudyFrames:
    """Read a study from a tracker.

    Raises:
        TrackerError: it cannot be reached, does not know the study, or lacks its plan.
        JournalError: what is attached has another format or schema version.
    """
    from study.tracking.reader import StudyReader

    reader = StudyReader(uri, study)
    name = "frames/runs.parquet"
    attached = reader.attachment(name)
    trouble = f"{name} is not attached to {study!r}"
    if attached is not None:
        frames = read_frame(attached, f"{name} of study {study!r}")
        newest = float(reader.tags.get(describe.NEWEST_TAG, "0"))
        if newest == 0 or frames.everything["end_t"].max() >= newest:
            return frames
        trouble = f"{name} of {study!r} is older than what has been published since"
    plan_data = _json(reader.attachment("plan.json"), "plan.json", study)
    if plan_data is None:
        raise TrackerError(f"study {study!r} has neither {name} nor plan.json attached; publish it again")
    plan = Plan.from_json(plan_data)
    trials = trials_of((_json(reader.attachment("frames/trials.json"), "trials", study) or {"trials": []})["trials"])
    provenance = Provenance(**(_json(reader.attachment("frames/provenance.json"), "provenance", study) or {}))
    note = f"{trouble}: its runs were read one by one, as far as they are published."
    runs = runs_of((_record(run, plan) for run in reader.runs()), plan, trials)
    return StudyFrames(plan, with_code_differences(runs, provenance), trials, (note,), provenance)


def read_history(study: str, uri: str, run_ids: Sequence[str], metrics: Sequence[str] | None) -> pd.DataFrame:
    """See `analysis.frames.history_frame`.

    Raises:
        TrackerError: the tracker cannot be reached, or does not know the study.
        UnknownNameError: the study has no such published run, or none of them such a metric.
    """
    from study.tracking.reader import StudyReader

    reader = StudyReader(uri, study)
    known, rows = {run.key: run for run in reader.runs()}, []
    require_known("published run", run_ids, known, f"study {study!r}")
    if metrics is not None:
        own = _logged(known[run_id] for run_id in run_ids)
        if logged := own or _logged(known.values()):
            require_known("metric", metrics, logged, f"study {study!r}")
    for run_id in run_ids:
        run = known[run_id]
        for metric in sorted(run.metrics):
            is_wanted = metric in metrics if metrics is not None else metric.split("/")[0] not in _SPLITS
            rows += (
                [(run_id, step, metric, value) for step, value in reader.history(run.id, metric)] if is_wanted else []
            )
    return history_of(rows)


def _logged(runs: Iterable[TrackedRun]) -> set[str]:
    """The metrics of training steps that any of the runs has."""
    return {metric for run in runs for metric in run.metrics if metric.split("/")[0] not in _SPLITS}


def _record(run: Any, plan: Plan) -> RunRecord:
    try:
        seeds = {name: int(run.tags[f"study.{name}"]) for name in ("base_seed", "continuation_seed")}
        labels = {name: run.tags[f"study.{name}"] for name in ("study", "arm", "phase")} | seeds
        outcome = json.loads(run.tags[describe.OUTCOME_TAG])
        return RunRecord(run.key, labels, describe.nested(run.params), outcome, _metrics(run.metrics, plan))
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        problem = f"it was not published completely, or by other code ({error!r})"
        return RunRecord(run.key or run.id, problem=problem)


def _metrics(values: dict[str, float], plan: Plan) -> Metrics:
    names, found = {evaluation.name for evaluation in plan.evaluations}, dict[tuple[str, str], dict[str, float]]()
    for key, value in values.items():
        split, _, rest = key.partition("/")
        evaluation, _, metric = rest.partition("/")
        if split in _SPLITS and evaluation in names and metric:
            found.setdefault((split, evaluation), {})[metric] = value
    return found


def _json(data: bytes | None, name: str, study: str) -> dict[str, Any] | None:
    try:
        return None if data is None else dict(json.loads(data))
    except ValueError as error:
        raise JournalError(f"{name} of study {study!r} is damaged ({error})") from error
