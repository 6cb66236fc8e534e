"""Every file name of a home, a study, a run and an attempt, so that no other module spells one.

::

    <home>/mlflow.db  mlartifacts/  data/
    <home>/bases/<hash>/                 a base pre-training; laid out like a run
    <home>/<study>/plan.yaml plan.json lease stop finished.json published.json
    <home>/<study>/search/<arm>.log      Optuna journal of one arm
    <home>/<study>/search/<arm>/0003.json    one trial: its parameters, runs, outcome
    <home>/<study>/runs/<run_id>/spec.json stop trained.json weights.safetensors published.json
    <home>/<study>/runs/<run_id>/attempts/002/  job.json claim events.jsonl heartbeat checkpoint.pt trained.json …
    <home>/<study>/runs/<run_id>/evaluations/<name>-<split>-<hash>.json
    <home>/<study>/report/               tables and figures
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

RESERVED_NAMES = ("bases", "code", "data", "mlartifacts")  # folders of a home that no study may be called


def from_user(text: str) -> Path:
    """A path as a user gives it; `~` is expanded where no shell has done so, as in `--home=~/studies`."""
    with suppress(RuntimeError):  # `~nobody`
        return Path(text).expanduser()
    return Path(text)


@dataclass(frozen=True)
class AttemptPaths:
    """Files of one attempt; all but `job` and the logs are written by the attempt itself."""

    root: Path

    @property
    def number(self) -> int:
        """Attempts count from 1."""
        return int(self.root.name)

    @property
    def job(self) -> Path:
        """Intent and, once submitted, acknowledgement; written by the orchestrator."""
        return self.root / "job.json"

    @property
    def claim(self) -> Path:
        """Created once, by the first: the worker that executes the attempt, or an orchestrator that revokes it."""
        return self.root / "claim"

    @property
    def events(self) -> Path:
        """Append-only facts, one JSON object a line."""
        return self.root / "events.jsonl"

    @property
    def heartbeat(self) -> Path:
        """Newest step and time."""
        return self.root / "heartbeat"

    @property
    def checkpoint(self) -> Path:
        """Newest checkpoint of this attempt."""
        return self.root / "checkpoint.pt"

    @property
    def trained(self) -> Path:
        """Written when this attempt has finished training."""
        return self.root / "trained.json"

    @property
    def weights(self) -> Path:
        """Trained weights."""
        return self.root / "weights.safetensors"

    @property
    def stdout(self) -> Path:
        """What the worker printed."""
        return self.root / "log.out"

    @property
    def stderr(self) -> Path:
        """What the worker complained about."""
        return self.root / "log.err"

    @property
    def run(self) -> RunPaths:
        """The run this is an attempt at."""
        return RunPaths(self.root.parent.parent)


@dataclass(frozen=True)
class RunPaths:
    """Files of one run, or of one base pre-training."""

    root: Path

    @property
    def spec(self) -> Path:
        """What to train."""
        return self.root / "spec.json"

    @property
    def stop(self) -> Path:
        """Asks the worker to save and leave."""
        return self.root / "stop"

    @property
    def trained(self) -> Path:
        """Hard link to the `trained.json` of the first attempt that finished."""
        return self.root / "trained.json"

    @property
    def weights(self) -> Path:
        """Hard link to that attempt's weights."""
        return self.root / "weights.safetensors"

    @property
    def evaluations(self) -> Path:
        """One file per evaluation and split."""
        return self.root / "evaluations"

    @property
    def published(self) -> Path:
        """How far which MLflow store has got."""
        return self.root / "published.json"

    @property
    def attempts(self) -> Path:
        """One folder per attempt."""
        return self.root / "attempts"

    def attempt(self, number: int) -> AttemptPaths:
        """Files of attempt `number`, from 1."""
        return AttemptPaths(self.attempts / f"{number:03d}")

    def existing_attempts(self) -> list[AttemptPaths]:
        """Attempts in the order they were made."""
        if not self.attempts.is_dir():
            return []
        return [AttemptPaths(d) for d in sorted(self.attempts.iterdir()) if d.name.isdigit()]


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
    def published(self) -> Path:
        """The tracked parent run of the study, and in which store."""
        return self.root / "published.json"

    @property
    def report(self) -> Path:
        """Tables and figures."""
        return self.root / "report"

    @property
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
    def bases(self) -> Path:
        """Base pre-trainings, shared by all studies."""
        return self.root / "bases"

    def base(self, base_id: str) -> RunPaths:
        """Files of one base pre-training."""
        return RunPaths(self.bases / base_id)

    def study(self, name: str) -> StudyPaths:
        """Files of one study."""
        return StudyPaths(self.root / name)

    def run_of(self, study: str, run_id: str, phase: str) -> RunPaths:
        """Files of a run of a study; those of phase `prepare` are bases."""
        return self.base(run_id) if phase == "prepare" else self.study(study).run(run_id)
