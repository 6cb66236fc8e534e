"""Adding seeds to a study that exists: allowed, and recorded with what had been seen by then.

Whoever adds seeds because the first look was promising gets more significant results than they should; so a report
tells the family as it was planned from the one that was extended after a look.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from study.journal.files import create_once, read_json
from study.journal.replay import replay_run
from study.paths import StudyPaths
from study.plan.model import Phase, Plan


def is_amendment(old: Plan, new: Plan) -> bool:
    """Whether the new plan is the old one with seeds added at the end of its confirming ones."""
    levels = ("base_seeds", "continuation_seeds")
    before, after = ([getattr(plan.confirm, level) for level in levels] for plan in (old, new))
    return before != after and all(late[: len(early)] == early for early, late in zip(before, after, strict=True))


def record_amendment(study: StudyPaths, old: Plan, new: Plan) -> str:
    """Keep what is added and what had been seen; returns a sentence about it."""
    seen = _seen(study)
    record = {
        "t": time.time(),
        "before": _seeds(old),
        "after": _seeds(new),
        "num_seen": len(seen),
        "had_report": (study.report / "contrasts.csv").exists(),
    }
    known = [read_json(path) for path in study.amendments()]
    if not known or known[-1]["after"] != record["after"]:  # else killed before the plan was replaced
        study.amendment(1).parent.mkdir(exist_ok=True)
        create_once(study.amendment(len(known) + 1), record)
    added = ", ".join(
        f"{level.replace('_', ' ')} {', '.join(map(str, more))}"
        for level in ("base_seeds", "continuation_seeds")
        if (more := getattr(new.confirm, level)[len(getattr(old.confirm, level)) :])
    )
    when = (
        f"after {len(seen)} confirming runs had been evaluated" if seen else "before any confirming run was evaluated"
    )
    return f"The plan is amended: {added} added {when}; the report says so"


def _seen(study: StudyPaths) -> list[str]:
    """Ids of the confirming runs whose results exist."""
    found = []
    for run in study.existing_runs():
        if read_json(run.spec)["labels"]["phase"] == Phase.CONFIRM and replay_run(run).evaluations:
            found.append(run.root.name)
    return found


def _seeds(plan: Plan) -> Mapping[str, Any]:
    return {"base_seeds": list(plan.confirm.base_seeds), "continuation_seeds": list(plan.confirm.continuation_seeds)}
