"""Which executor a site asks for, within what its cluster allows."""

from __future__ import annotations

from pathlib import Path

from study.execution.slurm.base import SlurmExecutor, SlurmSettings
from study.execution.slurm.cluster import read_cluster
from study.execution.slurm.jobs import JobExecutor
from study.execution.slurm.workers import WorkerExecutor
from study.paths import StudyPaths
from study.plan.site import Mode, Slurm

_USUAL_ARRAY = 1000  # members, where the cluster does not say how many it takes


def slurm_executor(study: StudyPaths, site: Slurm, slots: int, code: Path) -> SlurmExecutor:
    """Make the executor.

    Args:
        study: whose runs it executes.
        site: validated against the cluster before.
        slots: runs at once.
        code: folder that jobs import the framework from.
    """
    cluster = read_cluster()
    limits, max_array_size = [site.max_jobs], _USUAL_ARRAY
    if cluster is not None:
        limits += [cluster.submit_limit(resources) for resources in site.requests.values()]
        max_array_size = cluster.max_array_size
    max_jobs = min((max(1, limit) for limit in limits if limit is not None), default=None)
    settings = SlurmSettings(study, site, slots, code, max_jobs, max_array_size)
    return WorkerExecutor(settings) if site.mode is Mode.WORKERS else JobExecutor(settings)
