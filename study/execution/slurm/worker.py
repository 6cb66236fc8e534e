"""One worker as its orchestrator sees it: a SLURM job, and what it says about itself."""

from __future__ import annotations

import time
from dataclasses import asdict

from study.execution.slurm.records import JobRecord, JobState
from study.journal.files import read_json, read_json_or_none, write_json
from study.journal.process import this_process
from study.paths import StudyPaths, WorkerPaths
from study.worker.allocation import Allotment, Leaving

_ORPHAN_S = 60.0  # a submission that its orchestrator did not survive has arrived by then, or never will


class Worker:
    """The orchestrator's side of a worker.

    Attributes:
        paths: its files.
        job_id: SLURM's, or None while the submission is not acknowledged.
        pool: whose orders it takes.
        node: where it runs, once it has started.
        leaving: why it takes nothing more, once it does.
        has_run: SLURM has said that the job runs.
        started_at: when it was seen to have started, by the clock of `time.monotonic`.
        record: how its job ended, once it has.
    """

    def __init__(self, paths: WorkerPaths) -> None:
        job = read_json(paths.job)
        self.paths = paths
        self.job_id: str | None = job["job_id"]
        self.name: str = job["name"]
        self.intent_t: float = job["intent_t"]
        self.pool: str = job["pool"]
        self.node: str | None = None
        self.leaving: Leaving | None = None
        self.has_run = False
        self.started_at: float | None = None
        over = job["over"]
        self.record = JobRecord(**{**over, "state": JobState(over["state"])}) if over else None
        self._beat: tuple[float, float] = (0.0, time.monotonic())
        if self.record is None:
            self.look()

    @property
    def has_started(self) -> bool:
        """Whether our code runs or ran there."""
        return self.node is not None

    @property
    def takes(self) -> bool:
        """Whether it takes orders now."""
        return self.has_started and self.leaving is None and self.record is None

    @property
    def is_staying(self) -> bool:
        """Whether it takes orders now, or will when SLURM starts it."""
        return self.leaving is None and self.record is None and not self.never_arrived

    @property
    def never_arrived(self) -> bool:
        """Whether its orchestrator was killed before SLURM got it."""
        return self.job_id is None and time.time() - self.intent_t > _ORPHAN_S

    def silent_s(self) -> float:
        """How long, by this host's clock, a worker that has started has not said that it lives, as far as was read."""
        return time.monotonic() - self._beat[1] if self.has_started else 0.0

    def look(self) -> None:
        """Read the worker's answers."""
        if self.node is None:
            started = read_json_or_none(self.paths.started)
            if started is None:
                return
            self.node, self.started_at = started["node"], time.monotonic()
        if self.leaving is None or not self.leaving.interrupts:
            left = read_json_or_none(self.paths.left)
            self.leaving = Leaving(left["reason"]) if left else None
        beat = float((read_json_or_none(self.paths.beat) or {}).get("t", 0.0))
        if beat != self._beat[0]:
            self._beat = (beat, time.monotonic())

    def acknowledge(self, job_id: str) -> None:
        """Keep the id of its job."""
        self.job_id = job_id
        write_json(self.paths.job, {**read_json(self.paths.job), "job_id": job_id})

    def close(self, record: JobRecord) -> None:
        """Keep how its job ended; nobody asks SLURM about it again."""
        self.record = record
        write_json(self.paths.job, {**read_json(self.paths.job), "over": asdict(record)})


def new_worker(study: StudyPaths, prefix: str, pool: str, allotment: Allotment) -> WorkerPaths:
    """Make the files of a new worker, with the intent to submit it.

    Args:
        study: whose worker it is.
        prefix: of its job's name.
        pool: whose orders it will take.
        allotment: what it is to do.
    """
    names = [paths.root.name for paths in study.existing_workers()]
    number = int(names[-1][1:]) + 1 if names else 1
    while True:
        paths = WorkerPaths(study.workers / f"w{number:04d}")
        paths.root.parent.mkdir(exist_ok=True)
        try:
            paths.root.mkdir()
        except FileExistsError:  # an orchestrator that has lost its lease was here
            number += 1
        else:
            break
    paths.log.mkdir()
    paths.pool(pool).make_folders()
    intent = {
        "name": f"{prefix}{paths.root.name}", "pool": pool, "intent_t": time.time(), "orchestrator": this_process(),
        "allotment": asdict(allotment), "job_id": None, "over": None,
    }  # fmt: skip
    write_json(paths.job, intent)
    return paths


def never_submitted(name: str) -> JobRecord:
    """The record of a job that does not exist."""
    return JobRecord(job_id=name, state=JobState.MISSING, is_over=True)
