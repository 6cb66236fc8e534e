"""Adding seeds to a study that exists: allowed, and recorded with what had been seen by then.

Whoever adds seeds because the first look was promising gets more significant results than they should; so a report
tells the family as it was planned from the one that was extended after a look.
"""

from __future__ import annotations

import time
from dataclasses import replace

from study.journal.files import read_json
from study.journal.summary import brief_state
from study.paths import StudyPaths
from study.plan.model import Amendment, Phase, Plan

_LEVELS = ("base_seeds", "continuation_seeds")


def is_amendment(old: Plan, new: Plan) -> bool:
    """Whether the new plan adds seeds at the end of the old one's confirming ones."""
    before, after = ([getattr(plan.confirm, level) for level in _LEVELS] for plan in (old, new))
    return before != after and all(late[: len(early)] == early for early, late in zip(before, after, strict=True))


def amended(study: StudyPaths, old: Plan, new: Plan) -> tuple[Plan, str]:
    """The new plan with what it adds to the old one on record, and a sentence about it."""
    num_seen = _num_seen(study)
    added = ", ".join(
        f"{level.replace('_', ' ')} {', '.join(map(str, more))}"
        for level in _LEVELS
        if (more := getattr(new.confirm, level)[len(getattr(old.confirm, level)) :])
    )
    seen = (
        f"after {num_seen} confirming runs had been evaluated"
        if num_seen
        else "before any confirming run was evaluated"
    )
    amendment = Amendment(time.time(), old.confirm, num_seen)
    note = f"The plan is amended: {added} added {seen}; the report says so"
    return replace(new, amendments=(*old.amendments, amendment)), note


def _num_seen(study: StudyPaths) -> int:
    """Confirming runs whose results exist."""
    return sum(
        read_json(run.spec)["labels"]["phase"] == Phase.CONFIRM and bool(brief_state(run).evaluations)
        for run in study.existing_runs()
    )
