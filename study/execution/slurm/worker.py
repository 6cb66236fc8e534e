"""One worker as its orchestrator sees it: a SLURM job and a mailbox."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from study.execution.slurm.base import Key, key_of
from study.execution.slurm.state import JobRecord, JobState
from study.journal.files import create_once, read_json, read_json_or_none, write_json
from study.journal.process import this_process
from study.paths import AttemptPaths, StudyPaths, WorkerPaths
from study.plan.identity import digest
from study.plan.site import Resources, Slurm
from study.worker.allocation import Allotment, Leaving


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
        assigned_at: when it got its newest order, by the monotonic clock.
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
        self.assigned_at = 0.0
        self._num_assigned = 0
        self._confirmed: dict[int, Key] = {}
        self._beat: tuple[float, float] = (0.0, time.monotonic())
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

    def silent_s(self) -> float:
        """How long, by this host's clock, a worker that has started has not said that it lives."""
        beat = float((read_json_or_none(self.paths.beat) or {}).get("t", 0.0))
        if beat != self._beat[0] or not self.has_started:
            self._beat = (beat, time.monotonic())
        return time.monotonic() - self._beat[1]

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
        if self._endings.get(number) is None and number not in self.orders:  # an old worker's, or of another study
            self._endings[number] = read_json_or_none(self.paths.ended(number))
        return self._endings.get(number)

    def has_taken(self, number: int) -> bool:
        """Whether the worker has started a process for an order."""
        return self.paths.taken(number).exists()

    def logs(self, number: int) -> tuple[Path, ...]:
        """Logs of an order's attempt, and of the job."""
        order = read_json_or_none(self.paths.assigned(number))
        return (*([AttemptPaths(Path(order["attempt"])).stderr] if order else []), self.paths.log)

    def assign(self, attempt: AttemptPaths) -> None:
        """Give it an attempt: acknowledged first, because a job that nobody knows of could not be adopted."""
        job = read_json(attempt.job)
        while True:
            number = self._num_assigned = self._num_assigned + 1
            binding = {"mailbox": str(self.paths.root), "number": number, "job_id": self.job_id}
            write_json(attempt.job, {**job, "job": binding})
            if create_once(self.paths.assigned(number), {"attempt": str(attempt.root), "key": key_of(job)}):
                break  # else an orchestrator that has lost its lease was here
        self.orders[number] = attempt
        self.assigned_at = time.monotonic()

    def has_order(self, number: int, job: Mapping[str, Any]) -> bool:
        """Whether that order is for that attempt; a binding may have been written and its order not."""
        if number not in self._confirmed:
            order = read_json_or_none(self.paths.assigned(number))
            if order is None:
                return False
            self._confirmed[number] = tuple(order["key"])
        return self._confirmed[number] == key_of(job)

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
    paths.make_folders()
    intent = {
        "name": f"{prefix}{paths.root.name}", "pool": pool, "intent_t": time.time(), "orchestrator": this_process(),
        "allotment": asdict(allotment), "job_id": None, "over": None,
    }  # fmt: skip
    write_json(paths.job, intent)
    return paths


def pool_of(resources: Resources, site: Slurm, code: Path) -> str:
    """Name of the workers that are alike: resources, set-up and code."""
    manner = {"setup": site.setup, "python": site.python, "environment": dict(site.environment), "code": str(code)}
    return digest({**asdict(resources), **manner, "runs_per_job": site.runs_per_job})[:8]


def never_submitted(name: str) -> JobRecord:
    """The record of a job that does not exist."""
    return JobRecord(job_id=name, state=JobState.MISSING, is_over=True)
