"""All workers and lines of orders that an orchestrator knows: its study's, and those of others that train its bases."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

from study.execution.slurm.arrivals import Round
from study.execution.slurm.names import key_of
from study.execution.slurm.pool import Pool
from study.execution.slurm.state import JobWatch
from study.execution.slurm.worker import Worker
from study.journal.replay import AttemptState
from study.paths import PoolPaths, StudyPaths, WorkerPaths

_LIST_EVERY_S = 2.0  # the workers of another study


class Roster:
    """Finds, for an attempt, its order and the worker that has taken it.

    Attributes:
        workers: the study's own, by their folders.
        pools: the study's own, by their names.
    """

    def __init__(self, study: StudyPaths, watch: JobWatch) -> None:
        """Adopt what an earlier orchestrator of the study has left."""
        self._watch = watch
        self.workers: dict[Path, Worker] = {}
        self.pools: dict[str, Pool] = {}
        self._foreign: dict[Path, Worker] = {}
        self._foreign_pools: dict[Path, Pool] = {}
        self._listed: dict[Path, float] = {}
        self._round, self._foreign_round = Round[Worker](), Round[Worker]()
        for paths in study.existing_workers():
            if paths.job.exists():
                self._meet(paths, self.workers)
        for worker in self.workers.values():
            self._enter(worker)

    @property
    def living(self) -> list[Worker]:
        """The study's workers whose jobs are not over."""
        return [worker for worker in self.workers.values() if worker.record is None]

    def add(self, paths: WorkerPaths) -> Worker:
        """Take in a worker that has just been made."""
        worker = self._meet(paths, self.workers)
        self._enter(worker)
        return worker

    def look(self) -> None:
        """Take in what workers say, by few operations however many there are; forget orders whose jobs are over."""
        living = self.living
        news = self._round.next(living)
        busy = {worker.pool for worker in living}
        for pool in self.pools.values():
            if pool.name not in busy and not pool.is_open:
                continue
            said = [self.workers.get(pool.paths.worker(name).root) for name in pool.look()]
            news += [worker for worker in said if worker is not None and worker.record is None]
            for number in pool.running:
                taker = self.taker(pool, number)
                if taker is not None and taker.record is not None:
                    pool.forget(number)
        for worker in dict.fromkeys(news):
            worker.look()
        self._look_at_others()

    def _look_at_others(self) -> None:
        """The same for workers and lines of other studies, as far as they matter here."""
        open_ones = [worker for worker in self._foreign.values() if worker.record is None]
        news = self._foreign_round.next(open_ones)
        for pool in self._foreign_pools.values():
            if pool.is_open:
                said = (self._foreign.get(pool.paths.worker(name).root) for name in pool.look())
                news += [worker for worker in said if worker is not None]
        for worker in dict.fromkeys(news):
            if worker.job_id is None:  # its orchestrator may have acknowledged it since
                del self._foreign[worker.paths.root]
                self._meet(worker.paths, self._foreign)
            else:
                worker.look()
        for worker in open_ones:
            record = self._watch.state(worker.job_id or "")
            worker.record = record if record.is_over else None

    def order_of(self, attempt: AttemptState) -> tuple[Pool | None, int]:
        """The line that an attempt was put into, perhaps one of another study, and the order's number."""
        binding = attempt.job.get("job") or {}
        if "pool" not in binding:
            return None, 0
        paths, number = PoolPaths(Path(binding["pool"])), int(binding["number"])
        pool = self.pools.get(paths.name)
        if pool is None or pool.paths != paths:
            pool = self._foreign_pools.setdefault(paths.root, Pool(paths))
        # A binding may have been written and its order not.
        return (pool, number) if pool.key(number) == key_of(attempt.job) else (None, 0)

    def is_own(self, pool: Pool) -> bool:
        """Whether the study's own workers take from a line; other orchestrators look after the others."""
        return self.pools.get(pool.name) is pool

    def taker(self, pool: Pool, number: int) -> Worker | None:
        """The worker that has taken an order; None: nobody has, or it was taken back."""
        name = pool.taker(number)
        known = self.workers if self.is_own(pool) else self._foreign
        return None if name is None else self._meet(pool.paths.worker(name), known)

    def is_manned(self, pool: Pool) -> bool:
        """Whether somebody takes from a line, or will as soon as SLURM starts it."""
        study = StudyPaths(pool.paths.root.parent.parent)
        workers = self.living if self.is_own(pool) else self._workers_of(study)
        return any(worker.pool == pool.name and worker.is_staying for worker in workers)

    def _workers_of(self, study: StudyPaths) -> list[Worker]:
        """The workers of another study."""
        now = time.monotonic()
        if now - self._listed.get(study.root, -float("inf")) >= _LIST_EVERY_S:
            self._listed[study.root] = now
            for paths in study.existing_workers():
                if paths.job.exists():
                    self._meet(paths, self._foreign)
        return [worker for root, worker in self._foreign.items() if root.parent == study.workers]

    def has_taker(self, name: str) -> bool:
        """Whether a worker takes orders of the study's pool of that name now."""
        return any(worker.takes and worker.pool == name for worker in self.living)

    def load(self, name: str, workers: Iterable[Worker]) -> int:
        """Orders of the study's pool of that name that wait, or that some workers execute."""
        if name not in self.pools:
            return 0
        pool, names = self.pools[name], {worker.paths.root.name for worker in workers}
        return len(pool.waiting) + sum(taker in names for taker in pool.running.values())

    def _enter(self, worker: Worker) -> None:
        if worker.pool not in self.pools:
            self.pools[worker.pool] = Pool(worker.paths.pool(worker.pool))
            self.pools[worker.pool].adopt()

    def _meet(self, paths: WorkerPaths, known: dict[Path, Worker]) -> Worker:
        if paths.root not in known:
            worker = known[paths.root] = Worker(paths)
            if worker.record is None and worker.job_id is not None:
                self._watch.watch(worker.job_id)
        return known[paths.root]
