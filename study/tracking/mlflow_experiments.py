"""Which experiment a home publishes a study to.

An experiment carries the home that it belongs to from the moment it is created, so that of two homes that publish a
study of the same name at the same time one gets the name. The other's is called `<study>@<start of its identity>`.
An experiment is found by these tags, not by its name: it may be renamed in MLflow.

MLflow never changes where the artifacts of an experiment lie. When a home has moved, its experiment keeps the runs but
gives up its name, and another one takes its place.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import study.tracking.mlflow_connection  # noqa: F401 - first: it configures MLflow

from mlflow import MlflowClient  # isort: skip
from mlflow.entities import Experiment as MlflowExperiment  # isort: skip
from mlflow.entities import ViewType  # isort: skip
from mlflow.exceptions import MlflowException  # isort: skip
from mlflow.utils.file_utils import local_file_uri_to_path  # isort: skip
from mlflow.utils.uri import is_local_uri  # isort: skip

from study.tracking.base import (
    HOME_TAG,
    HOST_TAG,
    KEY_TAG,
    PATH_TAG,
    STUDY_TAG,
    SUPERSEDED_TAG,
    Experiment,
    TrackerError,
)
from study.tracking.identity import Home, TwinError
from study.tracking.store import without_password

_MODEL_TRAINING = {"mlflow.experimentKind": "custom_model_development"}  # the interface then opens with the runs
_DEFAULT = "0"  # the experiment that MLflow makes itself; its artifacts lie wherever the store was first opened
ARTIFACTS = "mlartifacts"


class Experiments:
    """The experiments of one store."""

    def __init__(self, client: MlflowClient, uri: str, artifacts: Path | None, *, is_own: bool) -> None:
        """Look into a store.

        Args:
            client: of the store.
            uri: tracking URI.
            artifacts: where the home's artifacts go; None when a server decides it.
            is_own: the store lies in the home; nobody else's studies are there.
        """
        self._client, self._uri, self._artifacts, self._is_own = client, uri, artifacts, is_own

    def named(self, name: str) -> Experiment:
        """The experiment called `name`, whoever it belongs to, created if need be."""
        return self._ours(self._active(self._client.get_experiment_by_name(name) or self._create(name, None, name)))

    def shared(self, name: str, home: Home) -> Experiment:
        """The experiment `name` of all homes, or one of this home where the other keeps artifacts in another home."""
        own = next((e for e in self._of_home(name, home) if self._is_usable(e, home)), None)
        if own is not None:
            return self._ours(own)
        found = self._active(self._client.get_experiment_by_name(name) or self._create(name, None, name))
        if self._is_usable(found, home):
            return self._ours(found)
        if self._is_own:
            return self._moved(found, name, None)
        return self._ours(self._create_apart(name, home))

    def of_study(self, name: str, home: Home, known: str) -> Experiment:
        """The experiment of a home's study; see `Tracker.ensure_experiment`.

        Raises:
            TwinError: a copy of the home has published it under the same identity.
        """
        deleted = []
        for found in self._candidates(name, home, known):
            if found.lifecycle_stage == "active":
                return self._told(self._claimed(found, name, home), name, home)
            deleted.append(found)
        if deleted:
            self._active(deleted[0])
        found = self._client.get_experiment_by_name(name) or self._create(name, home, name)
        if _is_of(found, name, home) or self._may_adopt(found, name):
            return self._claimed(self._active(found), name, home)
        return self._told(self._ours(self._create_apart(name, home)), name, home)

    def _candidates(self, name: str, home: Home, known: str) -> Iterator[MlflowExperiment]:
        yield from self._known(name, home, known)
        yield from self._of_home(name, home)

    def _told(self, chosen: Experiment, name: str, home: Home) -> Experiment:
        """Add whose the experiment is that has the name, when ours is kept apart."""
        other = self._client.get_experiment_by_name(name) if chosen.name.startswith(f"{name}@") else None
        if other is None or _is_of(other, name, home):
            return chosen
        parents = self._client.search_runs([other.experiment_id], f"tags.`{KEY_TAG}` = '{name}'", max_results=1)
        return replace(chosen, other={**(parents[0].data.tags if parents else {}), **other.tags})

    def _known(self, name: str, home: Home, known: str) -> Iterator[MlflowExperiment]:
        if known:
            try:
                found = self._client.get_experiment(known.partition("-")[0])
            except MlflowException as error:
                if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                    raise  # it is known, or was, or is an id of another kind of store
            else:
                is_taken = HOME_TAG in found.tags and not _is_of(found, name, home)
                is_over = SUPERSEDED_TAG in found.tags or found.experiment_id == _DEFAULT
                if _store(found) == known and not is_taken and not is_over:
                    yield found

    def _of_home(self, name: str, home: Home) -> list[MlflowExperiment]:
        """Experiments that this home has made for a study."""
        found = self._client.search_experiments(ViewType.ALL, filter_string=f"tags.`{HOME_TAG}` = '{home.id}'")
        return [e for e in found if e.tags.get(STUDY_TAG) == name and SUPERSEDED_TAG not in e.tags]

    def _may_adopt(self, found: MlflowExperiment, name: str) -> bool:
        """Whether nobody else publishes there: the store is ours, or the experiment was made by hand and is empty."""
        if self._is_own or HOME_TAG in found.tags or found.experiment_id == _DEFAULT:
            return self._is_own and found.experiment_id != _DEFAULT
        return not self._client.search_runs(
            [found.experiment_id], f"tags.`{KEY_TAG}` = '{name}'", ViewType.ALL, max_results=1
        )

    def _claimed(self, found: MlflowExperiment, name: str, home: Home) -> Experiment:
        where = found.tags.get(HOST_TAG, home.here.host), found.tags.get(PATH_TAG, home.here.path)
        if found.tags.get(HOME_TAG) == home.id and not home.was_at(*where):
            raise TwinError(f"{where[1]} on {where[0]}")
        if SUPERSEDED_TAG in found.tags or not self._is_usable(found, home):
            return self._moved(found, name, home)
        tags = _tags(name, home)
        for key in (HOME_TAG, STUDY_TAG, HOST_TAG, PATH_TAG):
            if found.tags.get(key) != tags[key]:
                self._client.set_experiment_tag(found.experiment_id, key, tags[key])
        return self._ours(found)

    def _moved(self, found: MlflowExperiment, name: str, home: Home | None) -> Experiment:
        """Put another experiment in the place of one whose artifacts lie where the home was."""
        folder = _folder(found)
        wished = found.name if SUPERSEDED_TAG not in found.tags else name
        self._client.set_experiment_tag(found.experiment_id, SUPERSEDED_TAG, f"artifacts in {folder}")
        if not found.name.endswith(f"in {folder})"):
            renamed = f"{wished} (experiment {found.experiment_id}, artifacts in {folder})"
            self._client.rename_experiment(found.experiment_id, renamed)
        return replace(self._ours(self._create(wished, home, name)), moved_from=str(folder))

    def _is_usable(self, found: MlflowExperiment, home: Home) -> bool:
        """Whether artifacts would not go into the folder of another home, or of this one where it no longer is."""
        folder = _folder(found)
        if self._artifacts is None or folder is None or folder.name != ARTIFACTS:
            return True
        return (
            folder.resolve() == self._artifacts.resolve()
            or (folder.samefile(self._artifacts) if folder.exists() and self._artifacts.exists() else False)
            or home.is_seen_elsewhere_as(str(folder.parent))
        )

    def _create_apart(self, name: str, home: Home) -> MlflowExperiment:
        wished = f"{name}@{home.short}"
        found = self._client.get_experiment_by_name(wished)
        taken = found is not None and found.tags.get(HOME_TAG) != home.id
        return self._create(f"{name}@{home.id}" if taken else wished, home, name)

    def _create(self, wished: str, home: Home | None, name: str) -> MlflowExperiment:
        location = None if self._artifacts is None else self._artifacts.as_uri()
        tags = _MODEL_TRAINING | ({} if home is None else _tags(name, home))
        try:
            self._client.create_experiment(wished, artifact_location=location, tags=tags)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        return self._client.get_experiment_by_name(wished)

    def _ours(self, found: MlflowExperiment) -> Experiment:
        location = str(found.artifact_location or "")
        return Experiment(found.experiment_id, _store(found), found.name, location, is_own=self._is_own)

    def _active(self, found: MlflowExperiment) -> MlflowExperiment:
        if found.lifecycle_stage != "active":
            raise TrackerError(
                f"experiment {found.name!r} was deleted in MLflow; bring it back with `MLFLOW_TRACKING_URI="
                f"{without_password(self._uri)} mlflow experiments restore --experiment-id {found.experiment_id}` "
                "or remove it for good with `mlflow gc`; then publish again"
            )
        return found


def _is_of(found: MlflowExperiment, name: str, home: Home) -> bool:
    """Whether this home made it for the study; some stores take `Toy` for `toy`."""
    return (found.tags.get(HOME_TAG), found.tags.get(STUDY_TAG)) == (home.id, name)


def _folder(found: MlflowExperiment) -> Path | None:
    """Where its artifacts lie; None when they do not lie in a folder."""
    location = str(found.artifact_location or "")
    return Path(local_file_uri_to_path(location)) if is_local_uri(location) else None


def _tags(name: str, home: Home) -> dict[str, str]:
    return {HOME_TAG: home.id, STUDY_TAG: name, HOST_TAG: home.here.host, PATH_TAG: home.here.path}


def _store(found: MlflowExperiment) -> str:
    return f"{found.experiment_id}-{found.creation_time}"
