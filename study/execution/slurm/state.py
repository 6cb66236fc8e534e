"""What has become of jobs: one poll for all of them, and what to believe when SLURM's commands disagree."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from study.execution.slurm.queries import ask_sacct, ask_scontrol, ask_squeue
from study.execution.slurm.records import JobRecord, JobState

_PREEMPTED_FOR_GOOD_AFTER = 3  # polls without a sign that SLURM will requeue it
_MISSING_AFTER = 2  # polls in which everybody answered
_UNACCOUNTED_AFTER = 10  # polls in which the accounting was silent, which alone could tell how it ended
_ACCOUNTED_AFTER = 3  # polls; the accounting may be behind
_VISIBLE_AFTER_S = 10.0  # a job just submitted may not be known everywhere yet


class JobWatch:
    """The newest record of every watched job; while SLURM is silent the last one stays.

    Attributes:
        num_answers: how often the queue has been told.
    """

    def __init__(
        self, interval_s: float = 30.0, clock: Callable[[], float] = time.monotonic, timeout_s: float = 30.0
    ) -> None:
        """`interval_s` is the time between two polls, `timeout_s` the longest that one command may take."""
        self._interval_s, self._clock, self._timeout_s = interval_s, clock, timeout_s
        self._records: dict[str, JobRecord] = {}
        self._since: dict[str, float] = {}
        self._findings: dict[str, tuple[str, int]] = {}  # what is not believed at once, seen so many times in a row
        self._last = -float("inf")
        self.num_answers = 0

    def watch(self, job_id: str) -> None:
        """Begin to ask about a job."""
        self._since.setdefault(job_id, self._clock())

    def forget(self, job_id: str) -> None:
        """Ask no more; the last record stays."""
        self._since.pop(job_id, None)
        self._findings.pop(job_id, None)

    def hurry(self) -> None:
        """Ask anew when `refresh` is called next: something has just been changed."""
        self._last = -float("inf")

    def state(self, job_id: str) -> JobRecord:
        """What is known now."""
        return self._records.get(job_id) or JobRecord(job_id, JobState.UNKNOWN)

    def refresh(self, *, force: bool = False) -> bool:
        """Poll when it is time, or four times as often with `force`; says whether SLURM was asked."""
        now = self._clock()
        ids = [job_id for job_id in list(self._since) if not self.state(job_id).is_over]
        if not ids or now - self._last < self._interval_s / (4 if force else 1):
            return False
        self._last = now
        poll = _Poll(ids, self._timeout_s)
        for job_id in ids:
            record = self._settled(job_id, poll, is_new=now - self._since.get(job_id, now) < _VISIBLE_AFTER_S)
            if record is not None:
                self._records[job_id] = record
        self.num_answers += poll.has_queue
        return True

    def _settled(self, job_id: str, poll: _Poll, *, is_new: bool) -> JobRecord | None:
        """What to believe after this poll; None: the last record."""
        accounted = poll.accounted.get(job_id)
        if accounted is not None and accounted.is_certain:
            return accounted
        behind = accounted if accounted and not accounted.is_over and job_id not in self._records else None
        try:
            live = poll.ask_controller(job_id)
        except _SilentError:  # nothing starts without a controller, but it may yet put back what a lost node has ended
            return behind
        if live is not None and not live.is_over and live.state is not JobState.PREEMPTED:
            self._findings.pop(job_id, None)
            return live
        if live is None or live.state is JobState.PREEMPTED:
            if accounted is not None and accounted.is_over:
                return accounted
            preempted = next((r for r in (live, accounted) if r and r.state is JobState.PREEMPTED), None)
            if preempted is not None:
                times = self._count(job_id, "preempted")
                return replace(preempted, node=_node_of(accounted, live), is_over=times >= _PREEMPTED_FOR_GOOD_AFTER)
            return self._missing(job_id, accounted, poll, is_new=is_new)
        if accounted is not None and accounted.state is live.state:
            return accounted
        # Only the accounting tells who has cancelled a job.
        is_told = accounted is None and (live.state is not JobState.CANCELLED or poll.accounting_is_silent)
        if is_told or self._count(job_id, "over") >= _ACCOUNTED_AFTER:
            return live
        return behind

    def _missing(self, job_id: str, accounted: JobRecord | None, poll: _Poll, *, is_new: bool) -> JobRecord | None:
        """The controller does not know it: over, but the accounting may yet tell how."""
        behind = accounted if job_id not in self._records else None
        if is_new:
            return behind
        patience = _ACCOUNTED_AFTER if accounted else _MISSING_AFTER
        if poll.accounting_is_silent:
            patience = _UNACCOUNTED_AFTER
        if self._count(job_id, "missing") < patience:
            return behind
        return JobRecord(job_id, JobState.MISSING, node=_node_of(accounted, self.state(job_id)), is_over=True)

    def _count(self, job_id: str, finding: str) -> int:
        before, times = self._findings.get(job_id, (finding, 0))
        times = times + 1 if before == finding else 1
        self._findings[job_id] = (finding, times)
        return times


class _SilentError(Exception):
    """The controller does not answer."""


class _Poll:
    """What the commands answer at one time."""

    def __init__(self, ids: Sequence[str], timeout_s: float) -> None:
        accounted = ask_sacct(ids, timeout_s)
        self.accounting_is_silent, self.accounted = accounted is None, accounted or {}
        is_needed = not all(i in self.accounted and self.accounted[i].is_certain for i in ids)
        self._queued = ask_squeue(timeout_s) if is_needed else {}
        self.has_queue = is_needed and self._queued is not None
        self._timeout_s, self._wasted_s = timeout_s, 0.0

    def ask_controller(self, job_id: str) -> JobRecord | None:
        """What the queue says of a job, and the controller's memory where it may know more.

        Raises:
            _SilentError: the controller does not answer, or not soon enough to go on with the next job.
        """
        if self._queued is None:
            raise _SilentError
        record = self._queued.get(job_id)
        if record is not None and (job_id in self.accounted or not record.is_over):
            return record
        known, start = None, time.monotonic()
        if self._wasted_s < self._timeout_s / 2:
            known = ask_scontrol(job_id, self._timeout_s)
        if known is None:
            self._wasted_s += time.monotonic() - start
            raise _SilentError
        return known.get(job_id, record)


def _node_of(*records: JobRecord | None) -> str | None:
    return next((record.node for record in records if record is not None and record.node), None)
