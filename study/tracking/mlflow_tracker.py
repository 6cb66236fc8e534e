"""MLflow as a tracker: a server, or an SQLite file that this process alone writes.

MLflow keeps infinite values as the largest float, NaN as NaN. Names may hold letters, digits and `_-.:/ `.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException

from study.journal.files import link_once
from study.tracking.base import (
    KEY_TAG,
    Experiment,
    MetricRow,
    RejectedError,
    RunStatus,
    TrackerError,
    UnknownRunError,
)

_METRICS_PER_BATCH, _OTHERS_PER_BATCH, _PARAM_CHARACTERS, _TAG_CHARACTERS = 1000, 100, 6000, 8000
_REFUSALS = ("INVALID_PARAMETER_VALUE", "INVALID_STATE")
_LOG_LEVELS = {  # failures reach the caller as exceptions
    "mlflow": "WARNING",
    "mlflow.store.db": "CRITICAL",
    "alembic": "WARNING",
    "urllib3": "ERROR",
}
SQLITE = "sqlite:///"
_MODEL_TRAINING = {"mlflow.experimentKind": "custom_model_development"}  # the interface then opens with the runs

T = TypeVar("T")


class MlflowTracker:
    """Publishes to the MLflow store at `uri`."""

    def __init__(self, uri: str, artifacts: Path) -> None:
        """Open the store; a missing SQLite file is created.

        Args:
            uri: tracking URI.
            artifacts: where artifacts go when no server decides it.

        Raises:
            TrackerError: the store does not work.
        """
        quieten()
        self._uri = uri
        self._artifacts = None if uri.startswith(("http:", "https:")) else artifacts.absolute().as_uri()
        with translated():
            self._client = connected(uri)

    def ensure_experiment(self, name: str) -> Experiment:
        """Return the experiment called `name`, created if need be."""
        with translated():
            self._client = connected(self._uri)
            found = self._client.get_experiment_by_name(name)
            if found is None:
                try:
                    self._client.create_experiment(name, artifact_location=self._artifacts, tags=_MODEL_TRAINING)
                except MlflowException as error:
                    if error.error_code != "RESOURCE_ALREADY_EXISTS":
                        raise
                found = self._client.get_experiment_by_name(name)
        if found is None or found.lifecycle_stage != "active":
            raise TrackerError(
                f"experiment {name!r} was deleted in MLflow; bring it back with `mlflow experiments restore`"
                " or remove it for good with `mlflow gc`"
            )
        return Experiment(found.experiment_id, f"{found.experiment_id}-{found.creation_time}")

    def ensure_run(self, experiment: Experiment, key: str, *, start_ms: int, parent: str | None) -> str:
        """Return the id of the run tagged `KEY_TAG` = `key`, created and named so if need be."""
        tags = {KEY_TAG: key} | ({} if parent is None else {"mlflow.parentRunId": parent})
        with translated():
            if not self._runs(experiment, key):
                self._client.create_run(experiment.id, start_ms, tags, run_name=key)
            # MLflow's client repeats a request whose response was lost, which creates a second run
            run, *superfluous = self._runs(experiment, key)
            for other in superfluous:
                self._client.delete_run(other)
        return run

    def _runs(self, experiment: Experiment, key: str) -> list[str]:
        found = self._client.search_runs([experiment.id], f"tags.`{KEY_TAG}` = '{key}'")
        return sorted(run.info.run_id for run in found)

    def log_params(self, run: str, params: Mapping[str, str]) -> None:
        """Write parameters, once: those that the run has keep their value."""
        with translated():
            known = self._client.get_run(run).data.params
            new = [Param(_name(k), v[:_PARAM_CHARACTERS]) for k, v in params.items() if _name(k) not in known]
            for batch in _batches(new, _OTHERS_PER_BATCH):
                self._client.log_batch(run, params=batch)

    def log_metrics(self, run: str, rows: Sequence[MetricRow]) -> None:
        """Add rows; those that the run has are not added again."""
        with translated():
            for batch in _batches(rows, _METRICS_PER_BATCH):
                metrics = [Metric(_name(r.key), float(r.value), r.timestamp_ms, r.step) for r in batch]
                self._client.log_batch(run, metrics=metrics)

    def set_tags(self, run: str, tags: Mapping[str, str]) -> None:
        """Set or replace tags."""
        with translated():
            for batch in _batches(list(tags.items()), _OTHERS_PER_BATCH):
                self._client.log_batch(run, tags=[RunTag(_name(k), v[:_TAG_CHARACTERS]) for k, v in batch])

    def log_artifact(self, run: str, file: Path, folder: str = "") -> None:
        """Put a copy of `file` into a folder of the run's artifacts, replacing an older copy."""
        with translated():
            self._client.log_artifact(run, str(file), folder or None)

    def set_status(self, run: str, status: RunStatus, end_ms: int) -> None:
        """Set the status, and the end when the run is over."""
        with translated():
            if status.is_over:
                self._client.set_terminated(run, str(status), end_ms)
            else:
                self._client.update_run(run, str(status))


def quieten() -> None:
    """Keep MLflow and what lies below it from logging what reaches the caller anyway."""
    for logger, level in _LOG_LEVELS.items():
        logging.getLogger(logger).setLevel(level)


_opened: dict[str, tuple[tuple[int, int], int]] = {}  # URI → identity of its file, how often that changed


def connected(uri: str) -> MlflowClient:
    """A client of `uri`; a missing SQLite file is created.

    MLflow keeps a connection to an SQLite file for as long as the process lives, and would go on writing to
    one that was deleted: a file that was replaced gets another spelling of its name.
    """
    if not uri.startswith(SQLITE):
        return MlflowClient(uri)
    file = Path(uri.removeprefix(SQLITE))
    if not file.exists():
        _create_sqlite(file)
    found = file.stat()
    identity = (found.st_dev, found.st_ino)
    known, num_changes = _opened.get(uri, (identity, 0))
    _opened[uri] = (identity, num_changes + (known != identity))
    return MlflowClient(f"{SQLITE}{file.parent}/{'./' * _opened[uri][1]}{file.name}")


def _create_sqlite(file: Path) -> None:
    """Create the store under another name first: half-made tables of a killed process could not be used."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}.{os.getpid()}-{len(_opened)}")
    draft.unlink(missing_ok=True)
    MlflowClient(f"{SQLITE}{draft}").search_experiments(max_results=1)
    link_once(draft, file)
    draft.unlink()


@contextmanager
def translated() -> Iterator[None]:
    """Raise MLflow's errors, and those of what lies below it, as ours, without the password of an URI."""
    try:
        yield
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            raise UnknownRunError(without_password(str(error))) from error
        kind = RejectedError if error.error_code in _REFUSALS else TrackerError
        raise kind(without_password(str(error))) from error
    except Exception as error:  # a database or a socket, in many disguises
        raise TrackerError(without_password(f"{type(error).__name__}: {error}")) from error


def without_password(text: str) -> str:
    """`text` without what stands before the host in its URIs: logs and messages are no place for passwords."""
    return re.sub(r"//[^/@\s]*@", "//", text)


def _batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[begin : begin + size] for begin in range(0, len(items), size))


def _name(text: str) -> str:
    return re.sub(r"[^\w\-.:/ ]", "_", text, flags=re.ASCII)
