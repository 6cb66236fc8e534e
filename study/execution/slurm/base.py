"""What both ways of using SLURM share: one watch for all jobs, nodes to avoid, a pause after a refusal."""

from __future__ import annotations

import math
import re
import time
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any

from study.execution.base import Executor, intender_lives, seems_alive
from study.execution.slurm.state import JobRecord, JobState, JobWatch, never_passes
from study.execution.slurm.submission import SubmissionError
from study.journal.endings import Ending, EndKind
from study.journal.files import read_json
from study.journal.replay import AttemptState
from study.paths import AttemptPaths, StudyPaths
from study.plan.identity import digest
from study.plan.site import Resources, Slurm

_AVOID_S = 1800.0
_PAUSES_S = (1.0, 5.0, 30.0)  # after so many refusals in a row
# The controller is away or busy, or jobs of others fill a limit.
_PASSING = re.compile(
    r"unable to contact|connect failure|connection refused|socket timed out|timed out|temporar|transport|zero bytes"
    r"|try again|MaxSubmit|MaxJobCount|QOSMax|AssocMax",
    re.IGNORECASE,
)

Key = tuple[str, int]


@dataclass(frozen=True)
class SlurmSettings:
    """What an executor needs to know.

    Attributes:
        study: whose runs are executed.
        site: resources and manners.
        slots: runs at once.
        code: folder that jobs import the framework from.
        max_jobs: jobs of this study at once, the cluster's limit included.
        max_array_size: members of one array.
    """

    study: StudyPaths
    site: Slurm
    slots: int
    code: Path
    max_jobs: int = 1000
    max_array_size: int = 1000


@dataclass
class Refusals:
    """Submissions that SLURM refused, lately and in a row."""

    count: int = 0
    pauses: int = 0
    until: float = 0.0

    def add(self, *, is_passing: bool) -> None:
        """Wait longer and longer; what passes by itself does not count."""
        self.until = time.monotonic() + _PAUSES_S[min(self.pauses, len(_PAUSES_S) - 1)]
        self.pauses += 1
        self.count += not is_passing

    @property
    def may_try(self) -> bool:
        """Whether it is time to try again."""
        return time.monotonic() >= self.until

    @property
    def is_hopeless(self) -> bool:
        """Whether what waits is to be given up."""
        return self.count >= len(_PAUSES_S)


@dataclass
class _News:
    lines: list[str] = field(default_factory=list)

    def take(self) -> list[str]:
        lines, self.lines = self.lines, []
        return lines


class SlurmExecutor(Executor):
    """Base of the executors on SLURM."""

    name = "slurm"

    def __init__(self, settings: SlurmSettings) -> None:
        self._settings, self.slots = settings, settings.slots
        self._watch = JobWatch(settings.site.poll_s)
        self._asking: Thread | None = None
        self._backlog: dict[Key, AttemptPaths] = {}
        self._given_up: dict[Key, Ending] = {}
        self._bad_nodes: dict[str, float] = {}
        self._refusals = Refusals()
        self._news = _News()
        home = digest({"home": str(settings.study.root.parent)})[:6]
        self._prefix = f"study-{home}-{settings.study.root.name}-"

    def _ask(self, *, force: bool = False) -> None:
        """Ask SLURM when it is time, in a thread: a scheduler in trouble may take half a minute to say nothing."""
        if self._asking is None or not self._asking.is_alive():
            self._asking = Thread(target=self._watch.refresh, kwargs={"force": force}, daemon=True)
            self._asking.start()

    def submit(self, attempt: AttemptPaths) -> dict[str, object]:
        """Take the attempt in; it is handed to SLURM in the next `poll`."""
        key = key_of(read_json(attempt.job))
        self._backlog[key] = attempt
        self._given_up.pop(key, None)
        return {}

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

    def _resources(self, phase: str) -> Resources:
        return self._settings.site.phases.get(phase, self._settings.site.resources)

    def _exclude(self) -> list[str]:
        """Nodes that have been lost lately."""
        now = time.monotonic()
        self._bad_nodes = {node: t for node, t in self._bad_nodes.items() if now - t < _AVOID_S}
        return sorted(self._bad_nodes)

    def _try(self, submit: Callable[[list[str]], None]) -> bool:
        """Submit something; when SLURM refuses, wait, and after some refusals give up what waits."""
        if not self._refusals.may_try:
            return False
        try:
            submit(self._exclude())
        except SubmissionError as error:
            # A limit on submissions passes too, but SLURM names it together with limits that do not.
            is_passing = not never_passes(str(error)) and (bool(_PASSING.search(str(error))) or self._has_jobs())
            self._refusals.add(is_passing=is_passing)
            self._bad_nodes.clear()  # perhaps nothing is left beside them
            will_try = "; trying again until it takes it" if is_passing else ""
            self._news.lines.append(f"SLURM refused a job: {error}{will_try}")
            if self._refusals.is_hopeless:
                self._give_up_backlog(Ending(EndKind.LAUNCH_FAILED, f"SLURM refuses jobs: {error}"))
            return False
        self._refusals = Refusals()
        return True

    @abstractmethod
    def _has_jobs(self) -> bool:
        """Whether jobs of this study are with SLURM."""

    def _give_up_backlog(self, ending: Ending) -> None:
        self._given_up.update(dict.fromkeys(self._backlog, ending))
        self._backlog.clear()

    def _learn(self, record: JobRecord) -> None:
        """Avoid a node that was lost."""
        if record.state is JobState.NODE_LOST and record.node:
            self._bad_nodes[record.node] = time.monotonic()

    def _report_waiting(self, record: JobRecord) -> None:
        """Tell people about jobs that will not start by themselves."""
        if record.state is JobState.HELD:
            self._news.lines.append(f"SLURM holds job {record.job_id}; release it: scontrol release {record.job_id}")
        elif record.state is JobState.QUEUED and record.never_runnable:
            self._news.lines.append(
                f"SLURM cannot start job {record.job_id}: {record.reason}; mend the site file, or scancel the job"
            )


def key_of(job: Mapping[str, Any]) -> Key:
    """What identifies an attempt within a home; its orchestrator may have been killed before it wrote that down."""
    return str(job.get("run_id")), int(job.get("attempt", 0))


def num_jobs(runs: int, runs_per_job: int) -> int:
    """How many jobs it takes."""
    return math.ceil(runs / runs_per_job)
