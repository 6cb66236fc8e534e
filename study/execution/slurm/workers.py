"""Runs in worker allocations: jobs that stay and execute one run after another, because queueing is paid once each."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

from study.execution.slurm.base import SlurmExecutor, SlurmSettings
from study.execution.slurm.gate import FRUITFUL_S
from study.execution.slurm.kills import Kills
from study.execution.slurm.launcher import Launcher
from study.execution.slurm.names import key_of
from study.execution.slurm.records import JobRecord, JobState
from study.execution.slurm.roster import Roster
from study.execution.slurm.verdict import ending_of_job, ending_of_process, ending_of_warned
from study.execution.slurm.worker import Worker
from study.journal.endings import Ending, EndKind
from study.journal.replay import AttemptState, AttemptStatus
from study.paths import AttemptPaths
from study.plan.site import Resources
from study.worker.allocation import Allotment, Leaving

_CERTAIN_AFTER_POLLS = 3
_LOOKS_WITHIN_S = 5.0
_LAUNCHING_S = 0.5  # for sbatch in one turn, unless one takes longer
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
        self._roster = Roster(settings.study, self._watch)
        self._left_at: dict[Path, float] = {}
        self._kills = Kills()
        self._failed_launches = Counter[str]()
        self._launcher = Launcher(settings, self._roster, self._watch, self._prefix, allotment or Allotment())

    @property
    def capacity(self) -> int:
        """Attempts that run, and one that waits for every worker that takes orders."""
        at_once = min(self.slots, self._most_jobs * self._settings.site.runs_per_job)
        return at_once + sum(worker.takes for worker in self._roster.living)

    def poll(self) -> list[str]:
        """Look at all workers, ask SLURM when it is time, give out what waits, submit workers that are missing."""
        self._roster.look()
        self._launcher.find_orphans()
        self._ask(force=self._is_pressing())
        self._follow_all()
        self._check_killed()
        self._take_back()
        self._give_out()
        self._grow()
        return self._notices.take()

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
        """Whether the attempt waits for a worker, or SLURM has suspended the job of its worker."""
        pool, number = self._roster.order_of(attempt)
        worker = self._roster.taker(pool, number) if pool is not None else None
        if worker is None:
            return attempt.claim is None
        return self._watch.state(worker.job_id or "").state is JobState.PAUSED

    def ending(self, attempt: AttemptState) -> Ending | None:
        """Why an attempt ended: from its worker's answer, else from its job's end."""
        pool, number = self._roster.order_of(attempt)
        if pool is None:
            return self._ending_elsewhere(attempt)
        pool.read(number)
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
            ending = ending_of_job(record, worker.paths.log, has_started=attempt.claim is not None)
            return self._of_worker(ending, record)
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
        pool.read(number)
        worker = self._roster.taker(pool, number)
        if worker is not None:
            self._kills.ask(worker, pool, number)

    def cancel(self) -> None:
        """Cancel all jobs."""
        self._cancel([worker.job_id for worker in self._roster.living if worker.job_id is not None])

    def close(self) -> None:
        """Let workers leave when what they run has ended; cancel those that have not started."""
        for worker in self._roster.living:
            worker.paths.stop.touch()
        self._cancel([w.job_id for w in self._roster.living if w.job_id is not None and not w.has_started])

    def _follow_all(self) -> None:
        """Draw conclusions from what SLURM says about the workers' jobs."""
        known = [worker for worker in self._roster.living if worker.job_id is not None]
        records = {worker: self._watch.state(worker.job_id or "") for worker in known}
        waiting = (JobState.QUEUED, JobState.HELD)
        self._look_why_jobs_wait(
            [(worker.pool, record) for worker, record in records.items() if record.state in waiting],
            {worker.pool for worker in known if worker.has_started},
        )
        for worker, record in records.items():
            self._follow(worker, record)
        self._respect([worker.record for worker in known if worker.record is not None], len(known))

    def _follow(self, worker: Worker, record: JobRecord) -> None:
        self._learn(record)
        worker.has_run = worker.has_run or record.state is JobState.RUNNING
        is_requeued = worker.has_run and record.state in (JobState.QUEUED, JobState.HELD)
        if record.state is JobState.RUNNING and worker.silent_s() > _HUNG_S:
            record = replace(record, state=JobState.NODE_LOST)
            self._learn(record)
        if record.is_over or is_requeued or record.state is JobState.NODE_LOST:
            if not record.is_over:
                self._cancel([record.job_id])
            worker.close(record)
            self._watch.forget(record.job_id)
            self._count_launch(worker, record)

    def _count_launch(self, worker: Worker, record: JobRecord) -> None:
        """Learn from workers that end before they could take anything."""
        pool, gate = self._roster.pools[worker.pool], self._gates[worker.pool]
        taken = pool.taken_by(worker.paths.root.name)
        has_lasted = worker.started_at is not None and time.monotonic() - worker.started_at >= FRUITFUL_S
        gate.make_room()
        gate.end(was_fruitful=bool(taken) and (has_lasted or any(map(pool.has_ended, taken))))
        if taken or record.state is JobState.COMPLETED:
            self._failed_launches[worker.pool] = 0
        elif record.state not in (JobState.CANCELLED, JobState.PREEMPTED, JobState.NODE_LOST):
            self._failed_launches[worker.pool] += 1
            ending = ending_of_job(record, worker.paths.log, has_started=False)
            self._notices.say(f"worker {worker.name} did not start: {ending}")
            is_too_big = ending.kind is EndKind.HOST_MEMORY and not self._roster.has_taker(worker.pool)
            if is_too_big or self._failed_launches[worker.pool] >= _FAILED_LAUNCHES:
                self._give_up(worker.pool, ending)

    def _give_up(self, kind: str, ending: Ending) -> None:
        """What waits for workers of one pool, in its line too when nobody takes from it."""
        keys = [key for key, waiting in self._backlog.items() if waiting.kind == kind]
        self._backlog = {key: waiting for key, waiting in self._backlog.items() if key not in keys}
        if kind in self._roster.pools and not self._roster.has_taker(kind):
            keys += self._roster.pools[kind].empty()
        self._given_up.update(dict.fromkeys(keys, ending))
        for worker in self._roster.living:
            if worker.pool == kind and worker.job_id in self._cancelled:  # SLURM would never have started it
                self._close_unstarted(worker)

    def _is_pressing(self) -> bool:
        """Whether SLURM has to say why a worker was warned; it is asked at once, and then often."""
        warned = [w for w in self._roster.living if w.leaving is not None and w.leaving.interrupts]
        for worker in warned:
            if worker.paths.root not in self._left_at:
                self._left_at[worker.paths.root] = time.monotonic()
                self._watch.hurry()
        return bool(warned)

    def _is_undecided(self, worker: Worker) -> bool:
        """Whether SLURM may yet say why a worker was warned: the user may not want another one in its place."""
        if worker.record is not None or worker.leaving is None or not worker.leaving.interrupts:
            return False
        since = self._left_at.setdefault(worker.paths.root, time.monotonic())
        return time.monotonic() - since < _CERTAIN_AFTER_POLLS * self._settings.site.poll_s

    def _why_warned(self, worker: Worker) -> Ending | None:
        """Why a worker was told to leave; only SLURM knows, and it may know late."""
        if self._is_undecided(worker):
            return None
        late = worker.leaving is Leaving.OUT_OF_TIME
        ending = ending_of_warned(worker.record, worker.paths.log, worker.node, is_late=late)
        return self._of_worker(ending, worker.record)

    def _of_worker(self, ending: Ending, record: JobRecord | None) -> Ending:
        """An ending together with a worker's job: the user who cancels that does not mean the run."""
        if record is not None and (ours := self._by_our_hand(record)) is not None:
            return ours
        return replace(ending, kind=EndKind.WORKER_CANCELLED) if ending.kind is EndKind.CANCELLED else ending

    def _check_killed(self) -> None:
        """Cancel the job of a worker that does not obey."""
        for worker in self._kills.disobeyed():
            self._cancel([worker.job_id or ""])
            hung = replace(
                self._watch.state(worker.job_id or ""), state=JobState.NODE_LOST, raw="RUNNING, but it hangs"
            )
            self._learn(hung)
            worker.close(hung)

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
        for key, waiting in list(self._backlog.items()):
            name = waiting.kind
            if self._roster.load(name, staying) < most[name]:
                self._roster.pools[name].assign(waiting.attempt)
                del self._backlog[key]

    def _grow(self) -> None:
        """Submit the workers that are missing, for as many attempts at once as there are slots."""
        per_job = self._settings.site.runs_per_job
        backlog = Counter(waiting.kind for waiting in self._backlog.values())
        until = time.monotonic() + _LAUNCHING_S
        for name, resources in self._requests.items():
            if self._failed_launches[name] >= _FAILED_LAUNCHES and not backlog[name]:
                continue  # what waits is left to the workers that there are
            living = self._roster.living
            staying = [worker for worker in living if worker.is_staying or self._is_undecided(worker)]
            here = [worker for worker in staying if worker.pool == name]
            wanted = math.ceil((backlog[name] + self._roster.load(name, here)) / per_job)
            if wanted > len(here) and len(staying) >= self._most_jobs:
                self._dismiss(worker for worker in staying if not backlog[worker.pool])
            for _ in range(min(wanted - len(here), self._most_jobs - len(staying))):
                if not self._try(name, partial(self._launch, name, resources)):
                    break
                if time.monotonic() > until:
                    return

    def _dismiss(self, others: Iterable[Worker]) -> None:
        """Let idle workers of other phases, of an older site file or of older code make room."""
        for worker in others:
            if self._roster.load(worker.pool, [worker]):
                continue
            worker.paths.stop.touch()
            if not worker.has_started and worker.job_id is not None:
                self._cancel([worker.job_id])
                self._close_unstarted(worker)

    def _close_unstarted(self, worker: Worker) -> None:
        """Count no more on a worker that was cancelled in the queue; should SLURM start it all the same, it leaves."""
        worker.paths.stop.touch()
        worker.close(replace(self._watch.state(worker.job_id or ""), state=JobState.CANCELLED, is_over=True))

    def _launch(self, name: str, resources: Resources, exclude: list[str]) -> None:
        self._alive_once.add(self._launcher.launch(name, resources, exclude))
