"""Where artifacts go: into the home's own folder, or to wherever a server or an experiment says.

MLflow itself would write to the folder that the experiment was created with, and create it again where a home was moved
away from it. Files of the home's own folder are therefore written by us, in MLflow's layout.
"""

from __future__ import annotations

import os
import posixpath
import random
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from study.tracking.mlflow_connection import translated  # first: it configures MLflow

from mlflow import MlflowClient  # isort: skip
from mlflow.artifacts import list_artifacts  # isort: skip

from study.journal.files import write_atomic
from study.tracking.base import TrackerError

_NUM_LOOKS = 20  # one request each


class Artifacts(Protocol):
    """The artifacts of an experiment's runs; see the methods of `Tracker`."""

    def put(self, run: str, file: Path, folder: str) -> None:
        """Put a copy of a file into a folder of the run."""
        ...

    def of(self, run: str) -> frozenset[str] | None:
        """Paths of a run's files; None when that cannot be found out."""
        ...

    def lacking(self, runs: Collection[str], name: str) -> frozenset[str]:
        """Those of the runs that lack a file, as far as that can be found out at once."""
        ...


class FolderArtifacts:
    """Artifacts in the home's folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, run: str, file: Path, folder: str) -> None:
        """Copy a file."""
        target = self._folder(run) / folder / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        content = file.read_bytes()
        write_atomic(target, lambda copy: copy.write(content))

    def of(self, run: str) -> frozenset[str]:
        """Look into the run's folder."""
        root = self._folder(run)
        return frozenset(file.relative_to(root).as_posix() for file in root.rglob("*") if file.is_file())

    def lacking(self, runs: Collection[str], name: str) -> frozenset[str]:
        """Look into the folder of every run."""
        root = str(self._root)
        return frozenset(run for run in runs if not os.path.exists(f"{root}/{run}/artifacts/{name}"))  # noqa: PTH110

    def _folder(self, run: str) -> Path:
        return self._root / run / "artifacts"


class StoreArtifacts:
    """Artifacts where MLflow puts them."""

    def __init__(self, client: MlflowClient, uri: str, location: str) -> None:
        self._client, self._uri, self._location = client, uri, location

    def put(self, run: str, file: Path, folder: str) -> None:
        """Send a file."""
        self._client.log_artifact(run, str(file), folder or None)

    def of(self, run: str) -> frozenset[str] | None:
        """Ask for one folder after another."""
        with suppress(TrackerError), translated():
            return frozenset(self._below(run, ""))
        return None

    def lacking(self, runs: Collection[str], name: str) -> frozenset[str]:
        """Ask for the folder of all runs, which not every server shows, and look into those of some, by chance."""
        missing = set[str]()
        with suppress(TrackerError), translated():
            found = list_artifacts(artifact_uri=self._location, tracking_uri=self._uri)
            missing |= set(runs) - {posixpath.basename(entry.path.rstrip("/")) for entry in found}
        for run in random.sample(sorted(set(runs) - missing), min(_NUM_LOOKS, len(runs) - len(missing))):
            files = self.of(run)
            missing |= {run} if files is not None and name not in files else set()
        return frozenset(missing)

    def _below(self, run: str, folder: str) -> Iterator[str]:
        for entry in self._client.list_artifacts(run, folder or None):
            if entry.is_dir:
                yield from self._below(run, entry.path)
            else:
                yield entry.path
