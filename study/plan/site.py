"""Where runs execute: a site file says it, or this machine is used. No part of a site belongs to any identity."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path

from study.errors import PlanError, Problem, UserError, did_you_mean, shown
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


def load_site(path: Path | None, chosen_by: str = "--site") -> Site:
    """Read a site file; without one, this machine.

    Args:
        path: the file, or None.
        chosen_by: who named the file; for messages.

    Raises:
        UserError: the file cannot be read.
        PlanError: its contents are wrong; all problems at once.
    """
    if path is None:
        return Site()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"it is not UTF-8 text ({error})"
        advice = "slurm/README.md shows what it holds; without one, runs go to this machine"
        raise UserError(f"cannot read the site file {path} that {chosen_by} names: {reason}; {advice}") from None
    problems: list[Problem] = []
    raw = yaml_text.parse(text, str(path), problems, example="slurm/README.md")
    known = [f.name for f in fields(Site)]
    problems += [
        Problem(str(key), f"unknown key {key!r}.{did_you_mean(key, known)}") for key in raw if key not in known
    ]
    executor = raw.get("executor", Site.executor)
    if executor not in _EXECUTORS:
        problems.append(Problem("executor", f"no executor {shown(executor)}.{did_you_mean(executor, _EXECUTORS)}"))
    slots = raw.get("slots")
    if slots is not None and (type(slots) is not int or slots < 1):
        problems.append(Problem("slots", f"must be a whole number above 0, but got {shown(slots)}"))
    seconds = raw.get("checkpoint_every_s", Site.checkpoint_every_s)
    if type(seconds) not in (int, float) or not 0 < seconds < math.inf:
        problems.append(Problem("checkpoint_every_s", f"must be a number of seconds above 0, but got {shown(seconds)}"))
    if problems:
        raise PlanError(str(path), problems)
    return Site(**raw)
