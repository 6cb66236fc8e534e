"""A place to run: what a site file can say, without how it is read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

SLURM_SLOTS = 8  # runs at once where nobody says how many


class Mode(StrEnum):
    """How runs become jobs."""

    WORKERS = "workers"
    JOBS = "jobs"


@dataclass(frozen=True)
class Resources:
    """What one job asks for; None leaves it to the cluster's default.

    Attributes:
        partition: or several, with commas between.
        account: that is charged.
        qos: quality of service.
        nodes: machines of one job, over which the processes of a run are spread; what follows is wanted of each.
        gpus: GPUs per job.
        gpu_type: as the cluster calls it, e.g. `a100`.
        cpus: cores per job.
        memory_gb: memory per job, in units of 1024 MB.
        time_min: time limit of a job.
        constraint: features that a node must have.
        exclude: nodes to avoid.
    """

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    nodes: int = 1
    gpus: int = 0
    gpu_type: str | None = None
    cpus: int = 1
    memory_gb: float | None = None
    time_min: float = 60
    constraint: str | None = None
    exclude: tuple[str, ...] = ()

    @property
    def memory_mb(self) -> int | None:
        """Memory in the whole megabytes that SLURM counts in, rounded up."""
        return None if self.memory_gb is None else math.ceil(self.memory_gb * 1024)


@dataclass(frozen=True)
class Slurm:
    """How SLURM is used.

    Attributes:
        resources: of a job.
        phases: of jobs of a phase that asks for others: the default with what the phase overrides.
        setup: shell lines before Python starts.
        python: command that starts Python, perhaps in a container; None: the orchestrator's.
        environment: variables that jobs get.
        mode: allocations that execute one run after another, or one job per run.
        runs_per_job: runs side by side in one allocation.
        idle_s: a worker leaves after so long without work.
        poll_s: between two questions to the scheduler.
        warning_s: how long before its time limit a job is told to save.
        max_jobs: jobs at once; None: what `slots` need.
    """

    resources: Resources = Resources()
    phases: Mapping[str, Resources] = field(default_factory=dict)
    setup: tuple[str, ...] = ()
    python: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    mode: Mode = Mode.WORKERS
    runs_per_job: int = 1
    idle_s: float = 60
    poll_s: float = 30
    warning_s: float = 120
    max_jobs: int | None = None

    @property
    def requests(self) -> Mapping[str, Resources]:
        """Every kind of job, by the place in the file that it comes from: `` (the top level) or `phases.tune`."""
        return {"": self.resources, **{f"phases.{phase}": resources for phase, resources in self.phases.items()}}


@dataclass(frozen=True)
class Site:
    """One place to run.

    Attributes:
        executor: `local` (processes on this machine), `inline` (inside the orchestrator, one run at a time) or `slurm`.
        slots: runs at once; default: one per GPU, else one per core; with SLURM, `SLURM_SLOTS`.
        checkpoint_every_s: seconds between two checkpoints of a run.
        home: folder where studies live, unless the command or $STUDY_HOME names another.
        slurm: how SLURM is used; None with other executors.
        processes_per_run: processes that train a run together, with a GPU each where there are any.
        log_every: steps from one that a journal keeps to the next; None: see `study.journal.thinning`.
        hang_patience_s: a training without a new step for so long hangs, or for 20 median steps if that is longer.
        quiet_patience_s: the same for what comes before the first step, and for evaluations: without a sign of work.
    """

    executor: str = "local"
    slots: int | None = None
    checkpoint_every_s: float = 30.0
    home: str | None = None
    slurm: Slurm | None = None
    processes_per_run: int = 1
    log_every: int | None = None
    hang_patience_s: float = 600.0
    quiet_patience_s: float = 1800.0
