"""Files of a study and of a home."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from study.paths.runs import RunPaths
from study.paths.workers import WorkerPaths


@dataclass(frozen=True)
class StudyPaths:
    """Files of one study."""

    root: Path

    @property
    def plan_yaml(self) -> Path:
        """The sweep file, verbatim."""
        return self.root / "plan.yaml"

    @property
    def plan(self) -> Path:
        """The resolved plan."""
        return self.root / "plan.json"

    @property
    def lease(self) -> Path:
        """Who orchestrates."""
        return self.root / "lease"

    @property
    def stop(self) -> Path:
        """Asks the orchestrator to stop what runs."""
        return self.root / "stop"

    @property
    def finished(self) -> Path:
        """Written when everything the plan asks for is done; says for which sweep text and overrides."""
        return self.root / "finished.json"

    @property
    def command(self) -> Path:
        """The command that orchestrated last, and where it was typed."""
        return self.root / "command.json"

    @property
    def published(self) -> Path:
        """The tracked parent run of the study, and in which store."""
        return self.root / "published.json"

    @property
    def identity(self) -> Path:
        """Tells this folder from one that has the same name later; made once, when it is first published."""
        return self.root / "identity.json"

    @property
    def report(self) -> Path:
        """Tables and figures."""
        return self.root / "report"

    @property
    def runs_parquet(self) -> Path:
        """All runs as one table, with the plan and the trials, for colleagues who have the tracker alone."""
        return self.root / "frames" / "runs.parquet"

    @property
    def trials_json(self) -> Path:
        """The records of all trials, for the same."""
        return self.root / "frames" / "trials.json"

    @property
    def provenance_json(self) -> Path:
        """The code of all runs by hash, and what was made anew, for the same."""
        return self.root / "frames" / "provenance.json"

    @property
    def code(self) -> Path:
        """Copies of the framework that jobs import, one per state of its files."""
        return self.root / "code"

    @property
    def aside(self) -> Path:
        """What was moved aside, to be done anew: a folder and a record each, see `study.orchestration.aside`."""
        return self.root / "aside"

    @property
    def workers(self) -> Path:
        """Worker allocations, and the lines of orders that they take from."""
        return self.root / "workers"

    def existing_workers(self) -> list[WorkerPaths]:
        """Workers in the order they were made."""
        return [WorkerPaths(d) for d in sorted(self.workers.glob("w[0-9]*"))]

    @cached_property
    def runs(self) -> Path:
        """One folder per run."""
        return self.root / "runs"

    @property
    def search(self) -> Path:
        """Optuna storage and trial records."""
        return self.root / "search"

    def search_log(self, arm: str) -> Path:
        """Optuna journal of one arm's search."""
        return self.search / f"{arm}.log"

    def trial(self, arm: str, number: int) -> Path:
        """Record of one trial, numbered from 0."""
        return self.search / arm / f"{number:04d}.json"

    def trials(self, arm: str) -> list[Path]:
        """Records of an arm's trials, in order."""
        return sorted((self.search / arm).glob("[0-9]*.json"))

    def run(self, run_id: str) -> RunPaths:
        """Files of one run."""
        return RunPaths(self.runs / run_id)

    def existing_runs(self) -> Iterator[RunPaths]:
        """Runs in alphabetical order."""
        if self.runs.is_dir():
            yield from (RunPaths(d) for d in sorted(self.runs.iterdir()) if (d / "spec.json").exists())


@dataclass(frozen=True)
class HomePaths:
    """Files shared by all studies of a home."""

    root: Path

    @property
    def identity(self) -> Path:
        """Tells this home from others wherever it is moved to; made once, when something is first published."""
        return self.root / "identity.json"

    @property
    def mlflow_db(self) -> Path:
        """Embedded MLflow store."""
        return self.root / "mlflow.db"

    @property
    def mlartifacts(self) -> Path:
        """Artifacts of the embedded store."""
        return self.root / "mlartifacts"

    @property
    def data(self) -> Path:
        """Datasets that were downloaded."""
        return self.root / "data"

    @property
    def checkpoints(self) -> Path:
        """Published checkpoints: downloads and conversions."""
        return self.root / "checkpoints"

    @property
    def code(self) -> Path:
        """All code that made results, see `study.provenance.store`."""
        return self.root / "code"

    @property
    def code_texts(self) -> Path:
        """Texts of files, by the hash of their bytes."""
        return self.code / "files"

    def code_text(self, sha256: str) -> Path:
        """The text of one file."""
        return self.code_texts / f"{sha256}.py"

    def code_identity(self, code: str) -> Path:
        """Which files and libraries a hash of code means."""
        return self.code / f"{code[:12]}.json"

    @cached_property
    def bases(self) -> Path:
        """Base pre-trainings, shared by all studies."""
        return self.root / "bases"

    @property
    def bases_published(self) -> Path:
        """What is known of the bases in which MLflow store."""
        return self.root / "published.json"

    def base(self, base_id: str) -> RunPaths:
        """Files of one base pre-training."""
        return RunPaths(self.bases / base_id)

    def study(self, name: str) -> StudyPaths:
        """Files of one study."""
        if name not in self._studies:
            self._studies[name] = StudyPaths(self.root / name)
        return self._studies[name]

    @cached_property
    def _studies(self) -> dict[str, StudyPaths]:
        """Those that were asked for: it is done ten thousand times for one study, and paths are slow to make."""
        return {}

    def run_of(self, study: str, run_id: str, phase: str) -> RunPaths:
        """Files of a run of a study; those of phase `prepare` are bases."""
        return self.base(run_id) if phase == "prepare" else self.study(study).run(run_id)
