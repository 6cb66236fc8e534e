"""What an attempt works with: dataset, device, and the files of its run and of its base."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from study.datasets.base import Dataset
from study.errors import CheckpointError
from study.journal.files import read_json
from study.methods.base import MethodNetwork
from study.paths import AttemptPaths, HomePaths, RunPaths
from study.plan.spec import RunSpec
from study.training.assemble import build_network, component
from study.training.checkpoint import load_checkpoint
from study.worker.pulse import Pulse


@dataclass(frozen=True)
class Workplace:
    """One attempt's surroundings."""

    attempt: AttemptPaths
    spec: RunSpec
    dataset: Dataset
    folder: Path
    device: torch.device
    home: HomePaths
    checkpoint_every_s: float
    num_processes: int = 1
    num_nodes: int = 1
    log_every: int | None = None
    pulse: Pulse = field(default_factory=Pulse)

    @classmethod
    def open(
        cls, attempt: AttemptPaths, spec: RunSpec, job: Mapping[str, Any], pulse: Pulse | None = None
    ) -> Workplace:
        """Resolve what job.json holds; other ranks than the first have no pulse."""
        request = job["request"]
        accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        if accelerator is not None and accelerator.type == "mps":
            accelerator = None  # it knows no float64, in which norms and metrics are summed
        return cls(
            attempt=attempt,
            spec=spec,
            dataset=component(spec.training, "datasets", "dataset"),
            folder=Path(request["data_folder"]),
            device=accelerator or torch.device("cpu"),
            home=HomePaths(Path(request["home"])),
            checkpoint_every_s=request["checkpoint_every_s"],
            num_processes=request.get("num_processes", 1),
            num_nodes=(job.get("job") or {}).get("nodes", 1),
            log_every=request.get("log_every"),
            pulse=pulse or Pulse(),
        )

    @property
    def run(self) -> RunPaths:
        """The run that is attempted."""
        return self.attempt.run

    @property
    def base(self) -> RunPaths:
        """The base that a continuation starts from."""
        return self.home.base(self.spec.training["initial"]["base"][:12])

    def trained_network(self, run: RunPaths) -> MethodNetwork:
        """The network with the trained weights of this run or of its base."""
        network = build_network(self.spec.training)
        weights_sha256(run)
        network.load_state_dict(load_file(trained_attempt(run).weights))
        return network


@dataclass(frozen=True)
class Resumption:
    """A valid checkpoint of an earlier attempt."""

    attempt: int
    step: int
    state: Mapping[str, Any]


def newest_checkpoint(attempt: AttemptPaths, code: str) -> Resumption | None:
    """The furthest valid checkpoint of the earlier attempts; damaged ones, and those of other code, are passed over.

    Args:
        attempt: the one that goes on.
        code: hash of what the training of this process can execute. A training that one code begins and another one
            ends would be a result of neither.
    """
    best: Resumption | None = None
    for earlier in attempt.run.existing_attempts():
        if earlier.number >= attempt.number:
            continue
        try:
            state = load_checkpoint(earlier.checkpoint)
        except (FileNotFoundError, CheckpointError):
            continue
        if state.get("code") != code:
            continue
        if best is None or int(state["step"]) >= best.step:
            best = Resumption(earlier.number, int(state["step"]), state)
    return best


def trained_attempt(run: RunPaths) -> AttemptPaths:
    """The attempt whose weights are the run's."""
    return run.attempt(read_json(run.trained)["attempt"])


def weights_sha256(run: RunPaths) -> str:
    """sha256 (hex) of the trained weights of a run or base, as its file is now.

    Raises:
        CheckpointError: the file is not the one that was trained.
    """
    path = trained_attempt(run).weights
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    expected = read_json(run.trained)["weights_sha256"]
    if found != expected:
        raise CheckpointError(
            f"{path} has sha256 {found}, but {expected} was trained; move {run.root} away and start the study again"
        )
    return found
