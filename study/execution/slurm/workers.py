"""Runs in worker allocations: jobs that stay and execute one run after another, because queueing is paid once each."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

from study.execution.slurm.base import SlurmExecutor, SlurmSettings, key_of
from study.execution.slurm.commands import cancel
from study.execution.slurm.pool import pool_of
from study.execution.slurm.roster import Roster
from study.execution.slurm.state import JobRecord, JobState, find_by_name
from study.execution.slurm.submission import complete_submission, submit_worker
from study.execution.slurm.verdict import ending_of_job, ending_of_process, ending_of_warned
from study.execution.slurm.worker import Worker, never_submitted, new_worker
from study.journal.endings import Ending, EndKind
from study.journal.files import read_json
from study.journal.replay import AttemptState, AttemptStatus
from study.paths import AttemptPaths
from study.plan.site import Resources
from study.worker.allocation import Allotment, Leaving

_CERTAIN_AFTER_POLLS = 3
_LOOKS_WITHIN_S = 5.0
_LAUNCHING_S = 0.5  # for sbatch in one turn, unless one takes longer
_OBEYS_WITHIN_S = 60.0
_HUNG_S = 600.0  # a worker that has not said for so long that it lives hangs with its node
_FAILED_LAUNCHES = 3  # in a row, before giving up


class WorkerExecutor(SlurmExecutor):
    """Keeps as many workers as there is work for, and lines of orders for them, one ahead for each."""

    def __init__(self, settings: SlurmSettings, allotment: Allotment | None = None) -> None:
        """Adopt the workers that an earlier orchestrator has left.

        Args:
            settings: study, site and limits.
            allotment: what workers import and execute; the site decides the rest.
        """
        super().__init__(settings)
        self._allotment = allotment or Allotment()
        self._roster = Roster(settings.study, self._watch)
        self._left_at: dict[Path, float] = {}
        self._killed: dict[Path, tuple[Worker, float]] = {}
        self._failed_launches = Counter[str]()
        self._next_search = 0.0
        requests = settings.site.requests.values()
        self._requests = {pool_of(resources, settings.site, settings.code): resources for resources in requests}

    @property
    def capacity(self) -> int:
        """Attempts that run, and one that waits for every worker that takes orders."""
        return self.slots + sum(worker.takes for worker in self._roster.living)

    def poll(self) -> list[str]:
        """Look at all workers, ask SLURM when it is time, give out what waits, submit workers that are missing."""
        self._roster.look()
        self._find_orphans()
        self._ask(force=self._is_pressing())
        for worker in self._roster.living:
            if worker.job_id is not None:
                self._follow(worker, self._watch.state(worker.job_id))
        self._check_killed()
        self._take_back()
        self._give_out()
        self._grow()
        return self._news.take()

    def is_alive(self, attempt: AttemptState) -> bool:
        """Whether the attempt waits, or its process may run."""
        pool, number = self._roster.order_of(attempt)
        if pool is None:
            return self._is_alive_elsewhere(attempt)
        if not pool.is_taken(number):
            return attempt.status is AttemptStatus.STARTED or self._roster.is_manned(pool)
        worker = self._roster.taker(pool, number)
        return worker is not None and worker.record is None and pool.ending(number) is None

    def is_paused(self, attempt: AttemptState) -> bool:
        """Whether SLURM has suspended the job of its worker."""
        pool, number = self._roster.order_of(attempt)
        worker = self._roster.taker(pool, number) if pool is not None else None
        return worker is not None and self._watch.state(worker.job_id or "").state is JobState.PAUSED

    def ending(self, attempt: AttemptState) -> Ending | None:
        """Why an attempt ended: from its worker's answer, else from its job's end."""
        pool, number = self._roster.order_of(attempt)
        if pool is None:
            return self._ending_elsewhere(attempt)
        worker = self._roster.taker(pool, number)
        if worker is None:
            left = Ending(EndKind.NOT_STARTED, "the workers that could have taken it left")
            return self._given_up.get(key_of(attempt.job), left)
        worker.look()  # it says why it leaves before it writes what that ends
        if worker.leaving is not None and worker.leaving.interrupts:
            return self._why_warned(worker)
        answer = pool.ending(number)
        if answer is None:
            record = worker.record or self._watch.state(worker.job_id or "")
            return ending_of_job(record, worker.paths.log, has_started=attempt.claim is not None)
        if attempt.status is AttemptStatus.STOPPED:
            # Its worker has got the same signal, and says so a moment later; else somebody sent it to the run alone.
            since = self._left_at.setdefault(pool.paths.ended(number), time.monotonic())
            if worker.record is None and time.monotonic() - since < _LOOKS_WITHIN_S:
                return None
            reason = (attempt.last_event or {}).get("reason")
            return Ending(EndKind.STOPPED, f"asked by {reason}", worker.node)
        logs = (pool.log(number), worker.paths.log)
        return ending_of_process(answer["exit_code"], logs, worker.node, is_oom=answer.get("is_oom"))

    def stop(self, paths: AttemptPaths, attempt: AttemptState) -> bool:
        """Leave a stop file, or make sure that the attempt does not start."""
        if attempt.claim is None and self._backlog.pop(key_of(attempt.job), None) is not None:
            return True
        pool, number = self._roster.order_of(attempt)
        if pool is not None and self._roster.is_own(pool) and not pool.is_taken(number) and pool.take_back(number):
            return True
        paths.run.stop.touch()
        return True

    def kill(self, attempt: AttemptState) -> None:
        """Let the worker kill the process; other studies' orchestrators look after theirs."""
        pool, number = self._roster.order_of(attempt)
        if pool is None or not self._roster.is_own(pool):
            return
        worker = self._roster.taker(pool, number)
        if worker is not None:
            pool.paths.kill(number).touch()
            self._killed[pool.paths.ended(number)] = (worker, time.monotonic())

    def cancel(self) -> None:
        """Cancel all jobs."""
        cancel([worker.job_id for worker in self._roster.living if worker.job_id is not None])

    def close(self) -> None:
        """Let workers leave when what they run has ended; cancel those that have not started."""
        for worker in self._roster.living:
            worker.paths.stop.touch()
        cancel([w.job_id for w in self._roster.living if w.job_id is not None and not w.has_started])

    def _follow(self, worker: Worker, record: JobRecord) -> None:
        """Draw conclusions from what SLURM says about a worker's job."""
        self._report_waiting(record)
        worker.has_run = worker.has_run or record.state is JobState.RUNNING
        is_requeued = worker.has_run and record.state in (JobState.QUEUED, JobState.HELD)
        if record.state is JobState.RUNNING and worker.has_started and worker.silent_s() > _HUNG_S:
            record = replace(record, state=JobState.NODE_LOST)
        if record.is_over or is_requeued or record.state is JobState.NODE_LOST:
            if not record.is_over:
                cancel([record.job_id])
            self._learn(record)
            worker.close(record)
            self._watch.forget(record.job_id)
            self._count_launch(worker, record)

    def _count_launch(self, worker: Worker, record: JobRecord) -> None:
        """Learn from workers that end before they could take anything."""
        if self._roster.pools[worker.pool].has_worked(worker.paths.root.name) or record.state is JobState.COMPLETED:
            self._failed_launches[worker.pool] = 0
        elif record.state not in (JobState.CANCELLED, JobState.PREEMPTED, JobState.NODE_LOST):
            self._failed_launches[worker.pool] += 1
            ending = ending_of_job(record, worker.paths.log, has_started=False)
            self._news.lines.append(f"worker {worker.name} did not start: {ending}")
            is_too_big = ending.kind is EndKind.HOST_MEMORY and not self._roster.has_taker(worker.pool)
            if is_too_big or self._failed_launches[worker.pool] >= _FAILED_LAUNCHES:
                self._give_up_backlog(ending, worker.pool)

    def _give_up_backlog(self, ending: Ending, name: str | None = None) -> None:
        """What waits for workers, of one pool or of all, and what waits in lines that nobody takes from."""
        keys = [key for key, attempt in self._backlog.items() if name in (None, self._pool_of(attempt))]
        self._backlog = {key: attempt for key, attempt in self._backlog.items() if key not in keys}
        for pool in self._roster.pools.values():
            if name in (None, pool.name) and not self._roster.has_taker(pool.name):
                keys += pool.empty()
        self._given_up.update(dict.fromkeys(keys, ending))

    def _is_pressing(self) -> bool:
        """Whether an attempt waits for SLURM to say why its worker was warned."""
        return any(worker.leaving is not None and worker.leaving.interrupts for worker in self._roster.living)

    def _why_warned(self, worker: Worker) -> Ending | None:
        """Why a worker was told to leave; only SLURM knows, and it may know late."""
        since = self._left_at.setdefault(worker.paths.root, time.monotonic())
        if worker.record is None and time.monotonic() - since < _CERTAIN_AFTER_POLLS * self._settings.site.poll_s:
            return None
        late = worker.leaving is Leaving.OUT_OF_TIME
        return ending_of_warned(worker.record, worker.paths.log, worker.node, is_late=late)

    def _check_killed(self) -> None:
        """Cancel the job of a worker that does not obey: the whole node hangs."""
        for ended, (worker, since) in list(self._killed.items()):
            if worker.record is not None or ended.exists():
                del self._killed[ended]
            elif time.monotonic() - since > _OBEYS_WITHIN_S and worker.job_id is not None:
                cancel([worker.job_id])
                state = self._watch.state(worker.job_id)
                hung = replace(state, state=JobState.NODE_LOST, raw="RUNNING, but it hangs")
                self._learn(hung)
                worker.close(hung)
                del self._killed[ended]

    def _take_back(self) -> None:
        """Take back what nobody is left to take; workers of an older site file may never be started by SLURM."""
        manned = {w.pool for w in self._roster.living if w.takes or (w.is_staying and w.pool in self._requests)}
        for pool in self._roster.pools.values():
            if pool.name not in manned:
                pool.empty()

    def _give_out(self) -> None:
        """What workers can run, so that those that SLURM starts later find it, and one ahead for each that takes."""
        staying = [worker for worker in self._roster.living if worker.is_staying]
        most = Counter[str]()
        for worker in staying:
            most[worker.pool] += self._settings.site.runs_per_job + worker.takes
        for key, attempt in list(self._backlog.items()):
            name = self._pool_of(attempt)
            if self._roster.load(name, staying) < most[name]:
                self._roster.pools[name].assign(attempt)
                del self._backlog[key]

    def _grow(self) -> None:
        """Submit the workers that are missing, for as many attempts at once as there are slots."""
        per_job = self._settings.site.runs_per_job
        backlog = Counter(self._pool_of(attempt) for attempt in self._backlog.values())
        limit = min(math.ceil(self.slots / per_job), self._settings.max_jobs)
        for name, resources in self._requests.items():
            if self._failed_launches[name] >= _FAILED_LAUNCHES and not backlog[name]:
                continue  # what waits is left to the workers that there are
            staying = [worker for worker in self._roster.living if worker.is_staying]
            here = [worker for worker in staying if worker.pool == name]
            wanted = math.ceil((backlog[name] + self._roster.load(name, here)) / per_job)
            if wanted > len(here) and len(staying) >= limit:
                self._dismiss(worker for worker in staying if not backlog[worker.pool])
            until = time.monotonic() + _LAUNCHING_S
            for _ in range(min(wanted - len(here), limit - len(staying))):
                if not self._try(partial(self._launch, name, resources)) or time.monotonic() > until:
                    return

    def _dismiss(self, others: Iterable[Worker]) -> None:
        """Let idle workers of other phases, of an older site file or of older code make room."""
        for worker in others:
            if self._roster.load(worker.pool, [worker]):
                continue
            worker.paths.stop.touch()
            if not worker.has_started and worker.job_id is not None:
                cancel([worker.job_id])
                worker.close(replace(self._watch.state(worker.job_id), state=JobState.CANCELLED, is_over=True))

    def _has_jobs(self) -> bool:
        return any(self._roster.living)

    def _pool_of(self, attempt: AttemptPaths) -> str:
        resources = self._resources(str(read_json(attempt.job)["phase"]))
        return pool_of(resources, self._settings.site, self._settings.code)

    def _launch(self, name: str, resources: Resources, exclude: list[str]) -> None:
        """Record the intent, submit, acknowledge."""
        settings, site = self._settings, self._settings.site
        first = self._roster.pools[name].first if name in self._roster.pools else 1
        allotment = replace(
            self._allotment, runs_at_once=site.runs_per_job, idle_s=site.idle_s,
            time_limit_s=resources.time_min * 60, warning_s=site.warning_s, first_order=first,
        )  # fmt: skip
        paths = new_worker(settings.study, self._prefix, name, allotment)
        worker = self._roster.add(paths)
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
        orphans = [worker for worker in self._roster.living if worker.job_id is None]
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
            elif worker.never_arrived:
                worker.paths.stop.touch()
                worker.close(never_submitted(worker.name))
