"""One worker as its orchestrator sees it: a SLURM job and a mailbox."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from study.execution.slurm.state import JobRecord, JobState
from study.journal.files import create_once, read_json, read_json_or_none, write_json
from study.journal.process import this_process
from study.paths import AttemptPaths, StudyPaths, WorkerPaths
from study.plan.identity import digest
from study.plan.site import Resources
from study.worker.allocation import Allotment, Leaving

_SILENT_S = 30.0  # six beats


class Worker:
    """The orchestrator's side of a mailbox.

    Attributes:
        paths: the mailbox.
        job_id: SLURM's, or None while the submission is not acknowledged.
        pool: which resources it has.
        orders: number → attempt, of what was assigned and has not ended.
        node: where it runs, once it has started.
        leaving: why it takes nothing more, once it does.
        has_run: SLURM has said that the job runs.
        record: how its job ended, once it has.
    """

    def __init__(self, paths: WorkerPaths) -> None:
        job = read_json(paths.job)
        self.paths = paths
        self.job_id: str | None = job["job_id"]
        self.name: str = job["name"]
        self.intent_t: float = job["intent_t"]
        self.pool: str = job["pool"]
        self.orders: dict[int, AttemptPaths] = {}
        self.node: str | None = None
        self.leaving: Leaving | None = None
        self.has_run = False
        over = job["over"]
        self.record = JobRecord(**{**over, "state": JobState(over["state"])}) if over else None
        self._num_assigned = 0
        self._endings: dict[int, Mapping[str, Any] | None] = {}
        while self.record is None and (order := read_json_or_none(paths.assigned(self._num_assigned + 1))) is not None:
            self._num_assigned += 1
            self.orders[self._num_assigned] = AttemptPaths(Path(order["attempt"]))
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
    def is_silent(self) -> bool:
        """Whether it has not said for long that it lives."""
        beat = read_json_or_none(self.paths.beat)
        return beat is None or time.time() - float(beat["t"]) > _SILENT_S

    def look(self) -> None:
        """Read the worker's answers."""
        if self.node is None and (started := read_json_or_none(self.paths.started)) is not None:
            self.node = started["node"]
        if self.leaving is None or not self.leaving.interrupts:
            left = read_json_or_none(self.paths.left)
            self.leaving = Leaving(left["reason"]) if left else None
        for number in list(self.orders):
            ending = read_json_or_none(self.paths.ended(number))
            if ending is not None:
                self._endings[number] = ending
                del self.orders[number]

    def ending(self, number: int) -> Mapping[str, Any] | None:
        """How the process of an order ended, or None."""
        if number not in self._endings and self.record is not None:  # an old worker, whose mailbox was not read
            self._endings[number] = read_json_or_none(self.paths.ended(number))
        return self._endings.get(number)

    def has_taken(self, number: int) -> bool:
        """Whether the worker has started a process for an order."""
        return self.paths.taken(number).exists()

    def assign(self, attempt: AttemptPaths) -> None:
        """Give it an attempt: acknowledged first, because a job that nobody knows of could not be adopted."""
        number = self._num_assigned + 1
        binding = {"mailbox": str(self.paths.root), "number": number, "job_id": self.job_id}
        write_json(attempt.job, {**read_json(attempt.job), "job": binding})
        write_json(self.paths.assigned(number), {"attempt": str(attempt.root)})
        self._num_assigned = number
        self.orders[number] = attempt

    def acknowledge(self, job_id: str) -> None:
        """Keep the id of its job."""
        self.job_id = job_id
        write_json(self.paths.job, {**read_json(self.paths.job), "job_id": job_id})

    def close(self, record: JobRecord) -> None:
        """Keep how its job ended; nobody asks SLURM about it again."""
        self.record = record
        write_json(self.paths.job, {**read_json(self.paths.job), "over": asdict(record)})

    def take_back(self) -> bool:
        """Take back an order whose turn has not come; False when there is none."""
        for number, attempt in reversed(self.orders.items()):
            if not self.has_taken(number) and create_once(attempt.claim, {"revoked": True, **this_process()}):
                del self.orders[number]
                return True
        return False


def open_mailbox(study: StudyPaths, prefix: str, pool: str, allotment: Allotment) -> WorkerPaths:
    """Make the mailbox of a new worker, with the intent to submit it.

    Args:
        study: whose worker it is.
        prefix: of its job's name.
        pool: which resources it will have.
        allotment: what it is to do.
    """
    names = [paths.root.name for paths in study.existing_workers()]
    paths = WorkerPaths(study.workers / f"w{int(names[-1][1:]) + 1 if names else 1:04d}")
    paths.make_folders()
    intent = {
        "name": f"{prefix}{paths.root.name}", "pool": pool, "intent_t": time.time(), "orchestrator": this_process(),
        "allotment": asdict(allotment), "job_id": None, "over": None,
    }  # fmt: skip
    write_json(paths.job, intent)
    return paths


def pool_of(resources: Resources) -> str:
    """Name of the workers with these resources."""
    return digest(asdict(resources))[:8]


def never_submitted(name: str) -> JobRecord:
    """The record of a job that does not exist."""
    return JobRecord(job_id=name, state=JobState.MISSING, is_over=True)
