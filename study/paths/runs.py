"""Files of a run and of its attempts."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


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
    def verdict(self) -> Path:
        """How an attempt without a last word of its own ended; written once, by an orchestrator."""
        return self.root / "verdict.json"

    @property
    def stdout(self) -> Path:
        """What the worker printed."""
        return self.root / "log.out"

    @property
    def stderr(self) -> Path:
        """What the worker complained about."""
        return self.root / "log.err"

    @property
    def rendezvous(self) -> Path:
        """Where the other machines of a job find rank 0."""
        return self.root / "rendezvous.json"

    @property
    def left(self) -> Path:
        """Tells the other machines of a job that rank 0 is done."""
        return self.root / "left"

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
    def summary(self) -> Path:
        """What a run that is over left behind, in one small file; see `study.journal.summary`."""
        return self.root / "summary"

    @property
    def reused(self) -> Path:
        """Says which run of another study this one's results were taken from."""
        return self.root / "reused.json"

    @property
    def attempts(self) -> Path:
        """One folder per attempt."""
        return self.root / "attempts"

    def attempt(self, number: int) -> AttemptPaths:
        """Files of attempt `number`, from 1."""
        return AttemptPaths(self.attempts / f"{number:03d}")

    def existing_attempts(self) -> list[AttemptPaths]:
        """Attempts in the order they were made."""
        try:
            names = os.listdir(self.attempts)  # noqa: PTH208 (asked of thousands of runs)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return [AttemptPaths(self.attempts / name) for name in sorted(filter(str.isdigit, names), key=int)]
