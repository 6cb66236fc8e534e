"""One SLURM job per run, arrays of them where several are ready: for runs that are long beside a wait in the queue."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from study.execution.slurm.base import SlurmExecutor, SlurmSettings
from study.execution.slurm.commands import cancel
from study.execution.slurm.gate import FRUITFUL_S
from study.execution.slurm.names import key_of
from study.execution.slurm.queries import find_by_name
from study.execution.slurm.records import JobRecord, JobState
from study.execution.slurm.submission import SubmissionError, submit_attempts
from study.execution.slurm.verdict import ending_of_job
from study.journal.endings import Ending, EndKind
from study.journal.files import read_json, write_json
from study.journal.replay import AttemptState, AttemptStatus
from study.paths import AttemptPaths
from study.plan.site import Resources

_ORPHAN_S = 60.0  # a submission that its orchestrator did not survive has arrived by then, or never will
_UNCERTAIN = (JobState.COMPLETED, JobState.FAILED, JobState.UNKNOWN)


@dataclass(frozen=True)
class _Job:
    """A job that is not over.

    Attributes:
        kind: of the jobs that are like it; empty for adopted ones of an older site file.
        is_ours: whether it belongs to this study; others train bases that this one waits for.
        claim: appears when its attempt begins; None when that is not known.
    """

    kind: str
    is_ours: bool = True
    claim: Path | None = None


class JobExecutor(SlurmExecutor):
    """Submits what is ready in every turn as one array per kind of resources, within the cluster's limits."""

    def __init__(self, settings: SlurmSettings) -> None:
        super().__init__(settings)
        self._jobs: dict[str, _Job] = {}
        self._over: dict[str, JobRecord] = {}
        self._hopeless: dict[str, Ending] = {}
        self._running_since: dict[str, float] = {}
        self._buried: set[str] = set()  # names of submissions that were not acknowledged, and are cancelled
        self._names: Mapping[str, str] | None = None
        self._next_search = 0.0

    @property
    def capacity(self) -> int:
        """As many jobs as may run at once; SLURM starts whatever it can."""
        return min(self.slots, self._most_jobs)

    def poll(self) -> list[str]:
        """Ask SLURM when it is time, and submit what waits."""
        self._ask()
        self._follow_all()
        groups: dict[str, list[AttemptPaths]] = defaultdict(list)
        for waiting in self._backlog.values():
            groups[waiting.kind].append(waiting.attempt)
        for kind, attempts in groups.items():
            room = self._most_jobs - sum(job.is_ours for job in self._jobs.values())
            batch = attempts[: max(0, min(room, self._settings.max_array_size))]
            if batch:
                self._try(kind, partial(self._submit_batch, kind, self._requests[kind], batch))
        return self._notices.take()

    def _follow_all(self) -> None:
        """Draw conclusions from what SLURM says about the jobs."""
        mine = [job_id for job_id, job in self._jobs.items() if job.is_ours]
        records = {job_id: self._watch.state(job_id) for job_id in self._jobs}
        kinds = {job_id: self._jobs[job_id].kind for job_id in mine if self._jobs[job_id].kind}
        waiting = (JobState.QUEUED, JobState.HELD)
        self._look_why_jobs_wait(
            [(kind, records[job_id]) for job_id, kind in kinds.items() if records[job_id].state in waiting],
            {kind for job_id, kind in kinds.items() if records[job_id].state is JobState.RUNNING},
        )
        for job_id, record in records.items():
            self._learn(record)
            if record.state is JobState.RUNNING:
                self._running_since.setdefault(job_id, time.monotonic())
            if record.is_over:
                job = self._jobs.pop(job_id)
                self._over[job_id] = record
                if job.is_ours and job.kind:
                    self._gates[job.kind].make_room()
                    self._gates[job.kind].end(was_fruitful=self._was_fruitful(job, record))
        self._respect([records[job_id] for job_id in mine if records[job_id].is_over], len(mine))

    def _was_fruitful(self, job: _Job, record: JobRecord) -> bool:
        """Whether a job has run for a while, or to its end."""
        if job.claim is not None and not job.claim.exists():
            return False
        since = self._running_since.pop(record.job_id, math.inf)
        return record.state is JobState.COMPLETED or time.monotonic() - since >= FRUITFUL_S

    def is_alive(self, attempt: AttemptState) -> bool:
        """Whether the attempt waits, or its job is not over."""
        job_id = self._job_of(attempt)
        if job_id is None:
            return self._is_unheard_of(attempt) or self._is_alive_elsewhere(attempt)
        return not attempt.status.is_over and job_id not in self._over

    def is_paused(self, attempt: AttemptState) -> bool:
        """Whether the attempt waits for its job to start, or SLURM has suspended that."""
        job_id = self._job_of(attempt)
        return attempt.claim is None or (job_id is not None and self._watch.state(job_id).state is JobState.PAUSED)

    def ending(self, attempt: AttemptState) -> Ending | None:
        """Why an attempt ended, from the end of its job."""
        job_id = self._job_of(attempt)
        if job_id is None:
            return self._ending_elsewhere(attempt)
        record = self._over.get(job_id)
        if record is None:
            return None
        if (known := self._hopeless.get(job_id) or self._by_our_hand(record)) is not None:
            return known
        if attempt.status is AttemptStatus.STOPPED and record.state in _UNCERTAIN:
            return Ending(EndKind.PREEMPTED, f"job {job_id} was told to end", record.node)
        folder = Path(attempt.job["job"]["logs"])
        log = next(iter(sorted(folder.glob(f"{job_id}_*log.err"))), folder)
        return ending_of_job(record, log, has_started=attempt.claim is not None)

    def stop(self, paths: AttemptPaths, attempt: AttemptState) -> bool:
        """Leave a stop file for what runs, and cancel what waits."""
        if self._backlog.pop(key_of(attempt.job), None) is None:
            paths.run.stop.touch()
            job_id = self._job_of(attempt)
            if attempt.claim is None and job_id is not None:
                self._cancel([job_id])
        return True

    def kill(self, attempt: AttemptState) -> None:
        """Cancel its job."""
        job_id = self._job_of(attempt)
        if job_id is not None:
            self._cancel([job_id])

    def cancel(self) -> None:
        """Cancel all jobs."""
        self._cancel([job_id for job_id, job in self._jobs.items() if job.is_ours])

    def close(self) -> None:
        """Jobs go on and will be adopted."""

    def _job_of(self, attempt: AttemptState) -> str | None:
        """The attempt's job; adopts the jobs of an earlier orchestrator."""
        binding = attempt.job.get("job") or {}
        job_id = binding.get("job_id")
        if job_id is None or "batch" not in binding:
            return None
        if job_id not in self._jobs and job_id not in self._over:
            self._jobs[job_id] = _Job(binding.get("kind", ""), self._is_ours(attempt))
            self._watch.watch(job_id)
        return str(job_id)

    def _is_unheard_of(self, attempt: AttemptState) -> bool:
        """Whether jobs may exist that their orchestrator did not live to hear of.

        Their pickles are lost, so they are cancelled by name; until SLURM has answered, or is sure to know them, the
        attempt is not given to another job.
        """
        binding = attempt.job.get("job") or {}
        if "batch" not in binding or binding["job_id"] is not None or attempt.status is not AttemptStatus.INTENDED:
            return False
        if key_of(attempt.job) in self._backlog or binding["name"] in self._buried:
            return False
        if time.monotonic() >= self._next_search:
            self._next_search = time.monotonic() + min(5.0, self._settings.site.poll_s)
            self._names = find_by_name(self._prefix)
        if self._names is None:
            return True
        lost = [job_id for job_id, name in self._names.items() if name == binding["name"]]
        cancel(lost)
        if lost or time.time() - float(attempt.job.get("intent_t", 0)) > _ORPHAN_S:
            self._buried.add(binding["name"])
            return False
        return True

    def _give_up(self, kind: str, ending: Ending) -> None:
        """What waits here for jobs of a kind, and those that were cancelled because SLURM will never start them."""
        keys = [key for key, waiting in self._backlog.items() if waiting.kind == kind]
        self._given_up.update(dict.fromkeys(keys, ending))
        self._backlog = {key: waiting for key, waiting in self._backlog.items() if key not in keys}
        cancelled = [job_id for job_id, job in self._jobs.items() if job.kind == kind and job_id in self._cancelled]
        self._hopeless.update(dict.fromkeys(cancelled, ending))

    def _submit_batch(self, kind: str, resources: Resources, attempts: list[AttemptPaths], exclude: list[str]) -> None:
        """Record the intent, submit, acknowledge."""
        study = self._settings.study
        batches = sorted(path.name for path in study.workers.glob("b[0-9]*"))
        batch = f"b{int(batches[-1][1:]) + 1 if batches else 1:04d}"
        folder = study.workers / batch / "log"
        folder.mkdir(parents=True)
        name = f"{self._prefix}{batch}"
        if len(attempts) == 1:
            name += f"-{attempts[0].run.root.name}"
        binding = {"batch": batch, "name": name, "logs": str(folder), "nodes": resources.nodes, "job_id": None}
        binding["kind"] = kind
        bindings = [{**binding, "index": index} for index in range(len(attempts))]
        for attempt, binding in zip(attempts, bindings, strict=True):
            write_json(attempt.job, {**read_json(attempt.job), "job": binding})
        try:
            ids = submit_attempts(
                folder, [attempt.root for attempt in attempts], name, resources, self._settings.site,
                self._settings.code, exclude,
            )  # fmt: skip
        except SubmissionError:
            self._buried.add(name)
            raise
        for attempt, binding, job_id in zip(attempts, bindings, ids, strict=True):
            job = read_json(attempt.job)
            write_json(attempt.job, {**job, "job": {**binding, "job_id": job_id}})
            self._backlog.pop(key_of(job))
            self._jobs[job_id] = _Job(kind, claim=attempt.claim)
            self._alive_once.add(job_id)
            self._watch.watch(job_id)
