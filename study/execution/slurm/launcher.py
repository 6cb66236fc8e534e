"""Submitting workers, also through the death of the orchestrator that does it."""

from __future__ import annotations

import time
from dataclasses import replace

from study.execution.slurm.base import SlurmSettings
from study.execution.slurm.queries import find_by_name
from study.execution.slurm.roster import Roster
from study.execution.slurm.state import JobWatch
from study.execution.slurm.submission import complete_submission, submit_worker
from study.execution.slurm.worker import never_submitted, new_worker
from study.plan.site import Resources
from study.worker.allocation import Allotment


class Launcher:
    """Submits workers of one study, and finds those whose number nobody lived to write down."""

    def __init__(
        self, settings: SlurmSettings, roster: Roster, watch: JobWatch, prefix: str, allotment: Allotment
    ) -> None:
        self._settings, self._roster, self._watch = settings, roster, watch
        self._prefix, self._allotment = prefix, allotment
        self._next_search = 0.0

    def launch(self, pool: str, resources: Resources, exclude: list[str]) -> str:
        """Record the intent, submit, acknowledge; returns the job's id.

        Raises:
            SubmissionError: SLURM refused it.
        """
        settings, site = self._settings, self._settings.site
        first = self._roster.pools[pool].first if pool in self._roster.pools else 1
        allotment = replace(
            self._allotment, runs_at_once=site.runs_per_job, idle_s=site.idle_s,
            time_limit_s=resources.time_min * 60, warning_s=site.warning_s, first_order=first,
        )  # fmt: skip
        paths = new_worker(settings.study, self._prefix, pool, allotment)
        worker = self._roster.add(paths)
        try:
            job_id = submit_worker(paths.log, paths.root, worker.name, resources, site, settings.code, exclude)
        except Exception:
            paths.stop.touch()  # SLURM may have taken it all the same
            worker.close(never_submitted(worker.name))
            raise
        worker.acknowledge(job_id)
        self._watch.watch(job_id)
        return job_id

    def find_orphans(self) -> None:
        """Find workers whose orchestrator did not live to hear their job's id: by the job's name."""
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
