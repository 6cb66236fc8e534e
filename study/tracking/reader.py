"""What was published comes back: the runs of a study and the files attached to it, from an MLflow store.

MLflow's interface is used, never its tables. Nothing is written, and no store is created.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from study.tracking.mlflow_tracker import (
    SQLITE,
    connected,
    quieten,
    translated,
    without_password,
)  # first: it configures MLflow

from mlflow import MlflowClient  # isort: skip
from mlflow.entities import Run  # isort: skip

from study.errors import did_you_mean
from study.tracking.base import KEY_TAG, TrackerError

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

        Raises:
            TrackerError: the store cannot be reached, or does not know the study; says what to do.
        """
        quieten()
        self._shown = without_password(uri)
        self._study = study
        if uri.startswith(SQLITE) and not Path(uri.removeprefix(SQLITE)).exists():
            raise TrackerError(
                f"there is no MLflow store at {self._shown}; check the URI, or give the study's directory"
            )
        with self._reached():
            self._client = MlflowClient(uri) if not uri.startswith(SQLITE) else connected(uri)
            experiment = self._client.get_experiment_by_name(study)
            known = [] if experiment else [e.name for e in self._client.search_experiments()]
        if experiment is None:
            raise TrackerError(f"{self._shown} has no study {study!r}.{did_you_mean(study, known)}")
        self._experiment = experiment.experiment_id
        with self._reached():
            found = self._client.search_runs([self._experiment], f"tags.`{KEY_TAG}` = '{study}'")
        if not found:
            raise TrackerError(f"experiment {study!r} of {self._shown} has no run that stands for the study")
        self._parent = found[0].info.run_id
        self.tags: Mapping[str, str] = dict(found[0].data.tags)  # of the run that stands for the study

    def attachment(self, name: str) -> bytes | None:
        """A file attached to the run that stands for the study; None when it is not there or cannot be fetched."""
        with tempfile.TemporaryDirectory() as folder:
            try:
                with translated():
                    return Path(self._client.download_artifacts(self._parent, name, folder)).read_bytes()
            except TrackerError:
                return None

    def runs(self) -> Iterator[TrackedRun]:
        """The runs below the one that stands for the study."""
        token = None
        while True:
            with self._reached():
                page = self._client.search_runs(
                    [self._experiment],
                    f"tags.`mlflow.parentRunId` = '{self._parent}'",
                    max_results=_PAGE,
                    page_token=token,
                )
            yield from map(_tracked, page)
            token = page.token
            if not token:
                return

    def history(self, run: str, metric: str) -> list[tuple[int, float]]:
        """(step, value) of all rows of a metric, by step; `run` is the tracker's id."""
        with self._reached():
            rows = self._client.get_metric_history(run, metric)
        return sorted({(row.step, row.value) for row in rows})

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
