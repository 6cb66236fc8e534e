"""What was published comes back: the runs of a study and the files attached to it, from an MLflow store.

MLflow's interface is used, never its tables. Nothing is written, and no store is created.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from study.tracking.mlflow_connection import (
    SQLITE,
    connected,
    quieten,
    translated,
)  # first: it configures MLflow

from mlflow import MlflowClient  # isort: skip
from mlflow.entities import Experiment, Run  # isort: skip

from study.errors import did_you_mean
from study.tracking.base import HOME_TAG, KEY_TAG, STUDY_TAG, SUPERSEDED_TAG, TrackerError
from study.tracking.mlflow_experiments import ARTIFACTS
from study.tracking.store import without_password
from study.tracking.summary import owner_in_words

_PAGE = 1000


@dataclass(frozen=True)
class TrackedRun:
    """One run as the tracker has it.

    Attributes:
        id: the tracker's word for it.
        key: ours.
        params: see `study.tracking.describe.flattened`.
        metrics: the newest value of each.
        tags: all of them.
    """

    id: str
    key: str
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]


class StudyReader:
    """Reads one study."""

    def __init__(self, uri: str, study: str) -> None:
        """Find the study.

        Args:
            uri: tracking URI.
            study: its name; `<name>@<start of the home's identity>` when several homes have published one of that name.

        Raises:
            TrackerError: the store cannot be reached, does not know the study, or knows several; says what to do.
        """
        quieten()
        self._shown = without_password(uri)
        self._study, _, self._home = study.partition("@")
        self._file = Path(uri.removeprefix(SQLITE)) if uri.startswith(SQLITE) else None
        if self._file is not None and not self._file.exists():
            raise TrackerError(
                f"there is no MLflow store at {self._shown}; check the URI, or give the study's directory"
            )
        with self._reached():
            self._client = MlflowClient(uri) if self._file is None else connected(uri)
            experiments = list(self._experiments())
            found = [(e, run) for e in experiments if _may_hold(e, self._study) for run in self._parents(e)]
        chosen = [(e, run) for e, run in found if _home_of(e, run).startswith(self._home)]
        if len(chosen) != 1:
            raise TrackerError(self._cannot_choose(chosen or found, experiments))
        self._experiment = chosen[0][0].experiment_id
        self._parent = str(chosen[0][1].info.run_id)
        self.tags: Mapping[str, str] = dict(chosen[0][1].data.tags)  # of the run that stands for the study

    def attachment(self, name: str) -> bytes | None:
        """A file attached to the run that stands for the study; None when it is not there or cannot be fetched."""
        if self._file is not None:  # beside the store, even where the home was moved from the place that MLflow knows
            file = self._file.parent / ARTIFACTS / self._parent / "artifacts" / name
            if file.is_file():
                return file.read_bytes()
        with tempfile.TemporaryDirectory() as folder:
            try:
                with translated():
                    return Path(self._client.download_artifacts(self._parent, name, folder)).read_bytes()
            except TrackerError:
                return None

    def runs(self) -> Iterator[TrackedRun]:
        """The runs below the one that stands for the study, without those that are out of date."""
        token = None
        while True:
            with self._reached():
                page = self._client.search_runs(
                    [self._experiment],
                    f"tags.`mlflow.parentRunId` = '{self._parent}'",
                    max_results=_PAGE,
                    page_token=token,
                )
            yield from (_tracked(run) for run in page if SUPERSEDED_TAG not in run.data.tags)
            token = page.token
            if not token:
                return

    def history(self, run: str, metric: str) -> list[tuple[int, float]]:
        """(step, value) of all rows of a metric, by step; `run` is the tracker's id."""
        with self._reached():
            rows = self._client.get_metric_history(run, metric)
        return sorted({(row.step, row.value) for row in rows})

    def _experiments(self) -> Iterator[Experiment]:
        token = None
        while True:
            page = self._client.search_experiments(max_results=_PAGE, page_token=token)
            yield from page
            if not (token := page.token):
                return

    def _parents(self, experiment: Experiment) -> list[Run]:
        """The runs of an experiment that stand for the study."""
        runs = self._client.search_runs([experiment.experiment_id], f"tags.`{KEY_TAG}` = '{self._study}'")
        return [run for run in runs if SUPERSEDED_TAG not in run.data.tags]

    def _cannot_choose(self, found: list[tuple[Experiment, Run]], experiments: list[Experiment]) -> str:
        if found:
            choices = (
                f"  {self._study}@{_home_of(e, run)[:6]}: experiment {e.name!r} of "
                f"{owner_in_words({**e.tags, **run.data.tags})}"
                for e, run in found
            )
            which = f"more than one study {self._study!r}" if not self._home else f"no such study {self._study!r}"
            return "\n".join([f"{self._shown} has {which}; name one of them:", *choices])
        if any(_may_hold(e, self._study) for e in experiments):
            return f"experiment {self._study!r} of {self._shown} has no run that stands for the study"
        known = {e.tags.get(STUDY_TAG, e.name) for e in experiments}
        return f"{self._shown} has no study {self._study!r}.{did_you_mean(self._study, known)}"

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            with translated():
                yield
        except TrackerError as error:
            first = str(error).splitlines()[0][:300]
            advice = "is the server running? The study's directory holds the same numbers"
            raise TrackerError(f"cannot read study {self._study!r} from {self._shown}: {first}; {advice}") from error


def _tracked(run: Run) -> TrackedRun:
    tags = dict(run.data.tags)
    return TrackedRun(run.info.run_id, tags.get(KEY_TAG, ""), dict(run.data.params), dict(run.data.metrics), tags)


def _may_hold(experiment: Experiment, study: str) -> bool:
    """Whether a study of that name was published there."""
    return experiment.tags.get(STUDY_TAG, experiment.name) == study and SUPERSEDED_TAG not in experiment.tags


def _home_of(experiment: Experiment, parent: Run) -> str:
    """Identity of the home that published; the run's id when earlier code did, which knew of none."""
    return str(parent.data.tags.get(HOME_TAG) or experiment.tags.get(HOME_TAG) or parent.info.run_id)
