"""Runs, trials and training histories of studies as tidy tables, from journals or from a tracker: equal tables.

A source is the directory of a study, or a `Published` study in a tracker.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.asked import listed, require_known, require_study
from analysis.columns import HISTORY_COLUMNS
from analysis.provenance import Provenance, read_provenance
from analysis.records import (
    Metrics,
    RunRecord,
    RunStatus,
    codes_in,
    plain,
    required_evaluations,
    runs_of,
    shared,
    trials_of,
    with_code_differences,
)
from analysis.winners import tunable_part
from study.errors import JournalError, UserError
from study.journal.files import names_in, read_json
from study.journal.final import outcome
from study.journal.replay import RunState, replay_run, settled_steps
from study.journal.side_by_side import side_by_side
from study.journal.summary import final_state
from study.paths import RunPaths, StudyPaths
from study.plan.model import Plan
from study.plan.spec import RunSpec

__all__ = [
    "Published", "RunStatus", "StudyFrames", "history_frame", "load_plan", "load_studies", "load_study",
    "required_evaluations", "runs_frame", "steps_frame", "trials_frame",
]  # fmt: skip


@dataclass(frozen=True)
class Published:
    """A study in a tracker: its name, and the tracking URI."""

    study: str
    uri: str


@dataclass(frozen=True)
class StudyFrames:
    """All that an analysis of one study needs.

    Attributes:
        plan: the study.
        everything: one row per run, sorted by run id; those that do not count say why in the column `unused`.
        trials: one row per trial of the plan's arms.
        notes: what a reader must know about how they were read.
        provenance: the code of the runs, and what was made anew.
    """

    plan: Plan
    everything: pd.DataFrame
    trials: pd.DataFrame
    notes: tuple[str, ...] = ()
    provenance: Provenance = field(default_factory=Provenance)

    @property
    def runs(self) -> pd.DataFrame:
        """The runs that count, without the column `unused`."""
        used = self.everything["unused"] == ""
        counted = self.everything if used.all() else self.everything[used]  # a selection copies, and is asked for often
        return counted.drop(columns="unused").reset_index(drop=True)


def load_study(source: Path | Published) -> StudyFrames:
    """Read one study.

    Raises:
        HomeError: the directory has no plan.json.
        JournalError: the plan or a trial has another schema version, or is damaged. Runs that cannot be read do not
            count, and say why.
        TrackerError: the tracker cannot be reached, or does not know the study.
    """
    if isinstance(source, Published):
        from analysis.published import read_published

        return read_published(source.study, source.uri)
    plan, paths = load_plan(source), StudyPaths(Path(source))
    trials = trials_of([read_json(file) for arm in plan.arms for file in paths.trials(arm.name)])
    runs = runs_of(_records(paths, plan), plan, trials)
    hashes = {code for codes in codes_in(runs).values() for code in codes.values()}
    provenance = read_provenance(source, sorted(hashes))
    return StudyFrames(plan, with_code_differences(runs, provenance), trials, provenance=provenance)


def load_studies(sources: Iterable[Path | Published]) -> dict[str, StudyFrames]:
    """Read several studies, by name; `pd.concat([s.runs for s in ….values()])` has the column `study`.

    Raises:
        UserError: two of them have the same name, so that their runs could not be told apart.
        StudyError: as of `load_study`.
    """
    found: dict[str, StudyFrames] = {}
    for source in sources:
        frames = load_study(source)
        if frames.plan.study in found:
            raise UserError(f"two of the sources hold a study called {frames.plan.study!r}, the second is {source}")
        found[frames.plan.study] = frames
    return found


def load_plan(study_root: Path) -> Plan:
    """Read the plan of a study directory.

    Raises:
        HomeError: the directory has no plan.json.
    """
    require_study(Path(study_root))
    return Plan.from_json(read_json(StudyPaths(Path(study_root)).plan))


def runs_frame(source: Path | Published, *, include_unused: bool = False) -> pd.DataFrame:
    """Return one row per run that belongs to the plan, sorted by run id.

    Columns: `analysis.columns.RUN_COLUMNS` (see `study.journal.final.outcome` for what they hold), `param/<dotted
    name>` for every field of the criterion and the recipe, and `<split>/<evaluation>/<metric>`. Runs of other arms or
    seeds, and confirm runs with other parameters than their arm's winner, do not belong; `include_unused` keeps them
    and adds the column `unused`: why, or "".
    """
    frames = load_study(source)
    return frames.everything if include_unused else frames.runs


def trials_frame(source: Path | Published) -> pd.DataFrame:
    """Return one row per trial of the plan's arms: `TRIAL_COLUMNS` and `param/<dotted name>`."""
    if isinstance(source, Published):
        return load_study(source).trials
    paths = StudyPaths(Path(source))
    return trials_of([read_json(file) for arm in load_plan(source).arms for file in paths.trials(arm.name)])


def history_frame(
    source: Path | Published, run_ids: str | Iterable[str], metrics: str | Iterable[str] | None = None
) -> pd.DataFrame:
    """Return the settled training steps of some runs, tidy: `run_id`, `step`, `metric`, `value`.

    Args:
        source: where to look.
        run_ids: which runs.
        metrics: which metrics, e.g. `train/loss`; all by default. A tracker is asked once per run and metric.

    Raises:
        UnknownNameError: there is no such run, or none of them has such a metric. A run that has no step yet, or is
            not continued, has no rows.
        HomeError, TrackerError: as of `load_study`.
    """
    names, wanted = listed(run_ids), None if metrics is None else listed(metrics)
    if isinstance(source, Published):
        from analysis.published import read_history

        return read_history(source.study, source.uri, names, wanted)
    root = Path(source)
    require_study(root)
    steps = read_steps(root, names)
    if wanted is not None:
        require_metrics(root, wanted, steps)
    rows = [
        (run_id, step, metric, float(value))
        for run_id, values_of in steps.items()
        for step, values in values_of
        for metric, value in values.items()
        if wanted is None or metric in wanted
    ]
    return history_of(rows)


Steps = Sequence[tuple[int, Mapping[str, float]]]


def read_steps(study_root: Path, run_ids: Iterable[str]) -> dict[str, Steps]:
    """Return run id → its settled steps, (step, metrics).

    Raises:
        UnknownNameError: the study has no such runs.
    """
    paths = StudyPaths(study_root)
    runs = {run_id: paths.run(run_id) for run_id in run_ids}
    if not all(run.spec.exists() for run in runs.values()):
        require_known("run", runs, [run.root.name for run in paths.existing_runs()], f"study {study_root.name!r}")
    return {
        run_id: [
            (step, values) for step, _, values in settled_steps(replay_run(run).attempts, include_provisional=False)
        ]
        for run_id, run in runs.items()
    }


def require_metrics(study_root: Path, metrics: Sequence[str], steps: Mapping[str, Steps]) -> None:
    """Check that the steps of some runs have `metrics`; where they have no steps, that those of another run have.

    Raises:
        UnknownNameError: they lack some.
    """
    known = {metric for own in steps.values() for _, values in own for metric in values}
    if not known:
        others = (run.root.name for run in StudyPaths(study_root).existing_runs() if run.root.name not in steps)
        found = (own for run_id in others for own in read_steps(study_root, [run_id]).values())
        known = next(({metric for _, values in own for metric in values} for own in found if own), set())
    if known:
        require_known("metric", metrics, known, f"study {study_root.name!r}")


def history_of(rows: Sequence[tuple[str, int, str, float]]) -> pd.DataFrame:
    """Sort (run id, step, metric, value) rows into a frame; the order does not depend on where they come from."""
    frame = pd.DataFrame(rows, columns=list(HISTORY_COLUMNS))
    frame = frame.astype({"run_id": "str", "step": "int64", "metric": "str", "value": "float64"})
    return frame.sort_values(["run_id", "step", "metric"], ignore_index=True)


def steps_frame(study_root: Path, run_ids: Iterable[str]) -> pd.DataFrame:
    """Return all metrics of `history_frame`, from a study directory."""
    return history_frame(study_root, run_ids)


def _records(paths: StudyPaths, plan: Plan) -> Iterator[RunRecord]:
    wanted = {evaluation.name: plain(evaluation.as_json()) for evaluation in plan.evaluations}
    found = side_by_side(lambda name: _record(paths.run(name), wanted), names_in(paths.runs))
    yield from (record for record in found if record is not None)


def _record(run: RunPaths, wanted: Mapping[str, Any]) -> RunRecord | None:
    try:
        data, state = final_state(run)
        spec = RunSpec.from_json(data)
        told = (shared(spec.labels), shared(tunable_part(spec.training)), shared(outcome(state)))
        return RunRecord(spec.run_id, *told, _metrics(state, wanted))
    except (FileNotFoundError, NotADirectoryError):
        return None  # being created, or nobody's
    except (JournalError, OSError) as error:
        return RunRecord(run.root.name, problem=str(error))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return RunRecord(run.root.name, problem=f"its files do not hold what they should ({error!r})")


def _metrics(state: RunState, wanted: Mapping[str, Any]) -> Metrics:
    """Metrics by (split, evaluation): of evaluations in the plan, read from the weights this run kept."""
    weights = (state.trained or {}).get("weights_sha256")
    return {
        (record["split"], record["evaluation"]["name"]): {k: float(v) for k, v in record["metrics"].items()}
        for record in state.evaluations.values()
        if wanted.get(record["evaluation"]["name"]) == record["evaluation"] and record["weights_sha256"] == weights
    }
