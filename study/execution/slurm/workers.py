"""Runs in worker allocations: jobs that stay and execute one run after another, because queueing is paid once each."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from study.execution.slurm.base import SlurmExecutor, SlurmSettings, key_of
from study.execution.slurm.commands import cancel
from study.execution.slurm.state import JobRecord, JobState, find_by_name
from study.execution.slurm.submission import complete_submission, submit_worker
from study.execution.slurm.verdict import ending_of_job, ending_of_process, ending_of_warned
from study.execution.slurm.worker import Worker, never_submitted, open_mailbox, pool_of
from study.journal.endings import Ending, EndKind
from study.journal.files import read_json
from study.journal.replay import AttemptState, AttemptStatus
from study.paths import AttemptPaths, WorkerPaths
from study.plan.site import Resources
from study.worker.allocation import Allotment, Leaving

_ORPHAN_S = 60.0  # a submission that its orchestrator did not survive has arrived by then, or never will
_CERTAIN_AFTER_POLLS = 3
_LOOKS_WITHIN_S = 5.0
_LAUNCHING_S = 0.5  # for sbatch in one turn, unless one takes longer
_OBEYS_WITHIN_S = 60.0
_HUNG_S = 600.0  # a worker that has not said for so long that it lives hangs with its node
_LAUNCHES_BEFORE_GIVING_UP = 3


class WorkerExecutor(SlurmExecutor):
    """Keeps as many workers as there is work for, and hands them attempts, one ahead of what runs."""

    def __init__(self, settings: SlurmSettings, allotment: Allotment | None = None) -> None:
        """Adopt the workers that an earlier orchestrator has left.

        Args:
            settings: study, site and limits.
            allotment: what workers import and execute; the site decides the rest.
        """
        super().__init__(settings)
        self._allotment = allotment or Allotment()
        self._workers: dict[Path, Worker] = {}
        self._foreign: dict[Path, Worker] = {}  # of other studies, which train bases that this one waits for
        self._left_at: dict[Path, float] = {}
        self._killed: dict[Path, tuple[Worker, int, float]] = {}
        self._num_failed_launches = 0
        self._next_search = 0.0
        for paths in settings.study.existing_workers():
            if paths.job.exists():
                self._workers[paths.root] = self._meet(paths)

    @property
    def capacity(self) -> int:
        """Attempts that run, and one that waits beside every worker that takes orders."""
        return self.slots + sum(worker.takes for worker in self._living())

    def poll(self) -> list[str]:
        """Look at all workers, ask SLURM when it is time, give out what waits, submit workers that are missing."""
        for worker in (*self._living(), *self._foreign.values()):
            worker.look()
        self._find_orphans()
        self._ask(force=self._is_pressing())
        for worker in self._living():
            if worker.job_id is not None:
                self._follow(worker, self._watch.state(worker.job_id))
        for worker in self._foreign.values():
            record = self._watch.state(worker.job_id or "")
            worker.record = record if record.is_over else worker.record
        self._check_killed()
        self._give_out()
        self._take_back()
        self._grow()
        return self._news.take()

    def is_alive(self, attempt: AttemptState) -> bool:
        """Whether the attempt waits, or its process may run."""
        worker, number = self._bound(attempt)
        if worker is None:
            return self._is_alive_elsewhere(attempt)
        if worker.ending(number) is not None or worker.record is not None:
            return False
        return attempt.claim is not None or worker.leaving is None or worker.has_taken(number)

    def ending(self, attempt: AttemptState) -> Ending | None:
        """Why an attempt ended: from its worker's answer, else from its job's end."""
        worker, number = self._bound(attempt)
        if worker is None:
            return self._ending_elsewhere(attempt)
        if attempt.status is AttemptStatus.INTENDED and worker.has_started and worker.leaving is not None:
            return Ending(EndKind.NOT_STARTED, f"its worker left: {worker.leaving}", worker.node)
        if worker.leaving is not None and worker.leaving.interrupts:
            return self._why_warned(worker)
        answer = worker.ending(number)
        if answer is None:
            record = worker.record or self._watch.state(worker.job_id or "")
            return ending_of_job(record, worker.paths.log, has_started=attempt.claim is not None)
        if attempt.status is AttemptStatus.STOPPED:
            # Its worker has got the same signal, and says so a moment later; else somebody sent it to the run alone.
            since = self._left_at.setdefault(worker.paths.ended(number), time.monotonic())
            if worker.record is None and time.monotonic() - since < _LOOKS_WITHIN_S:
                return None
            reason = (attempt.last_event or {}).get("reason")
            return Ending(EndKind.STOPPED, f"asked by {reason}", worker.node)
        return ending_of_process(answer["exit_code"], worker.logs(number), worker.node, is_oom=answer.get("is_oom"))

    def stop(self, paths: AttemptPaths, attempt: AttemptState) -> bool:
        """Leave a stop file, or make sure that the attempt does not start."""
        if attempt.claim is None and self._backlog.pop(key_of(attempt.job), None) is not None:
            return True
        paths.run.stop.touch()
        return True

    def kill(self, attempt: AttemptState) -> None:
        """Let the worker kill the process."""
        worker, number = self._bound(attempt)
        if worker is not None and worker.paths.root in self._workers:  # another study's is looked after by that
            worker.paths.kill(number).touch()
            self._killed[worker.paths.kill(number)] = (worker, number, time.monotonic())

    def cancel(self) -> None:
        """Cancel all jobs."""
        cancel([worker.job_id for worker in self._living() if worker.job_id is not None])

    def close(self) -> None:
        """Let workers leave when what they run has ended; cancel those that have not started."""
        for worker in self._living():
            worker.paths.stop.touch()
        cancel([w.job_id for w in self._living() if w.job_id is not None and not w.has_started])

    def _living(self) -> Iterator[Worker]:
        yield from [worker for worker in self._workers.values() if worker.record is None]

    def _meet(self, paths: WorkerPaths) -> Worker:
        worker = Worker(paths)
        if worker.record is None and worker.job_id is not None:
            self._watch.watch(worker.job_id)
        return worker

    def _bound(self, attempt: AttemptState) -> tuple[Worker | None, int]:
        """The worker that an attempt was given to, perhaps one of another study, and the order's number."""
        binding = attempt.job.get("job") or {}
        if "mailbox" not in binding:
            return None, 0
        root, number = Path(binding["mailbox"]), int(binding["number"])
        if root not in self._workers and root not in self._foreign:
            self._foreign[root] = self._meet(WorkerPaths(root))
        worker = self._workers.get(root) or self._foreign[root]
        return (worker, number) if worker.has_order(number, attempt.job) else (None, 0)

    def _follow(self, worker: Worker, record: JobRecord) -> None:
        """Draw conclusions from what SLURM says about a worker's job."""
        self._report_waiting(record)
        worker.has_run = worker.has_run or record.state is JobState.RUNNING
        is_requeued = worker.has_run and record.state in (JobState.QUEUED, JobState.HELD)
        if not record.is_over and not is_requeued and record.state is JobState.RUNNING:
            is_hung = worker.has_started and worker.silent_s() > _HUNG_S
            record = replace(record, state=JobState.NODE_LOST) if is_hung else record
        if record.is_over or is_requeued or record.state is JobState.NODE_LOST:
            if not record.is_over:
                cancel([record.job_id])
            self._learn(record)
            worker.close(record)
            self._watch.forget(record.job_id)
            self._count_launch(worker, record)

    def _count_launch(self, worker: Worker, record: JobRecord) -> None:
        if worker.has_started:
            self._num_failed_launches = 0
        elif record.state not in (JobState.CANCELLED, JobState.PREEMPTED, JobState.NODE_LOST):
            self._num_failed_launches += 1
            ending = ending_of_job(record, worker.paths.log, has_started=False)
            self._news.lines.append(f"worker {worker.name} did not start: {ending}")
            if self._num_failed_launches >= _LAUNCHES_BEFORE_GIVING_UP:
                self._num_failed_launches = 0
                self._give_up_backlog(ending)

    def _is_pressing(self) -> bool:
        """Whether an attempt waits for SLURM to say why its worker was warned."""
        return any(worker.leaving is not None and worker.leaving.interrupts for worker in self._living())

    def _why_warned(self, worker: Worker) -> Ending | None:
        """Why a worker was told to leave; only SLURM knows, and it may know late."""
        since = self._left_at.setdefault(worker.paths.root, time.monotonic())
        if worker.record is None and time.monotonic() - since < _CERTAIN_AFTER_POLLS * self._settings.site.poll_s:
            return None
        late = worker.leaving is Leaving.OUT_OF_TIME
        return ending_of_warned(worker.record, worker.paths.log, worker.node, is_late=late)

    def _check_killed(self) -> None:
        """Cancel the job of a worker that does not obey: the whole node hangs."""
        for path, (worker, number, since) in list(self._killed.items()):
            if worker.ending(number) is not None or worker.record is not None:
                del self._killed[path]
            elif time.monotonic() - since > _OBEYS_WITHIN_S and worker.job_id is not None:
                cancel([worker.job_id])
                record = replace(
                    self._watch.state(worker.job_id), state=JobState.NODE_LOST, raw="RUNNING, but it hangs"
                )
                self._learn(record)
                worker.close(record)
                del self._killed[path]

    def _give_out(self) -> None:
        """Idle workers first; then one order ahead of what runs."""
        runs_per_job = self._settings.site.runs_per_job
        for key, attempt in list(self._backlog.items()):
            pool = self._pool(self._resources_of(attempt))
            takers = [w for w in self._living() if w.takes and w.pool == pool and len(w.orders) <= runs_per_job]
            if not takers:
                continue
            min(takers, key=lambda worker: len(worker.orders)).assign(attempt)
            del self._backlog[key]

    def _take_back(self) -> None:
        """When a worker idles beside one with an order ahead, take that back; its run is submitted anew."""
        if self._backlog:
            return
        runs_per_job = self._settings.site.runs_per_job
        for idle in self._living():
            if not idle.takes or idle.orders:
                continue
            for other in sorted(self._living(), key=lambda worker: worker.assigned_at):  # first come, first served
                if other.pool == idle.pool and len(other.orders) > runs_per_job and other.take_back():
                    break

    def _grow(self) -> None:
        """Submit the workers that are missing, for as many attempts at once as there are slots."""
        per_job = self._settings.site.runs_per_job
        waiting: Counter[Resources] = Counter(map(self._resources_of, self._backlog.values()))
        limit = min(math.ceil(self.slots / per_job), self._settings.max_jobs)
        for resources, num_waiting in waiting.items():
            staying = [worker for worker in self._living() if worker.leaving is None]
            here = [worker for worker in staying if worker.pool == self._pool(resources)]
            wanted = math.ceil((num_waiting + sum(len(worker.orders) for worker in here)) / per_job)
            if wanted > len(here) and len(staying) >= limit:
                self._dismiss(worker for worker in staying if worker not in here)
            until = time.monotonic() + _LAUNCHING_S
            for _ in range(min(wanted - len(here), limit - len(staying))):
                if not self._try(partial(self._launch, resources)) or time.monotonic() > until:
                    return

    def _dismiss(self, others: Iterable[Worker]) -> None:
        """Let idle workers of other phases, of an older site file or of older code make room."""
        pools = {self._pool(self._resources_of(attempt)) for attempt in self._backlog.values()}
        for worker in [worker for worker in others if not worker.orders and worker.pool not in pools]:
            worker.paths.stop.touch()
            if not worker.has_started and worker.job_id is not None:
                cancel([worker.job_id])
                worker.close(replace(self._watch.state(worker.job_id), state=JobState.CANCELLED, is_over=True))

    def _pool(self, resources: Resources) -> str:
        return pool_of(resources, self._settings.site, self._settings.code)

    def _has_jobs(self) -> bool:
        return any(self._living())

    def _resources_of(self, attempt: AttemptPaths) -> Resources:
        return self._resources(str(read_json(attempt.job)["phase"]))

    def _launch(self, resources: Resources, exclude: list[str]) -> None:
        """Record the intent, submit, acknowledge."""
        settings, site = self._settings, self._settings.site
        allotment = replace(
            self._allotment, runs_at_once=site.runs_per_job, idle_s=site.idle_s,
            time_limit_s=resources.time_min * 60, warning_s=site.warning_s,
        )  # fmt: skip
        paths = open_mailbox(settings.study, self._prefix, self._pool(resources), allotment)
        worker = self._workers[paths.root] = self._meet(paths)
        try:
            job_id = submit_worker(paths.log, paths.root, worker.name, resources, site, settings.code, exclude)
        except Exception:
            paths.stop.touch()  # SLURM may have taken it all the same
            worker.close(never_submitted(worker.name))
            raise
        worker.acknowledge(job_id)
        self._watch.watch(job_id)

    def _find_orphans(self) -> None:
        """Workers whose orchestrator did not live to hear their job's id: by the job's name."""
        orphans = [worker for worker in self._living() if worker.job_id is None]
        if not orphans or time.monotonic() < self._next_search:
            return
        self._next_search = time.monotonic() + min(5.0, self._settings.site.poll_s)
        names = find_by_name(self._prefix)
        if names is None:
            return
        by_name = {name: job_id for job_id, name in names.items()}
        for worker in orphans:
            if worker.name in by_name:
                complete_submission(worker.paths.log, by_name[worker.name])
                worker.acknowledge(by_name[worker.name])
                self._watch.watch(by_name[worker.name])
            elif time.time() - worker.intent_t > _ORPHAN_S:
                worker.paths.stop.touch()
                worker.close(never_submitted(worker.name))
