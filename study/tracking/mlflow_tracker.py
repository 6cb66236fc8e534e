"""MLflow as a tracker: a server, or an SQLite file that this process alone writes.

MLflow keeps infinite values as the largest float, NaN as NaN. Names may hold letters, digits and `_-.:/ `.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TypeVar

from study.tracking.mlflow_connection import (
    SQLITE,
    connected,
    quieten,
    translated,
)  # first: it configures MLflow

from mlflow.entities import Metric, Param, Run, RunTag, ViewType  # isort: skip

from study.tracking.base import (
    KEY_TAG,
    Experiment,
    MetricRow,
    Page,
    RunStatus,
    Tracked,
    UnknownRunError,
)
from study.tracking.identity import Home
from study.tracking.mlflow_artifacts import Artifacts, FolderArtifacts, StoreArtifacts
from study.tracking.mlflow_experiments import ARTIFACTS, Experiments

_METRICS_PER_BATCH, _OTHERS_PER_BATCH, _PARAM_CHARACTERS, _TAG_CHARACTERS = 1000, 100, 6000, 8000

T = TypeVar("T")


class MlflowTracker:
    """Publishes to the MLflow store at `uri`."""

    def __init__(self, uri: str, artifacts: Path) -> None:
        """Open the store; a missing SQLite file is created.

        Args:
            uri: tracking URI.
            artifacts: where artifacts go when no server decides it; a store beside it is the home's own.

        Raises:
            TrackerError: the store does not work.
        """
        quieten()
        self._uri = uri
        self._artifacts = None if uri.startswith(("http:", "https:")) else artifacts.absolute()
        with translated():
            self._client = connected(uri)

    def ensure_experiment(
        self, name: str, home: Home | None = None, *, known: str = "", is_shared: bool = False
    ) -> Experiment:
        """Return the experiment of a home that is called `name`, created if need be."""
        with translated():
            self._client = connected(self._uri)
            beside = Path(self._uri.removeprefix(SQLITE)).parent / ARTIFACTS if self._uri.startswith(SQLITE) else None
            is_own = (
                beside is not None and self._artifacts is not None and beside.resolve() == self._artifacts.resolve()
            )
            experiments = Experiments(self._client, self._uri, self._artifacts, is_own=is_own)
            if home is None:
                return experiments.named(name)
            return experiments.shared(name, home) if is_shared else experiments.of_study(name, home, known)

    def find_runs(self, experiment: Experiment, key: str) -> list[Tracked]:
        """The runs tagged `KEY_TAG` = `key`, deleted ones too, by id."""
        with translated():
            found = self._client.search_runs([experiment.id], f"tags.`{KEY_TAG}` = '{key}'", ViewType.ALL)
        return sorted(map(_tracked, found))

    def members(
        self, experiment: Experiment, tag: str, value: str, *, after: str = "", size: int, is_deleted: bool = False
    ) -> Page:
        """At most `size` runs with the tag."""
        view = ViewType.DELETED_ONLY if is_deleted else ViewType.ACTIVE_ONLY
        with translated():
            page = self._client.search_runs(
                [experiment.id], f"tags.`{tag}` = '{value}'", view, max_results=size, page_token=after or None
            )
        token = page.token or ""
        return Page(list(map(_tracked, page)), token.decode() if isinstance(token, bytes) else token)

    def create_run(self, experiment: Experiment, key: str, *, start_ms: int, tags: Mapping[str, str]) -> None:
        """Create a run. MLflow's client repeats a request whose response was lost, which creates a second one."""
        with translated():
            self._client.create_run(experiment.id, start_ms, {**tags, KEY_TAG: key}, run_name=key)

    def restore_run(self, run: str) -> None:
        """Bring a deleted run back."""
        with translated():
            self._client.restore_run(run)

    def delete_run(self, run: str) -> None:
        """Delete a run; it can be restored."""
        with translated():
            self._client.delete_run(run)

    def log_params(self, run: str, params: Mapping[str, str]) -> None:
        """Write parameters, once: those that the run has keep their value."""
        with translated():
            known = self._client.get_run(run).data.params
            new = [Param(_name(k), v[:_PARAM_CHARACTERS]) for k, v in params.items() if _name(k) not in known]
            for batch in _batches(new, _OTHERS_PER_BATCH):
                self._client.log_batch(run, params=batch)

    def log_metrics(self, run: str, rows: Iterable[MetricRow]) -> int:
        """Add rows; those that the run has are not added again. Return how many were sent."""
        num_sent = 0
        for batch in _batches(rows, _METRICS_PER_BATCH):
            metrics = [Metric(_name(r.key), float(r.value), r.timestamp_ms, r.step) for r in batch]
            with translated():
                self._client.log_batch(run, metrics=metrics)
            num_sent += len(batch)
        return num_sent

    def set_tags(self, run: str, tags: Mapping[str, str | None]) -> None:
        """Set or replace tags; None removes one."""
        new = [RunTag(_name(k), v[:_TAG_CHARACTERS]) for k, v in tags.items() if v is not None]
        with translated():
            for batch in _batches(new, _OTHERS_PER_BATCH):
                self._client.log_batch(run, tags=batch)
        for key in (k for k, v in tags.items() if v is None):
            with suppress(UnknownRunError), translated():  # or it has no such tag
                self._client.delete_tag(run, _name(key))

    def log_artifact(self, experiment: Experiment, run: str, file: Path, folder: str = "") -> None:
        """Put a copy of `file` into a folder of the run's artifacts, replacing an older copy."""
        with translated():
            self._artifacts_of(experiment).put(run, file, folder)

    def attached(self, experiment: Experiment, run: str) -> frozenset[str] | None:
        """Paths of the run's artifacts; None when that cannot be found out."""
        return self._artifacts_of(experiment).of(run)

    def without_artifact(self, experiment: Experiment, runs: Collection[str], name: str) -> frozenset[str]:
        """Those of the runs that lack an artifact called `name`, as far as that can be found out at once."""
        return self._artifacts_of(experiment).lacking(runs, name)

    def set_status(self, run: str, status: RunStatus, end_ms: int) -> None:
        """Set the status, and the end when the run is over."""
        with translated():
            if status.is_over:
                self._client.set_terminated(run, str(status), end_ms)
            else:
                self._client.update_run(run, str(status))

    def _artifacts_of(self, experiment: Experiment) -> Artifacts:
        """Of an experiment of this home: its own folder, under whatever path the experiment knows it."""
        if self._artifacts is not None and experiment.artifacts.rstrip("/").endswith(f"/{ARTIFACTS}"):
            return FolderArtifacts(self._artifacts)
        return StoreArtifacts(self._client, self._uri, experiment.artifacts)


def _tracked(run: Run) -> Tracked:
    is_deleted = run.info.lifecycle_stage != "active"
    return Tracked(run.info.run_id, run.info.status, is_deleted, dict(run.data.params), dict(run.data.tags))


def _batches(items: Iterable[T], size: int) -> Iterator[Sequence[T]]:
    left = iter(items)
    while batch := list(islice(left, size)):
        yield batch


def _name(text: str) -> str:
    return re.sub(r"[^\w\-.:/ ]", "_", text, flags=re.ASCII)
