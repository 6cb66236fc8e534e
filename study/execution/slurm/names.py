"""What identifies an attempt within a home, and jobs that are alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from study.plan.identity import digest
from study.plan.site import Resources, Slurm

Key = tuple[str, int]


def key_of(job: Mapping[str, Any]) -> Key:
    """What identifies an attempt; its orchestrator may have been killed before it wrote that down."""
    return str(job.get("run_id")), int(job.get("attempt", 0))


def kind_of(resources: Resources, site: Slurm, code: Path) -> str:
    """Name of the jobs that are alike, and of the workers' pool: resources, set-up and code."""
    manner = {"setup": site.setup, "python": site.python, "environment": dict(site.environment), "code": str(code)}
    return digest({**asdict(resources), **manner, "runs_per_job": site.runs_per_job})[:8]
