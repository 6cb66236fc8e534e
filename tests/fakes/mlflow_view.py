"""What people see in a store of MLflow, by MLflow's own interface."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from study.paths import HomePaths
from study.tracking.mlflow_connection import connected, quieten
from study.tracking.mlflow_tracker import MlflowTracker
from study.tracking.publisher import publish
from study.tracking.summary import PublishSummary
from tests.fakes.published_study import FakeStudy


@dataclass
class Store:
    """A store that several homes may use."""

    uri: str
    client: Any = field(init=False)

    def __post_init__(self) -> None:
        quieten()
        self.client = connected(self.uri)

    def publish(self, home: HomePaths, study: str = "small") -> PublishSummary:
        """What the command does, in a process of its own as far as this code knows."""
        return publish(home, study, MlflowTracker(self.uri, home.mlartifacts))

    def experiments(self) -> list[str]:
        """Names of all that are not deleted."""
        return sorted(e.name for e in self.client.search_experiments())

    def all_runs(self, experiment: str = "small") -> list[Any]:
        """Runs that are not deleted."""
        found = self.client.get_experiment_by_name(experiment)
        return list(self.client.search_runs([found.experiment_id]))

    def runs(self, experiment: str = "small") -> dict[str, Any]:
        """Runs that are neither deleted nor superseded, by our key; each exists once."""
        found = [run for run in self.all_runs(experiment) if "study.superseded" not in run.data.tags]
        keys = [run.data.tags["study.run_id"] for run in found]
        assert len(set(keys)) == len(keys), f"a run exists twice: {sorted(keys)}"
        return dict(zip(keys, found, strict=True))

    def below(self, experiment: str = "small", study: str = "small") -> set[str]:
        """Keys of the runs below the one that stands for the study."""
        runs = self.runs(experiment)
        parent = runs[study].info.run_id
        return {key for key, run in runs.items() if run.data.tags.get("mlflow.parentRunId") == parent}

    def history(self, run: Any, metric: str) -> dict[int, float]:
        """Step → value; each step once."""
        rows = self.client.get_metric_history(run.info.run_id, metric)
        assert len({row.step for row in rows}) == len(rows), f"a step of {metric} exists twice"
        return {row.step: row.value for row in rows}

    def files(self, run: Any) -> set[str]:
        """Paths of a run's artifacts, as MLflow finds them."""
        return set(self._below(run.info.run_id, None))

    def _below(self, run_id: str, folder: str | None) -> Iterator[str]:
        for entry in self.client.list_artifacts(run_id, folder):
            yield from self._below(run_id, entry.path) if entry.is_dir else (entry.path,)


def own_store(home: HomePaths) -> Store:
    """The one in the home."""
    return Store(f"sqlite:///{home.mlflow_db}")


def study_in(folder: Path, **changes: Any) -> FakeStudy:
    """A study in a new home."""
    folder.mkdir(parents=True)
    return FakeStudy(HomePaths(folder), **changes)
