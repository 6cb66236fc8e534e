"""What to do about a run whose attempts ended early: try again, or give up and say what would help. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from study.journal.endings import EndKind
from study.journal.replay import AttemptState, AttemptStatus
from study.orchestration.typed import check_site


@dataclass(frozen=True)
class Rule:
    """What a class of endings means for the run.

    Attributes:
        num_tries: how many endings of this class are borne in a row without progress; None: any number, they are
            nobody's fault.
        advice: what the user can do, once the run is given up; `{check_site}` is the command that tries the site.
    """

    num_tries: int | None
    advice: str = "Start the same command again to try once more"


RULES = {
    EndKind.STOPPED: Rule(None),
    EndKind.NOT_STARTED: Rule(None),
    EndKind.PREEMPTED: Rule(None),
    EndKind.NODE_LOST: Rule(5, "Exclude the nodes with `exclude` in the site file"),
    EndKind.OUT_OF_TIME: Rule(1, "Raise `time_min`, or lower `checkpoint_every_s` in the site file"),
    EndKind.HOST_MEMORY: Rule(1, "Raise `memory_gb`, or lower `runs_per_job` in the site file"),
    EndKind.CANCELLED: Rule(1, "Start the same command again to go on with it"),
    EndKind.WORKER_CANCELLED: Rule(None),
    EndKind.LAUNCH_FAILED: Rule(3, "Try the site: {check_site}"),
    EndKind.DISK: Rule(1, "Make room, or mend the file system, and start the same command again"),
    EndKind.HUNG: Rule(2),
    EndKind.LOST: Rule(3),
}
_FORGIVEN_BY_PROGRESS = (EndKind.NODE_LOST, EndKind.OUT_OF_TIME, EndKind.LAUNCH_FAILED, EndKind.HUNG)


def end_kind(attempt: AttemptState) -> EndKind | None:
    """The class of an attempt's ending; None when it has finished or failed by itself."""
    if attempt.verdict is not None:
        return attempt.verdict.kind
    match attempt.status:
        case AttemptStatus.STOPPED:
            return EndKind.STOPPED
        case AttemptStatus.REVOKED:
            return EndKind.NOT_STARTED
        case AttemptStatus.INTENDED | AttemptStatus.STARTED:
            return EndKind.LOST
        case AttemptStatus.FINISHED | AttemptStatus.FAILED:
            return None


def has_progressed(attempt: AttemptState) -> bool:
    """Whether a successor starts further on than this attempt did."""
    return attempt.is_trained or attempt.checkpoint_step > attempt.resumed_step


def reason_to_give_up(attempts: Sequence[AttemptState], site: Path | None = None) -> str | None:
    """Judge the endings of a run's attempts, oldest first.

    Args:
        attempts: those that have ended since the orchestrator started; a new start begins anew.
        site: the site file of the command, for advice.

    Returns:
        None: try again; else why not, with what would help.
    """
    counts: Counter[EndKind] = Counter()
    for attempt in attempts:
        kind = end_kind(attempt)
        if kind is None:
            continue
        if kind in _FORGIVEN_BY_PROGRESS and has_progressed(attempt):
            counts[kind] = 0
        else:
            counts[kind] += 1
    if not attempts or (last := end_kind(attempts[-1])) is None:
        return None
    rule = RULES[last]
    if rule.num_tries is None or counts[last] < rule.num_tries:
        return None
    verdict = attempts[-1].verdict
    message = str(verdict) if verdict else f"{last}: its process ended without a last word"
    times = f"{counts[last]} times, lastly " if counts[last] > 1 else ""
    return f"{times}{message}. {rule.advice.format(check_site=check_site(site))}"
