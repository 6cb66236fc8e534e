"""What both ways of using SLURM share: one watch for all jobs, nodes to avoid, pauses, and what `scancel` means.

A job that the user cancels is not replaced: from then on the study has at most as many jobs at once as were left, until
the command is started again; when none is left, nothing more is started and the orchestrator ends. What ran in a
worker is carried on by the other workers; a job of its own was the run, which waits for the next start. Jobs that
somebody else cancels, or that this program itself does, do not count.
"""

from __future__ import annotations

import math
import os
import time
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

from study.errors import counted
from study.execution.base import Executor, intender_lives, seems_alive
from study.execution.slurm.commands import cancel
from study.execution.slurm.gate import Gate
from study.execution.slurm.names import Key, key_of, kind_of
from study.execution.slurm.notices import Notices
from study.execution.slurm.reasons import reason_of_refusal
from study.execution.slurm.records import JobRecord, JobState
from study.execution.slurm.state import JobWatch
from study.execution.slurm.submission import SubmissionError
from study.execution.slurm.waiting import WaitingJobs, refused
from study.journal.endings import Ending, EndKind
from study.journal.files import read_json
from study.journal.replay import AttemptState
from study.paths import AttemptPaths, StudyPaths
from study.plan.identity import digest
from study.plan.site import Slurm

_AVOID_S = 1800.0


@dataclass(frozen=True)
class SlurmSettings:
    """What an executor needs to know.

    Attributes:
        study: whose runs are executed.
        site: resources and manners.
        slots: runs at once.
        code: folder that jobs import the framework from.
        max_jobs: jobs of this study at once, the cluster's limit included; None: as many as the slots need.
        max_array_size: members of one array.
    """

    study: StudyPaths
    site: Slurm
    slots: int
    code: Path
    max_jobs: int | None = None
    max_array_size: int = 1000

    @property
    def most_jobs(self) -> int:
        """Jobs at once: what the slots need, within the limits."""
        needed = math.ceil(self.slots / self.site.runs_per_job)
        return needed if self.max_jobs is None else min(needed, self.max_jobs)


@dataclass(frozen=True)
class Waiting:
    """An attempt that no job has got yet, and the kind of job that it needs."""

    attempt: AttemptPaths
    kind: str


class SlurmExecutor(Executor):
    """Base of the executors on SLURM."""

    name = "slurm"

    def __init__(self, settings: SlurmSettings) -> None:
        self._settings, self.slots = settings, settings.slots
        self._watch = JobWatch(settings.site.poll_s)
        self._asking: Thread | None = None
        self._backlog: dict[Key, Waiting] = {}
        self._given_up: dict[Key, Ending] = {}
        self._bad_nodes: dict[str, float] = {}
        self._gates: dict[str, Gate] = defaultdict(Gate)
        self._notices = Notices()
        self._waiting_jobs = WaitingJobs(self._notices)
        self._alive_once: set[str] = set()  # jobs that this orchestrator has submitted, or seen in the queue
        self._cancelled: set[str] = set()  # jobs that it has cancelled itself
        self._most_jobs, self._last_cancelled = settings.most_jobs, ""
        home = digest({"home": str(settings.study.root.parent)})[:6]
        self._prefix = f"study-{home}-{settings.study.root.name}-"
        requests = settings.site.requests.values()
        self._requests = {kind_of(resources, settings.site, settings.code): resources for resources in requests}

    def closed(self) -> str | None:
        """The user has cancelled all jobs: nothing is started any more."""
        return (
            None
            if self._most_jobs > 0 or not self._last_cancelled
            else f"You cancelled {self._last_cancelled}: no job of the study is left."
        )

    def submit(self, attempt: AttemptPaths) -> dict[str, object]:
        """Take the attempt in; it is handed to SLURM in the next `poll`."""
        job = read_json(attempt.job)
        site = self._settings.site
        resources = site.phases.get(str(job["phase"]), site.resources)
        self._backlog[key_of(job)] = Waiting(attempt, kind_of(resources, site, self._settings.code))
        self._given_up.pop(key_of(job), None)
        return {}

    def _ask(self, *, force: bool = False) -> None:
        """Ask SLURM when it is time, in a thread: a scheduler in trouble may take half a minute to say nothing."""
        if self._asking is None or not self._asking.is_alive():
            self._asking = Thread(target=self._watch.refresh, kwargs={"force": force}, daemon=True)
            self._asking.start()

    def _is_alive_elsewhere(self, attempt: AttemptState) -> bool:
        """Whether an attempt lives that no job has got: it waits here, or runs outside of SLURM."""
        if attempt.claim is not None:
            return seems_alive(attempt)
        return key_of(attempt.job) in self._backlog or (not self._is_ours(attempt) and intender_lives(attempt))

    def _is_ours(self, attempt: AttemptState) -> bool:
        """Whether an orchestrator of this study made it; bases may be made by those of others."""
        return bool(attempt.job.get("study") == self._settings.study.root.name)

    def _ending_elsewhere(self, attempt: AttemptState) -> Ending | None:
        if attempt.claim is not None:
            return super().ending(attempt)
        given_up = self._given_up.get(key_of(attempt.job))
        return given_up or Ending(EndKind.NOT_STARTED, "its orchestrator ended before SLURM got it")

    def _exclude(self) -> list[str]:
        """Nodes that have been lost lately."""
        now = time.monotonic()
        self._bad_nodes = {node: t for node, t in self._bad_nodes.items() if now - t < _AVOID_S}
        return sorted(self._bad_nodes)

    def _try(self, kind: str, submit: Callable[[list[str]], None]) -> bool:
        """Submit a job of a kind, if it is time; a refusal brings a pause, and one that lasts gives up what waits."""
        gate = self._gates[kind]
        if not gate.is_open:
            return False
        exclude = self._exclude()
        try:
            submit(exclude)
        except SubmissionError as error:
            reason = reason_of_refusal(str(error))
            gate.refuse(reason, counts=not exclude)  # perhaps nothing is left beside the nodes that are avoided
            self._bad_nodes.clear()
            self._notices.begin(("refused", kind, reason.text), refused(reason), "SLURM takes these jobs again")
            if gate.is_hopeless:
                self._give_up(kind, Ending(EndKind.LAUNCH_FAILED, f"SLURM refuses jobs: {reason.text}"))
            return False
        gate.accept()
        self._notices.end("refused", kind)
        return True

    @abstractmethod
    def _give_up(self, kind: str, ending: Ending) -> None:
        """Give up the attempts that wait for a kind of job."""

    def _cancel(self, job_ids: Sequence[str]) -> bool:
        """Cancel jobs for a reason of this program's own; says whether SLURM has obeyed."""
        self._cancelled.update(job_ids)
        self._watch.hurry()
        return cancel(job_ids)

    def _learn(self, record: JobRecord) -> None:
        """Avoid a node that was lost, and remember which jobs were there."""
        if record.state is JobState.NODE_LOST and record.node:
            self._bad_nodes[record.node] = time.monotonic()
        if record.state in (JobState.QUEUED, JobState.HELD, JobState.RUNNING, JobState.PAUSED):
            self._alive_once.add(record.job_id)

    def _respect(self, ended: Iterable[JobRecord], num_before: int) -> None:
        """Go on with fewer jobs when the user has cancelled some.

        Args:
            ended: jobs that are seen to have ended now.
            num_before: jobs that there were until now.
        """
        ids = [record.job_id for record in ended if self._is_users_will(record)]
        if not ids:
            return
        self._most_jobs = max(0, min(self._most_jobs, num_before - len(ids)))
        self._last_cancelled = f"job{'s' if len(ids) > 1 else ''} {', '.join(ids)}"
        if self._most_jobs:
            left = f"the study goes on with at most {counted(self._most_jobs, 'job')} at once until you start it again"
            they_are = "they are" if len(ids) > 1 else "it is"
            self._notices.say(f"You cancelled {self._last_cancelled}: {they_are} not replaced; {left}")

    def _is_users_will(self, record: JobRecord) -> bool:
        """Whether the user has cancelled a job that this orchestrator knew."""
        is_known = record.job_id in self._alive_once and record.job_id not in self._cancelled
        return is_known and record.state is JobState.CANCELLED and record.cancelled_by in (None, os.getuid())

    def _by_our_hand(self, record: JobRecord) -> Ending | None:
        """The ending of what this program has cancelled together with its job."""
        if record.state is JobState.CANCELLED and record.job_id in self._cancelled:
            return Ending(EndKind.STOPPED, f"asked to stop; its job {record.job_id} was cancelled", record.node)
        return None

    def _look_why_jobs_wait(self, queued: Iterable[tuple[str, JobRecord]], started: Collection[str]) -> None:
        """Tell people, and give up what will never start.

        Args:
            queued: kind and record of the jobs that wait.
            started: kinds of which a job runs.
        """
        for kind, found in self._waiting_jobs.look(queued, started, self._watch.num_answers).items():
            message = f"SLURM cannot start such jobs: {found.reason.text} ({found.reason.meaning})"
            self._cancel(found.job_ids)
            self._give_up(kind, Ending(EndKind.LAUNCH_FAILED, message))
