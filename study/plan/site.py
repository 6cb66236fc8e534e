"""Where runs execute: a site file says it, or this machine is used. No part of a site belongs to any identity."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from study.errors import PlanError, Problem, UserError, did_you_mean
from study.plan import yaml_text

_EXECUTORS = ("local", "inline")


@dataclass(frozen=True)
class Site:
    """One place to run.

    Attributes:
        executor: `local` (processes on this machine) or `inline` (inside the orchestrator, one run at a time).
        slots: runs at once; default: one per GPU, else one per core.
        checkpoint_every_s: seconds between two checkpoints of a run.
    """

    executor: str = "local"
    slots: int | None = None
    checkpoint_every_s: float = 30.0


def load_site(path: Path | None) -> Site:
    """Read a site file; without one, this machine.

    Raises:
        UserError: the file does not exist.
        PlanError: its contents are wrong; all problems at once.
    """
    if path is None:
        return Site()
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot read the site file {path}: {error.strerror}; see slurm/README.md") from None
    raw = yaml_text.parse(text, str(path))
    known = [f.name for f in fields(Site)]
    problems = [Problem(key, f"unknown key.{did_you_mean(key, known)}") for key in raw if key not in known]
    if raw.get("executor", "local") not in _EXECUTORS:
        problems.append(Problem("executor", f"no {raw['executor']!r}.{did_you_mean(str(raw['executor']), _EXECUTORS)}"))
    for key, kinds in (("slots", int), ("checkpoint_every_s", (int, float))):
        value = raw.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, kinds) or value <= 0):
            problems.append(Problem(key, f"must be a number above 0, but got {value!r}"))
    if problems:
        raise PlanError(str(path), problems)
    return Site(**raw)
