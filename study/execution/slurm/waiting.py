"""Jobs that wait in SLURM's queue: what people are told about it, and when waiting has become hopeless."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from study.errors import counted
from study.execution.slurm.gate import PERSISTS_S, Persistence
from study.execution.slurm.notices import Notices
from study.execution.slurm.reasons import Obstacle, Reason, reason_of_waiting
from study.execution.slurm.records import JobRecord, JobState

_AFTER = f"when that lasts for {PERSISTS_S / 60:.0f} min"


@dataclass(frozen=True)
class Hopeless:
    """Jobs of one kind that SLURM will never start."""

    reason: Reason
    job_ids: Sequence[str]


class WaitingJobs:
    """Tells once for each reason why jobs wait, and once that none waits for it any more."""

    def __init__(self, notices: Notices) -> None:
        self._notices = notices
        self._lasting: dict[str, Persistence] = defaultdict(Persistence)
        self._num_answers = 0

    def look(
        self, queued: Iterable[tuple[str, JobRecord]], started: Collection[str], num_answers: int
    ) -> Mapping[str, Hopeless]:
        """Tell what is new.

        Args:
            queued: kind and record of the jobs that wait.
            started: kinds of which a job runs.
            num_answers: how often SLURM has said so; the same answer twice is no news.

        Returns:
            Kind → its jobs, of the kinds whose jobs have all waited for some minutes for something that lasts.
        """
        by_reason: dict[str, tuple[Reason, list[str]]] = {}
        by_kind: dict[str, dict[str, Reason]] = defaultdict(dict)
        for kind, record in queued:
            reason = reason_of_waiting(record.reason or "")
            if record.state is JobState.HELD:
                reason = Reason(Obstacle.HELD, record.job_id, "")
            by_kind[kind][record.job_id] = reason
            if reason.obstacle is not Obstacle.TURN:
                by_reason.setdefault(reason.meaning or reason.text, (reason, []))[1].append(record.job_id)
        told: dict[tuple[str, ...], tuple[str, str]] = {(what,): _words(*found) for what, found in by_reason.items()}
        self._notices.hold("waits", told, is_sure=not by_kind)
        if num_answers == self._num_answers:
            return {}
        self._num_answers = num_answers
        hopeless = {}
        for kind in {*started, *by_kind}:
            reasons = by_kind.get(kind, {})
            lasting = [reason for reason in reasons.values() if reason.obstacle is Obstacle.LASTING]
            self._lasting[kind].see(holds=bool(lasting) and len(lasting) == len(reasons) and kind not in started)
            if self._lasting[kind].has_lasted:
                hopeless[kind] = Hopeless(lasting[0], list(reasons))
        return hopeless


def refused(reason: Reason) -> str:
    """What is said when SLURM does not take a job."""
    meaning = f" ({reason.meaning})" if reason.meaning else ""
    said = f"SLURM refused a job{meaning}: {reason.text}"
    if reason.obstacle is Obstacle.LASTING:
        return f"{said}; mend the site file. What waits is given up {_AFTER}"
    return f"{said}; trying again, less and less often, until it takes it"


def _words(reason: Reason, job_ids: Sequence[str]) -> tuple[str, str]:
    """What is said when jobs begin to wait for a reason, and when none does any more."""
    what, first = reason.text if not reason.meaning else f"{reason.meaning} ({reason.text})", job_ids[0]
    end = f"No job of the study waits any more because {reason.meaning}" if reason.meaning else f"No job waits: {what}"
    jobs = f"{counted(len(job_ids), 'SLURM job')} wait{'' if len(job_ids) > 1 else 's'}"
    match reason.obstacle:
        case Obstacle.HELD:
            return f"SLURM holds job {first}; release it: scontrol release {first}", ""
        case Obstacle.LASTING:
            return f"{jobs}: {what}; mend the site file. What waits is given up {_AFTER}", end
        case Obstacle.PASSING:
            return f"{jobs}: {what}; nothing to do, waiting goes on until that has passed", end
        case _:
            more = f"more about it: scontrol show job {first}"
            return f"{jobs}: {what}, a reason that is not known here; waiting goes on, {more}", end
