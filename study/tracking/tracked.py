"""The tracked run for something of ours: found, brought back or created, and never one that is about other results."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from study.tracking.base import NAME_TAG, SUPERSEDED_TAG, Experiment, RunStatus, Tracked, Tracker


class Found(NamedTuple):
    """What came of looking for it.

    Attributes:
        run: it.
        is_new: it was created.
        is_restored: it had been deleted.
        superseded: why others are out of date.
    """

    run: Tracked
    is_new: bool = False
    is_restored: bool = False
    superseded: tuple[str, ...] = ()


def ensure_run(
    tracker: Tracker,
    experiment: Experiment,
    key: str,
    *,
    start_ms: int,
    tags: Mapping[str, str],
    is_ours: Callable[[Tracked], bool],
    unlike: Callable[[Tracked], str],
    known: str = "",
) -> Found:
    """Find the run with a key, or create it.

    Args:
        tracker: where.
        experiment: what it is in.
        key: value of its tag `KEY_TAG`.
        start_ms: when it started, if it is created.
        tags: what it gets then.
        is_ours: whether a run with the key is this home's.
        unlike: why a run of ours is about other results, or "": it is then marked, and another one takes its place.
        known: id that is preferred.
    """

    def candidates() -> list[Tracked]:
        found = tracker.find_runs(experiment, key)
        ours = [run for run in found if SUPERSEDED_TAG not in run.tags and is_ours(run)]
        return sorted(ours, key=lambda run: (run.is_deleted, run.id != known, run.id))

    ours, reasons = candidates(), []
    for run in list(ours):
        if why := unlike(run):
            supersede(tracker, run, key, why)
            reasons.append(why)
            ours.remove(run)
    is_new = not ours
    if is_new:
        tracker.create_run(experiment, key, start_ms=start_ms, tags=tags)
        ours = [run for run in candidates() if not unlike(run)]
    chosen, *superfluous = ours
    for run in superfluous:
        if not run.is_deleted:  # a request was repeated whose response had been lost
            tracker.delete_run(run.id)
    if chosen.is_deleted:
        tracker.restore_run(chosen.id)
    return Found(chosen, is_new, chosen.is_deleted, tuple(reasons))


def supersede(tracker: Tracker, run: Tracked, key: str, why: str) -> None:
    """Mark a run as out of date; what it holds stays."""
    if run.is_deleted:
        return  # out of sight; it is marked when somebody brings it back
    tracker.set_tags(run.id, {SUPERSEDED_TAG: why, NAME_TAG: f"{key} (superseded, {run.id[:8]})"})
    if not RunStatus(run.status).is_over:
        tracker.set_status(run.id, RunStatus.KILLED, int(time.time() * 1000))
