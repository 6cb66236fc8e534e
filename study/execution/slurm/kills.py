"""Hung runs that their workers are to kill."""

from __future__ import annotations

import time
from pathlib import Path

from study.execution.slurm.pool import Pool
from study.execution.slurm.worker import Worker

_OBEYS_WITHIN_S = 60.0


class Kills:
    """What workers were asked to kill, and which of them do not obey."""

    def __init__(self) -> None:
        self._asked: dict[Path, tuple[Worker, float]] = {}

    def ask(self, worker: Worker, pool: Pool, number: int) -> None:
        """Let a worker kill the process of an order."""
        pool.paths.kill(number).touch()
        self._asked[pool.paths.ended(number)] = (worker, time.monotonic())

    def disobeyed(self) -> list[Worker]:
        """Workers that have not done so for a while, each once: the whole node hangs."""
        found = []
        for ended, (worker, since) in list(self._asked.items()):
            if worker.record is not None or ended.exists():
                del self._asked[ended]
            elif time.monotonic() - since > _OBEYS_WITHIN_S and worker.job_id is not None:
                found.append(worker)
                del self._asked[ended]
        return list(dict.fromkeys(found))
